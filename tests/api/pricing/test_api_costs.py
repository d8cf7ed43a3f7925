"""Costs through the API."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peer_cases import CASES, DIFFERENT_ON_PURPOSE, quote_of

from webapp.domain.pricing.meters import METER_TABLE, METERS
from webapp.domain.pricing.serializers import cost_document
from webapp.domain.pricing.usage import Usage

DATA = Path(__file__).parents[2] / "data"
AT = "2026-11-21T00:00:00Z"
MINI = "openai/gpt-4o-mini"


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def test_every_agreed_case_is_exact_through_a_quote(reader):
    wrong = []
    for case in cases("cost-cases.jsonl"):
        price = {"currency": "USD", "rates": case["price"]["rates"], "media_at_text_rate": case["price"]["media_at_text_rate"]}
        answer = reader.post("/quote", {"price": price, "usage": case["usage"], "service_tier": case["service_tier"]})
        if answer.status_code != 200 or Fraction(answer.json["total"]) != Fraction(case["expected"]):
            wrong.append((case["id"], answer.text[:200]))
    assert not wrong


def test_every_dated_case_is_exact_through_its_model(api):
    refs: dict[str, str] = {}
    for case in cases("price-history-cases.jsonl"):
        key = json.dumps(case["prices"])
        if key not in refs:
            refs[key] = a_model_with(api, len(refs), case["prices"])
        answer = api.post("/cost", {"model": refs[key], "usage": case["usage"], "at": case["at"]})
        assert answer.json["total"] == case["expected"], case["id"]


def test_every_dated_case_is_exact_through_a_quote(reader):
    """The price in force is quoted: the last one that starts at or before the time of the call."""
    for case in cases("price-history-cases.jsonl"):
        price = [price for price in case["prices"] if (price["effective_from"] or "") <= case["at"]][-1]
        quoted = {"currency": "USD", "rates": price["rates"], "media_at_text_rate": price["media_at_text_rate"]}
        answer = reader.post("/quote", {"price": quoted, "usage": case["usage"], "at": case["at"]})
        assert answer.json["total"] == case["expected"], case["id"]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_quote_of_a_peer_case_is_exact_or_differs_on_purpose(reader, case):
    answer = reader.post("/quote", quote_of(case))
    if case["id"] in DIFFERENT_ON_PURPOSE:
        assert answer.status_code in (400, 422) or Fraction(answer.json["total"]) != Fraction(case["expected"])
    else:
        assert (answer.status_code, answer.json["complete"]) == (200, True)
        assert Fraction(answer.json["total"]) == Fraction(case["expected"])


def a_model_with(api, index: int, prices: list[dict]) -> str:
    values = {"provider": "openai", "model_id": f"case-{index}", "display_name": "A case", "type": "text"}
    made = api.post("/admin/models", values)
    for price in prices:
        start = price["effective_from"] or "1970-01-01T00:00:00Z"
        fields = {"rates": price["rates"], "media_at_text_rate": price["media_at_text_rate"]}
        entered = {"state": "priced", "currency": "USD", "effective_from": start, **fields}
        assert api.post(f"/admin/models/{made.json['id']}/prices", entered).status_code == 201
    return made.json["ref"]


quantities = st.integers(0, 10**11)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([MINI, "openai/gpt-4o", "anthropic/claude-3-haiku", "openai/dall-e-3"]), st.lists(quantities, min_size=6, max_size=6)
)
def test_the_written_cost_is_the_document_of_the_domain(reader, registry, ref, amounts):
    read, plain, thought, visible, images, seconds = amounts
    usage = {
        "input": read + plain,
        "cache_read": read,
        "output": thought + visible,
        "reasoning": thought,
        "image": images,
        "second": seconds,
    }
    answer = reader.post("/cost", {"model": ref, "usage": usage, "at": AT}).json
    at = registry.explain(ref).at.replace(2026, 11, 21, 0, 0, 0)
    assert answer == cost_document(registry.calculate_cost(ref, usage=Usage(**usage), at=at))


def test_get_post_and_batch_agree(reader):
    got = reader.get(f"/cost?model=gpt-4o-mini&input_tokens=1000&output_tokens=200&at={AT}").json
    request = {"model": MINI, "usage": {"input": 1000, "output": 200}, "at": AT}
    equivalent = {"model": "gpt-4o-mini", "usage": {"input_tokens": 1000, "output_tokens": 200}, "at": AT, "service_tier": "standard"}
    batch = reader.post("/cost/batch", {"items": [request, equivalent]}).json
    assert got == reader.post("/cost", request).json == batch["data"][0] == batch["data"][1]
    assert (got["total"], batch["total"], batch["complete"]) == ("0.00027", "0.00054", True)


def test_the_etag_of_a_cost_belongs_to_its_moment(reader):
    tags = {reader.get(f"/cost?model={MINI}&at=2026-11-{day}T00:00:00Z").headers["ETag"] for day in (20, 21)}
    assert len(tags) == 2


def test_one_bad_item_does_not_fail_the_others(reader):
    good = {"model": MINI, "usage": {"input": 1000}}
    bad = [
        {"model": "nope", "usage": {}},
        {"model": MINI, "usage": {"input": -1}},
        {"model": MINI, "usage": {"vibes": 1}},
        {"model": MINI, "usage": {}, "surprise": 1},
        {"model": MINI},
        [],
        7,
    ]
    answer = reader.post("/cost/batch", {"items": [good, *bad, good]})
    items = answer.json["data"]
    assert answer.status_code == 200
    assert [item.get("status") for item in items] == [None, 404, 422, 422, 400, 422, 400, 400, None]
    assert (answer.json["total"], answer.json["complete"]) == ("0.0003", False)


def test_amounts_of_two_currencies_are_not_added_up(api):
    model_id = api.post("/admin/models", {"provider": "openai", "model_id": "euro", "display_name": "E", "type": "text"}).json["id"]
    rates = [{"meter": "input", "amount": "2", "per": 1_000_000}]
    entered = {"state": "priced", "currency": "EUR", "effective_from": "2026-01-01T00:00:00Z", "rates": rates}
    api.post(f"/admin/models/{model_id}/prices", entered)
    items = [{"model": ref, "usage": {"input": 1_000_000}, "at": AT} for ref in (MINI, "openai/euro", "openai/euro")]
    answer = api.post("/cost/batch", {"items": items}).json
    assert (answer["total"], answer["totals"], answer["complete"]) == (None, {"USD": "0.15", "EUR": "4"}, True)


def test_a_batch_takes_a_thousand_items_and_no_more(reader):
    item = {"model": MINI, "usage": {"input": 1}}
    assert len(reader.post("/cost/batch", {"items": [item] * 1000}).json["data"]) == 1000
    refused = reader.post("/cost/batch", {"items": [item] * 1001})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "items")
    assert reader.post("/cost/batch", {"items": []}).json == {"data": [], "total": "0", "totals": {}, "complete": True}


def test_the_total_of_unknown_costs_is_unknown_and_not_zero(api):
    api.post("/admin/models", {"provider": "openai", "model_id": "unpriced", "display_name": "U", "type": "text"})
    unknown = {"model": "openai/unpriced", "usage": {"input": 5}}
    no_rate = {"model": MINI, "usage": {"page": 5}}
    known = {"model": MINI, "usage": {"input": 1_000_000}}

    def totals(*items):
        answer = api.post("/cost/batch", {"items": [item | {"at": AT} for item in items]}).json
        return answer["total"], answer["totals"], answer["complete"]

    for items in ([unknown], [no_rate], [unknown, no_rate], [{"model": "nobody/knows", "usage": {"input": 1}}]):
        assert totals(*items) == (None, {}, False)
    assert totals(known, unknown) == ("0.15", {"USD": "0.15"}, False)
    assert totals(known) == ("0.15", {"USD": "0.15"}, True)


def test_the_cheapest_comes_first_then_what_is_known_in_part_then_what_is_unknown(api):
    model_id = api.post("/admin/models", {"provider": "openai", "model_id": "unpriced", "display_name": "U", "type": "text"}).json["id"]
    names = ["openai/unpriced", "mistral/mistral-ocr-2503", "openai/gpt-4o", "openai/gpt-4.1", MINI]
    answer = api.post("/compare", {"usage": {"input": 1000, "output": 1000}, "models": names, "at": AT}).json
    costs = [(cost["model"], cost["total"], cost["complete"]) for cost in answer["data"]]
    assert model_id
    assert costs[:3] == [(MINI, "0.00075", True), ("openai/gpt-4.1", "0.01", True), ("openai/gpt-4o", "0.0125", True)]
    assert [(model, complete) for model, _, complete in costs[3:]] == [("mistral/mistral-ocr-2503", False), ("openai/unpriced", False)]
    assert costs[4][1] is None


def test_a_comparison_keeps_to_what_is_required(reader, registry):
    requirements = {"usage": {"input": 1}, "type": "text", "capabilities": ["vision", "tools"], "min_context": 200_000}
    refs = {cost["model"] for cost in reader.post("/compare", requirements).json["data"]}
    fits = {
        model.ref
        for model in registry.snapshot.models
        if model.supported
        and model.type == "text"
        and {"vision", "tools"} <= set(model.capabilities)
        and (model.context_window or 0) >= 200_000
    }
    assert refs == fits
    assert refs


def test_a_comparison_with_an_unknown_model_is_refused(reader):
    answer = reader.post("/compare", {"usage": {"input": 1}, "models": [MINI, "nope"]})
    assert (answer.status_code, answer.json["code"]) == (404, "unknown_model")


REFUSED = [
    ({"usage": {}}, 422, "model"),
    ({"model": MINI}, 422, "usage"),
    ({"model": 7, "usage": {}}, 422, "model"),
    ({"model": MINI, "usage": [1]}, 422, "usage"),
    ({"model": MINI, "usage": {"vibes": 1}}, 422, "usage.vibes"),
    ({"model": MINI, "usage": {"input": True}}, 400, "usage.input"),
    ({"model": MINI, "usage": {"input": "5"}}, 400, "usage.input"),
    ({"model": MINI, "usage": {"input": 10**12 + 1}}, 422, "usage.input"),
    ({"model": MINI, "usage": {"input": 1, "input_tokens": 1}}, 422, "usage.input_tokens"),
    ({"model": MINI, "usage": {"input": 1, "cache_read": 2}}, 422, "usage.input"),
    ({"model": MINI, "usage": {}, "at": "yesterday"}, 422, "at"),
    ({"model": MINI, "usage": {}, "at": "2026-13-01T00:00:00Z"}, 422, "at"),
    ({"model": MINI, "usage": {}, "service_tier": "first-class"}, 422, "service_tier"),
    ({"model": MINI, "usage": {}, "discount": 1}, 400, "discount"),
]


@pytest.mark.parametrize(("body", "status", "field"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_request_that_makes_no_sense_is_refused_at_its_field(reader, body, status, field):
    answer = reader.post("/cost", body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (status, field)


BAD_QUERIES = [
    "input_tokens=-1",
    "input_tokens=1.5",
    "input_tokens=1e1000000",
    "output_tokens=%2B1",
    "image_count=true",
    "input_tokens=%D9%A3",
    "input_tokens=1_000",
    "at=never",
    "at=2026-02-30T00:00:00Z",
    "x=1",
    "input_tokens=9999999999999",
]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_query_that_makes_no_sense_is_refused(reader, query):
    assert reader.get(f"/cost?model={MINI}&{query}").status_code in (400, 422)


@pytest.mark.parametrize("amount", ["", "1e-3", "NaN", "-1", "+1", " 1", "1_000", "１", "1,5", "1e1000000", "9" * 400, None, 1])
def test_an_amount_that_is_not_a_plain_decimal_is_refused_at_its_place(reader, amount):
    price = {"currency": "USD", "rates": [{"meter": "input", "amount": amount, "per": 1_000_000}]}
    answer = reader.post("/quote", {"price": price, "usage": {"input": 1}})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "rates[0].amount")


def test_a_quote_belongs_to_no_model_and_no_rates_are_unknown_not_free(reader):
    price = {"currency": "USD", "rates": [{"meter": "input", "amount": "0", "per": 1}]}
    free = reader.post("/quote", {"price": price, "usage": {"input": 5}}).json
    assert (free["model"], free["price_id"], free["total"], free["complete"]) == (None, None, "0", True)
    unknown = reader.post("/quote", {"price": price | {"rates": []}, "usage": {"input": 5}}).json
    assert (unknown["total"], unknown["complete"], unknown["price_state"]) == (None, False, "unknown")


def wholes_of(part):
    return {whole for parent in METER_TABLE[part].parents for whole in (parent, *wholes_of(parent))}


def test_every_meter_can_be_asked_for(reader):
    rates = [{"meter": meter, "amount": "1", "per": 1} for meter in METERS]
    for meter in METERS:
        usage = dict.fromkeys(wholes_of(meter), 10) | {meter: 5}
        answer = reader.post("/quote", {"price": {"currency": "USD", "rates": rates}, "usage": usage})
        assert meter in {line["meter"] for line in answer.json["lines"]}, answer.text


SECOND_PRICE = {"currency": "USD", "rates": [{"meter": "second", "amount": "0.017", "per": 60}]}


@pytest.mark.parametrize(
    ("second", "quantity", "total"),
    [("8.47", "8.47", "0.002399833333333333"), ('"120"', 120, "0.034"), ("120.0", 120, "0.034"), ("1e2", 100, "0.028333333333333333")],
)
def test_seconds_can_be_sent_as_a_number_with_a_fraction_or_as_text(reader, second, quantity, total):
    body = f'{{"price":{json.dumps(SECOND_PRICE)},"usage":{{"second":{second}}}}}'
    answer = reader.post("/quote", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["total"], answer.json["lines"][0]["quantity"]) == (200, total, quantity)


@pytest.mark.parametrize(
    "body",
    [
        {"price": SECOND_PRICE, "usage": {"second": 1.5, "input": 1.5}},
        {"price": SECOND_PRICE, "usage": {"second": 1.2345}},
        {"price": SECOND_PRICE | {"minimum": 0.1}, "usage": {"second": 1}},
        {"price": {"currency": "USD", "rates": [{"meter": "second", "amount": 0.1, "per": 1}]}, "usage": {"second": 1}},
        {"price": {"currency": "USD", "rates": [{"meter": "second", "amount": "0.1", "per": 1.5}]}, "usage": {"second": 1}},
        {"price": SECOND_PRICE, "usage": {"second": 1}, "at": 1.5},
        {
            "price": {
                "currency": "USD",
                "rates": [{"meter": "second", "amount": "1", "per": 1, "window": {"days": [1.0], "from": "00:00", "to": "24:00"}}],
            },
            "usage": {"second": 1},
        },
    ],
)
def test_a_fraction_anywhere_else_is_malformed(reader, body):
    assert reader.post("/quote", body).status_code == 400


PRICE_OF_IMAGES = {
    "currency": "USD",
    "rates": [
        {"meter": "image", "amount": "0.167", "per": 1, "when": {"quality": "high"}},
        {"meter": "image", "amount": "0.25", "per": 1, "when": {"quality": "high", "size": "1536x1024"}},
    ],
    "minimum": "0.01",
    "surcharge_percent": "10",
}


def test_a_quote_takes_conditions_minimum_and_surcharge(reader):
    call = {"price": PRICE_OF_IMAGES, "usage": {"image": 2}, "attributes": {"quality": "high", "size": "1536x1024"}}
    answer = reader.post("/quote", call).json
    assert (answer["total"], answer["surcharge"], answer["attributes"]) == ("0.55", "0.05", call["attributes"])
    answer = reader.post("/quote", call | {"attributes": None}).json
    assert (answer["total"], answer["complete"], answer["missing"]) == ("0", False, ["image when quality, size"])


@pytest.mark.parametrize("path", ["/cost", "/quote", "/compare", "/cost/batch"])
@pytest.mark.parametrize(
    ("tier", "status"), [("default", 200), ("on_demand", 200), ("fast", 200), ("scale", 200), ("auto", 422), ("cheap", 422)]
)
def test_every_endpoint_takes_the_vendors_words_for_a_service_tier(reader, path, tier, status):
    call = {"usage": {"input": 1}, "service_tier": tier}
    bodies = {
        "/cost": call | {"model": "openai/gpt-4o-mini"},
        "/quote": call | {"price": SECOND_PRICE},
        "/compare": call,
        "/cost/batch": {"items": [call | {"model": "openai/gpt-4o-mini"}]},
    }
    answer = reader.post(path, bodies[path])
    outcome = answer.json["data"][0] if path == "/cost/batch" else answer.json
    assert outcome.get("status", answer.status_code) == status
    if tier == "auto":
        assert "asks the vendor to choose" in outcome["detail"]


def test_the_cost_in_the_query_takes_the_same_words(reader):
    standard, default = (reader.get(f"/cost?model=openai/gpt-4o-mini&input_tokens=9{tier}").json for tier in ("", "&service_tier=default"))
    assert standard["total"] == default["total"]
    assert default["service_tier"] == "standard"
    assert reader.get("/cost?model=openai/gpt-4o-mini&service_tier=auto").status_code == 400


@pytest.mark.parametrize("second", ["1000000000000.001", "1e400", '"1000000000000.001"', "-0.5"])
def test_seconds_out_of_range_are_refused_as_values(reader, second):
    body = f'{{"price":{json.dumps(SECOND_PRICE)},"usage":{{"second":{second}}}}}'
    answer = reader.post("/quote", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "usage.second")
