"""CSV files as spreadsheets write them: separators, encodings and decimal commas are read; doubtful amounts are questioned or refused."""

import codecs

import pytest

COLUMNS = "provider,model_id,display_name,type,price_state,currency,input_per_1m,output_per_1m"
ROW = "openai,xl-1,XL,text,priced,USD,2.5,10"
TABLE = f"{COLUMNS}\r\n{ROW}\r\n"


def imported(api, content, query="", content_type="text/csv"):
    data = content if isinstance(content, bytes) else content.encode()
    return api.post(f"/admin/import{query}", data=data, headers={"Content-Type": content_type})


def rates_of(api, ref="openai/xl-1"):
    return {rate["meter"]: rate["amount"] for rate in api.get(f"/models/{ref}").json["price"]["rates"]}


SEMICOLONS = TABLE.replace(",", ";")
FILES = {
    "commas": TABLE.encode(),
    "byte order mark": codecs.BOM_UTF8 + TABLE.encode(),
    "semicolons": SEMICOLONS.encode(),
    "semicolons with decimal commas": SEMICOLONS.replace("2.5", "2,5").encode(),
    "tabs": TABLE.replace(",", "\t").encode(),
    "tabs with decimal commas": TABLE.replace(",", "\t").replace("2.5", "2,5").encode(),
    "stated semicolon": f"sep=;\r\n{SEMICOLONS}".encode(),
    "stated semicolon in quotes after a mark": codecs.BOM_UTF8 + f'"SEP=;"\n{SEMICOLONS}'.encode(),
    "stated bar": f"sep=|\n{TABLE.replace(',', '|')}".encode(),
    "stated tab": b"sep=\t\n" + TABLE.replace(",", "\t").encode(),
    "stated comma": f"sep=,\n{TABLE}".encode(),
    "UTF-16, little endian": codecs.BOM_UTF16_LE + TABLE.replace(",", "\t").encode("utf-16-le"),
    "UTF-16, big endian": codecs.BOM_UTF16_BE + SEMICOLONS.replace("2.5", "2,50").encode("utf-16-be"),
    "an empty line first": f"\n{SEMICOLONS}".encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_spreadsheet_is_read_with_its_separator_and_encoding(api, name):
    response = imported(api, FILES[name])
    assert (response.status_code, response.json.get("added")) == (200, 2), response.text
    assert rates_of(api) == {"input": "2.5", "output": "10"}


def test_utf_16_can_be_named_in_the_content_type(api):
    content = codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le")
    assert imported(api, content, content_type="text/csv; charset=utf-16").status_code == 200


AMBIGUOUS = {
    "point and comma": (";", "1.250,00", "10", "line 2: input_per_1m is 1.250,00: leave out the thousands separator"),
    "comma and point": (";", "1,250.00", "10", "line 2: input_per_1m is 1,250.00: leave out the thousands separator"),
    "a point of thousands next to decimal commas": (";", "1.250", "10,5", "line 2: input_per_1m is 1.250, which other amounts"),
    "a decimal comma between commas": (",", '"2,5"', "10", "line 2: input_per_1m has a decimal comma"),
    "two commas": (";", "1,2,3", "10", "line 2: input_per_1m must be a plain decimal"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_amount_is_refused_with_its_line_and_column(api, name):
    separator, amount, output, message = AMBIGUOUS[name]
    row = separator.join(["openai", "xl-1", "XL", "text", "priced", "USD", amount, output])
    response = imported(api, f"{COLUMNS.replace(',', separator)}\n{row}\n")
    assert response.status_code == 422
    assert response.json["errors"][0]["message"].startswith(message)


def test_a_point_stays_a_decimal_point_in_a_file_without_decimal_commas(api):
    assert imported(api, SEMICOLONS.replace("2.5", "1.250")).status_code == 200
    assert rates_of(api)["input"] == "1.25"


def test_lines_are_counted_from_the_line_that_states_the_separator(api):
    response = imported(api, f"sep=;\n{SEMICOLONS}openai;b;B;smell;;;;\n")
    assert response.json["errors"][0]["message"].startswith("line 4: type must be one of")


def test_a_decimal_comma_does_not_change_text_and_json(api):
    columns = f"{COLUMNS},description,more_rates".replace(",", ";")
    more = '"[{""meter"":""input"",""amount"":""5"",""per"":1000000,""above"":200000}]"'
    response = imported(api, f"{columns}\n{ROW.replace(',', ';').replace('2.5', '2,5')};1,5 times;{more}\n")
    assert response.status_code == 200, response.text
    model = api.get("/models/openai/xl-1").json
    assert {(rate["amount"], rate["above"]) for rate in model["price"]["rates"]} == {("2.5", None), ("5", 200_000), ("10", None)}
    assert api.get("/admin/models?q=xl-1").json["data"][0]["description"] == "1,5 times"


def questions(api, row):
    changes = imported(api, f"{COLUMNS}\n{row}\n", "?dry_run=true").json["changes"]
    return [question for change in changes for question in change["questions"]]


def test_a_new_row_far_from_everything_the_provider_sells_is_questioned(api):
    texts = questions(api, "openai,xl-1,XL,text,priced,USD,0.0000025,0.00001")
    assert len(texts) == 2
    assert all("the nearest model of this provider. Is the unit right?" in text for text in texts)
    assert questions(api, "openai,xl-1,XL,text,priced,USD,2500000,10000000")
    assert questions(api, ROW) == []


def test_new_rows_of_one_file_do_not_vouch_for_each_other(api):
    rows = "\n".join(f"openai,xl-{number},XL,text,priced,USD,0.0000025,0.00001" for number in range(3))
    assert len(questions(api, rows)) == 6


def test_an_unknown_provider_is_named_before_the_columns_that_only_it_makes_required(api):
    response = imported(api, "provider,model_id,input_per_1m\nopnai,gpt-4o,1\nopenai,gpt-4o,1\n")
    messages = [error["message"] for error in response.json["errors"]]
    assert (response.status_code, len(messages)) == (422, 1)
    assert messages[0].startswith("line 2: provider must be the slug of an existing provider, not “opnai”")


CONFIGURATION = """model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o
      input_cost_per_token: 0.00000015
general_settings: {master_key: os.environ/KEY}
"""
FOREIGN = {
    "configuration as YAML": (CONFIGURATION, "application/yaml", "configuration of a LiteLLM proxy"),
    "settings first": ("litellm_settings:\n  num_retries: 1.5\n" + CONFIGURATION, "application/yaml", "configuration of a LiteLLM proxy"),
    "configuration as JSON": ('{"model_list": [{"input_cost_per_token": 0.1}]}', "application/json", "configuration of a LiteLLM proxy"),
    "price map": ('{"sample_spec": {"cost": 0.0}, "a": {"litellm_provider": "x"}}', "application/json", "LiteLLM's price map"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_litellm_is_recognized_and_the_error_says_what_to_upload(api, name):
    content, content_type, message = FOREIGN[name]
    response = imported(api, content, content_type=content_type)
    assert response.status_code == 400
    assert message in response.json["detail"]
    assert "Proposals page" in response.json["detail"]


def test_a_registry_file_can_name_such_fields_in_its_texts(api):
    text = """format: modeldesk-registry
version: 1
models:
- provider: openai
  model_id: a
  display_name: A
  type: text
  description: |
    "litellm_provider": x
"""
    assert imported(api, text, content_type="application/yaml").status_code == 200


def test_a_decimal_comma_in_one_column_says_nothing_about_the_stored_amounts_of_others(api):
    assert imported(api, f"{COLUMNS},cache_read_per_1m\n{ROW},1.125\n").json["added"] == 2
    response = imported(api, "provider;model_id;input_per_1m\nopenai;xl-1;2,5\n")
    assert (response.status_code, response.json["added"]) == (200, 0), response.text
