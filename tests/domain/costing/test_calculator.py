"""Tests of the calculator without its page."""

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qs

import pytest
from factories import NOW, a_model, a_price, a_rate, a_snapshot
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.costing.calculator import MAX_MODELS, calculate, condition_choices, parse_query, typical_usage
from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.service_tiers import SERVICE_TIERS
from webapp.domain.pricing.usage import Usage


def asked(snapshot, **query):
    return calculate(snapshot, parse_query({name: value if isinstance(value, list) else [value] for name, value in query.items()}), NOW)


CHEAP = a_model("cheap", prices=[a_price(a_rate(amount="1"), a_rate("output", "2"))], id=1)
DEAR = a_model("dear", prices=[a_price(a_rate(amount="3"), a_rate("output", "6"))], id=2)
FREE = a_model("free", prices=[a_price(state="free", rates=())], id=3)
UNKNOWN = a_model("unknown", prices=[a_price(state="unknown", rates=())], id=4)
PARTIAL = a_model("partial", prices=[a_price(a_rate(amount="0.1"))], id=5)
PAGES = a_model("pages", prices=[a_price(a_rate("page", "1", 1000))], id=6)
ALL = (CHEAP, DEAR, FREE, UNKNOWN, PARTIAL, PAGES)


def test_the_cheapest_comes_first_and_what_is_not_known_last():
    quotes = asked(a_snapshot(*ALL), model=[model.ref for model in ALL], input="1000", output="500").quotes
    assert [quote.model.model_id for quote in quotes] == ["free", "cheap", "dear", "partial", "pages", "unknown"]
    assert [quote.cheapest for quote in quotes] == [True, False, False, False, False, False]


def test_what_has_no_rate_at_all_has_no_total_and_never_a_zero():
    quotes = asked(a_snapshot(*ALL), model=["acme/pages", "acme/unknown"], input="1000").quotes
    assert [quote.total for quote in quotes] == [None, None]


def test_an_inactive_model_is_compared_but_never_called_the_cheapest():
    off = a_model("off", prices=[a_price(a_rate(amount="0.5"))], active=False, id=7)
    quotes = asked(a_snapshot(CHEAP, DEAR, off), model=["acme/off", "acme/cheap", "acme/dear"], input="1000").quotes
    assert [(quote.model.model_id, quote.cheapest) for quote in quotes] == [("off", False), ("cheap", True), ("dear", False)]


def test_amounts_of_different_currencies_are_not_compared():
    euros = a_model("euros", prices=[a_price(a_rate(amount="0.5"), currency="EUR")], id=8)
    quotes = asked(a_snapshot(CHEAP, euros), model=["acme/euros", "acme/cheap"], input="1000").quotes
    assert [(quote.cheapest, quote.share) for quote in quotes] == [(False, None), (False, None)]


def test_many_calls_are_priced_one_by_one_and_exactly():
    tiered = a_model("tiered", prices=[a_price(a_rate(amount="1"), a_rate(amount="2", above=2000))], id=9)
    quote = asked(a_snapshot(tiered), model="acme/tiered", input="1500", calls="1000000000").quotes[0]
    assert quote.total_for(10**9) == 1_500_000


@pytest.mark.parametrize("text", ["1,200", "1 200", "1200", " 1200 "])
def test_thousands_may_be_grouped(text):
    assert parse_query({"input": [text]}).usage.input == 1200


@pytest.mark.parametrize(
    "text",
    [
        "1,5",
        "12,00",
        "1.5",
        "-1",
        "1e1000000",
        "NaN",
        "Infinity",
        "1_000",
        "１２",
        "٣",
        "0x10",
        "1" * 5000,
        "\0",
        "10000000000001",
        "1,2 000",
    ],
)
def test_what_is_no_whole_number_is_said_at_its_field(text):
    request = parse_query({"input": [text], "output": ["5"]})
    assert set(request.errors) == {"input"}
    assert request.typed["output"] == "5"


def test_parts_that_are_larger_than_their_whole_are_said_at_the_whole():
    assert set(parse_query({"input": ["10"], "cache_read": ["20"], "output": ["1"], "reasoning": ["2"]}).errors) == {"input", "output"}


def test_no_more_than_eight_models_are_compared():
    request = parse_query({"model": [f"acme/m{number}" for number in range(20)]})
    assert (len(request.refs), set(request.errors)) == (MAX_MODELS, {"model"})


@pytest.mark.parametrize("text", ["2026-11-21", "2026-11-21T00:00:00Z", "2026-11-21t02:00:00+02:00"])
def test_a_day_or_a_moment_names_the_prices(text):
    assert parse_query({"at": [text]}).at == datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "9999-12-31T23:59:59-23:59", "2026-11-21T00:00:00", "\ud800"])
def test_what_is_no_moment_is_said_at_its_field(text):
    assert set(parse_query({"at": [text]}).errors) == {"at"}


ATTRIBUTES = st.dictionaries(st.from_regex("[a-z_]{1,40}", fullmatch=True), st.sampled_from(["high", "1536x1024", "a=b", "é"]), max_size=5)


