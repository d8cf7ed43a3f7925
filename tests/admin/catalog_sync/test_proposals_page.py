"""Proposal pages: open a proposal, filter and select rows, approve as a second person, and undo."""

import html
import io
import json
import re

from factories import csrf_token
from sqlalchemy import func, select, update

from webapp.extensions import db
from webapp.models import Model, Proposal, ProposalRow
from webapp.runtime.transaction import writing

# Every rate that the seed has for gpt-4o, so that none disappears.
GPT = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": 5e-06,
    "output_cost_per_token": 1e-05,
    "cache_read_input_token_cost": 1.25e-06,
    "input_cost_per_token_batches": 1.25e-06,
    "output_cost_per_token_batches": 5e-06,
    "input_cost_per_token_priority": 4.25e-06,
    "output_cost_per_token_priority": 1.7e-05,
    "cache_read_input_token_cost_priority": 2.125e-06,
    "search_context_cost_per_query": dict.fromkeys([f"search_context_size_{size}" for size in ("low", "medium", "high")], 0.01),
}
MAP = {
    "gpt-4o": GPT,
    "openai/new-one": GPT,
    "acme/<b>x</b>": GPT | {"litellm_provider": "acme"},
    "acme/good": GPT | {"litellm_provider": "acme"},
}


def count(table, *where):
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(table).where(*where)).scalar_one()


def opened(visitor, document=MAP, **fields):
    files = {"file": (io.BytesIO(json.dumps(document).encode()), "prices.json")}
    return visitor.post("/admin/proposals/new", {"source": "litellm"} | files | fields, content_type="multipart/form-data")


def page(visitor, path):
    return html.unescape(visitor.get(path).text)


def test_a_file_is_compared_and_shown_row_by_row_with_its_marks(ann, bob):
    address = opened(ann).location
    content = page(bob, address)
    assert "$2.50 per 1M tokens" in content
    assert "$5 per 1M tokens" in content
    assert "+100.0%" in content
    assert "Rises by more than the limit" in content
    assert "acme/<b>x</b>: model_id must be" in content
    assert "<b>x</b>" not in bob.get(address).text
    assert count(Model, Model.model_id == "new-one") == 0


def test_the_page_counts_all_problems_and_the_fields_that_notes_name(ann):
    broken = {f"broken-{number}": 1 for number in range(250)}
    content = page(
        ann, opened(ann, {"acme/good": GPT | {"litellm_provider": "acme", "google_maps_grounding_cost_per_query": 0.1}} | broken).location
    )
    assert "250 problems in the source" in content
    assert "The first 200:" in content
    assert "1 read, 250 left out" in content
    assert "11 in rates, 1 named in the notes of prices" in content


def test_the_bundled_catalogue_needs_no_file_and_its_pages_stay_small(ann):
    address = ann.post("/admin/proposals/new", {"source": "genai-prices"}).location
    first = page(ann, address)
    assert "Rows 1–50 of 2," in first
    assert first.count('name="shown"') == 50
    filtered = page(ann, f"{address}?provider=openrouter&word=claude&page=0")
    assert "openrouter/" in filtered
    assert "groq/" not in filtered.partition("<tbody>")[2]
    assert "No row matches" in page(ann, f"{address}?word=zzzqq")


def test_rows_are_ticked_by_page_and_by_filter_and_somebody_else_approves(ann, bob):
    address = opened(ann).location
    ids = {row.ref: row.id for row in db.session.execute(select(ProposalRow)).scalars()}
    response = bob.post(f"{address}choose", {"shown": list(ids.values()), "chosen": [ids["acme/good"]]}, headers={"HX-Request": "true"})
    assert "1 of 3 rows ticked" in response.text
    bob.post(f"{address}choose", {"all": "1", "word": "gpt"})
    assert "2 of 3 rows ticked" in page(bob, address)
    assert "Somebody else approves what you opened" in page(ann, address)
    refused = ann.post(f"{address}approve")
    assert "MODELDESK_FOUR_EYES=off" in page(ann, refused.location)
    bob.post(f"{address}approve")
    assert "Other rows are ticked now" in page(bob, address)
    seal = re.search(r'name="seal" value="([0-9a-f]{32})"', page(bob, address))[1]
    bob.post(f"{address}approve", {"seal": seal})
    assert "2 rows were taken over" in page(bob, address)
    assert count(Model, Model.model_id == "good") == 1
    assert count(Model, Model.model_id == "new-one") == 0
    bob.post(f"{address}undo")
    assert "Undone" in page(bob, address)


def test_select_all_leaves_out_a_row_whose_rate_disappears_and_says_so(ann, bob):
    address = opened(ann, MAP | {"gpt-4o": {name: value for name, value in GPT.items() if "priority" not in name}}).location
    response = bob.post(f"{address}choose", {"all": "1"})
    content = page(bob, response.location)
    assert "2 of 3 rows ticked" in content
    assert "1 row is not selected: a rate disappears" in content
    assert "A rate disappears (1)" in content
    held = db.session.execute(select(ProposalRow).where(ProposalRow.ref == "openai/gpt-4o")).scalar_one()
    assert ("removed" in held.guards, held.chosen) == (True, False)
    bob.post(f"{address}choose", {"shown": [held.id], "chosen": [held.id]})
    content = page(bob, address)
    assert "3 of 3 rows ticked" in content
    assert "1 with marks" in content