@given(attributes=ATTRIBUTES, seconds=st.decimals(0, 10**6, places=3))
def test_an_address_keeps_attributes_and_fractions_of_seconds(attributes, seconds):
    asked_attributes = [f"{name}={value}" for name, value in attributes.items()]
    request = parse_query({"when": asked_attributes, "second": [f"{seconds:f}"]})
    parsed = parse_query(parse_qs(request.query()))
    assert (parsed.attributes, parsed.usage, parsed.errors) == (attributes, Usage(second=seconds), {})


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["quality"], "quality must have 1 to 60 characters"),
        (["Quality=high"], "is no attribute name"),
        (["quality=high", "quality=low"], "given twice with different values"),
        (["a=1", "b=1", "c=1", "d=1", "e=1", "f=1"], "at most 5"),
        (["quality=" + "x" * 61], "quality must have 1 to 60 characters"),
    ],
)
def test_what_is_no_attribute_is_said_and_stays_as_it_was_typed(texts, said):
    request = parse_query({"when": texts, "input": ["10"]})
    assert said in request.errors["when"]
    assert (request.typed_attributes, request.attributes) == (tuple(texts[:5]), {})


def test_the_attributes_of_a_call_choose_the_rate():
    images = a_price(a_rate("image", "0.167", 1, when=(("quality", "high"),)), a_rate("image", "0.04", 1))
    snapshot = a_snapshot(a_model("painter", prices=[images]))
    assert asked(snapshot, model="acme/painter", image="2", when="quality=high").quotes[0].total == Decimal("0.334")
    assert asked(snapshot, model="acme/painter", image="2").quotes[0].total == Decimal("0.08")
    assert condition_choices(images) == {"quality": ("high",)}
    assert condition_choices(None) == {}


@pytest.mark.parametrize("text", ["8.4711", "1,5", "-1", "1e3", "8."])
def test_a_bad_number_of_seconds_is_told_that_decimals_are_fine(text):
    assert parse_query({"second": [text]}).errors == {
        "second": "Seconds must be a number from 0 to 1,000,000,000,000 with up to three decimals, such as 90 or 8.47."
    }


@given(
    refs=st.lists(st.sampled_from([model.ref for model in ALL]), unique=True),
    usage=st.dictionaries(st.sampled_from(METERS[METERS.index("image") :]), st.integers(0, 10**12)),
    tier=st.sampled_from(SERVICE_TIERS),
    calls=st.integers(0, 10**9),
)
def test_an_address_that_was_made_of_a_question_asks_the_same(refs, usage, tier, calls):
    request = parse_query(
        {"model": refs, "service_tier": [tier], "calls": [str(calls)], **{meter: [str(count)] for meter, count in usage.items()}}
    )
    parsed = parse_query(parse_qs(request.query()))
    assert (parsed.refs, parsed.usage, parsed.service_tier, parsed.calls) == (
        request.refs,
        request.usage,
        request.service_tier,
        request.calls,
    )


@given(
    query=st.dictionaries(
        st.sampled_from([*METERS, "model", "at", "calls", "service_tier", "x"]), st.lists(st.text(max_size=50), max_size=3)
    )
)
def test_no_address_ends_in_an_error(query):
    calculate(a_snapshot(*ALL), parse_query(query), NOW)


@pytest.mark.parametrize(
    ("price", "used"),
    [
        (None, {"input": 1_000, "output": 500}),
        (a_price(state="free", rates=()), {"input": 1_000, "output": 500}),
        (
            a_price(a_rate(), a_rate("output", "2"), a_rate("cache_read", "1"), a_rate("web_search", "10", 1_000)),
            {"input": 1_000, "output": 500},
        ),
        (a_price(a_rate("image", "0.04", 1)), {"image": 1}),
        (a_price(a_rate(), a_rate("image", "0.04", 1)), {"input": 1_000, "image": 1}),
        (a_price(a_rate(), a_rate("output", "2"), a_rate("image", "0.04", 1)), {"input": 1_000, "output": 500}),
        (a_price(a_rate("second", "0.0001", 1)), {"second": 60}),
        (a_price(a_rate("web_search", "10", 1_000)), {"input": 1_000, "output": 500}),
        (a_price(a_rate("pixel", "0.0000001", 1)), {"pixel": 1_048_576}),
        (a_price(a_rate("session", "0.03", 1)), {"session": 1}),
        (a_price(a_rate("input_audio", "6"), a_rate("output", "10")), {"input": 1_000, "input_audio": 1_000, "output": 500}),
        (a_price(a_rate(), a_rate("output_image", "30")), {"input": 1_000, "output": 500, "output_image": 500}),
        (a_price(a_rate(), a_rate("input_audio", "6"), a_rate("output", "2")), {"input": 1_000, "output": 500}),
    ],
)
def test_an_ordinary_call_uses_what_is_billed_by_itself(price, used):
    assert typical_usage(price).as_dict() == used