def test_the_buttons_count_only_rows_that_can_be_selected(ann, bob):
    address = opened(ann).location
    count_rows = count(ProposalRow)
    db.session.rollback()
    with writing(refresh=False) as session:
        session.execute(update(ProposalRow).where(ProposalRow.ref == "openai/gpt-4o").values(choosable=False))
    assert f"Tick all {count_rows - 1}<" in page(bob, address)
    with writing(refresh=False) as session:
        session.execute(update(ProposalRow).values(choosable=False))
    assert "ick all" not in page(bob, address)


def test_what_the_source_cannot_state_is_shown_and_stays(ann):
    cost = {"input": 2.5, "output": 11, "cache_read": 1.25}
    document = {"openai": {"name": "OpenAI", "models": {"gpt-4o": {"name": "GPT-4o", "cost": cost}}}}
    content = page(ann, opened(ann, document, source="models.dev").location)
    assert content.count("not stated by this source") == 11
    assert "A rate disappears" not in content


def test_a_file_of_another_kind_is_said_at_its_field(ann):
    response = opened(ann, [1, 2])
    assert (response.status_code, "Must be an object" in response.text) == (422, True)
    missing = ann.post("/admin/proposals/new", {"source": "models.dev"})
    assert (missing.status_code, re.search("Is needed for models.dev", missing.text) is not None) == (422, True)
    assert count(Proposal) == 0


def test_a_second_source_is_shown_where_it_disagrees(ann):
    second_catalog = {"openai/new-one": GPT | {"input_cost_per_token": 9e-06}}
    upload = {"second": "litellm", "second_file": (io.BytesIO(json.dumps(second_catalog).encode()), "other.json")}
    assert "second opinion: $9 per 1M tokens" in page(ann, opened(ann, **upload).location)


def test_the_last_file_of_another_source_is_the_second_opinion(ann):
    first = page(ann, opened(ann).location)
    assert "<dt>Second opinion</dt><dd>none</dd>" in first
    assert "A second source" not in first
    models = {"new-one": {"cost": {"input": 9, "output": 10}}, "gpt-4o": {"cost": {"input": 5.01, "output": 10.2}}}
    content = page(ann, opened(ann, {"openai": {"name": "OpenAI", "models": models}}, source="models.dev").location)
    assert "<dt>Second opinion</dt><dd>litellm file " in content
    assert "A second source states another amount (2)" in content
    assert "second opinion: $5 per 1M tokens" in content  # of openai/new-one
    assert "second opinion: $10 per 1M tokens" in content  # of the output of gpt-4o: 10.2 differs by more than 1%, 5.01 does not.
    assert content.count("second opinion: ") == 2


def test_a_litellm_configuration_is_recognized_with_the_sentence_of_the_import(ann):
    for source in ("litellm", "models.dev", "modeldesk"):
        upload = {"source": source, "file": (io.BytesIO(b"model_list:\n- model_name: gpt-4o\n"), "config.yaml")}
        response = ann.post("/admin/proposals/new", upload, content_type="multipart/form-data")
        assert response.status_code == 422
        text = " ".join(html.unescape(response.text).split())
        assert "This is the configuration of a LiteLLM proxy (config.yaml), not an export of Modeldesk, so nothing was imported." in text
        assert "with the columns of a CSV export.</div>" in text


def test_a_name_with_half_a_character_pair_is_a_problem_of_the_page_and_no_failure(ann):
    document = json.dumps(MAP | {"@@@": 1}).replace("@@@", "x\\ud800y\\u0000")
    upload = {"source": "litellm", "file": (io.BytesIO(document.encode()), "prices.json")}
    address = ann.post("/admin/proposals/new", upload, content_type="multipart/form-data").location
    assert "x\N{REPLACEMENT CHARACTER}y\N{REPLACEMENT CHARACTER}: is left out, because it is no object" in page(ann, address)


def test_files_larger_than_other_forms_are_taken(ann):
    entry = GPT | {"litellm_provider": "acme", "source": "https://acme.example/" + "x" * 300}
    document = json.dumps(MAP | {f"acme/m{index}": entry for index in range(3_000)})
    assert len(document) > 1_000_000
    fields = {"csrf_token": csrf_token(ann.get("/admin/").text), "source": "litellm"}
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    file = f'--x\r\nContent-Disposition: form-data; name="file"; filename="a.json"\r\n\r\n{document}\r\n--x--\r\n'
    response = ann.client.post("/admin/proposals/new", data="".join([*parts, file]), content_type="multipart/form-data; boundary=x")
    assert response.status_code == 302
    assert count(ProposalRow) > 3_000


def test_a_viewer_looks_and_changes_nothing(ann, eve):
    address = opened(ann).location
    content = page(eve, address)
    assert ("Approve" in content, "Tick all" in content, "Compare a catalogue" in page(eve, "/admin/proposals/")) == (False, False, False)
    token = csrf_token(eve.get("/admin/").text)
    for action in ("choose", "approve", "undo", "close"):
        assert eve.client.post(f"{address}{action}", data={"csrf_token": token, "all": "1"}).status_code == 403
    assert count(ProposalRow, ProposalRow.chosen) == 0


def test_nothing_new_is_said_and_not_kept(ann):
    assert opened(ann, {"gpt-4o": GPT | {"input_cost_per_token": 2.5e-06}, "x": 1}).status_code == 302
    before = count(Proposal)
    ann.post(f"/admin/proposals/{before}/close")
    unknown = {"gpt-4o": {"litellm_provider": "openai", "mode": "chat"}}
    assert "has everything that litellm" in page(ann, opened(ann, unknown).location)
    assert count(Proposal) == before
