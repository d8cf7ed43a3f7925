"""Tests of the input schemas for a provider, a model and a price."""

from contextlib import suppress
from datetime import time
from decimal import Decimal
from itertools import pairwise
from time import process_time
from zoneinfo import available_timezones

import pytest
from factories import model_values, price_values, provider_values
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.catalog.input_schemas import api_key, validate_model, validate_price, validate_provider
from webapp.domain.catalog.rate_schemas import MAX_RATES, validate_rates
from webapp.domain.pricing.windows import Window
from webapp.domain.shared.errors import Invalid

RATE = {"meter": "input", "amount": "3", "per": 1_000_000}


def fields(refused) -> list[str]:
    return [error.field for error in refused.value.errors]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"meter": "tokens"}, "rates[0].meter"),
        ({"amount": 3}, "rates[0].amount"),
        ({"amount": "1e1000000"}, "rates[0].amount"),
        ({"amount": "-1"}, "rates[0].amount"),
        ({"amount": "NaN"}, "rates[0].amount"),
        ({"per": 0}, "rates[0].per"),
        ({"per": True}, "rates[0].per"),
        ({"per": 10**9 * 2}, "rates[0].per"),
        ({"above": -1}, "rates[0].above"),
        ({"above": "1"}, "rates[0].above"),
        ({"service_tier": "cheap"}, "rates[0].service_tier"),
        ({"window": {"from": "24:00", "to": "01:00"}}, "rates[0].window.from"),
        ({"window": {"from": "01:00", "to": "24:30"}}, "rates[0].window.to"),
        ({"window": {"from": "01:00", "to": "02:00", "tz": "Mars/Base"}}, "rates[0].window.tz"),
        ({"window": {"from": "01:00", "to": "02:00", "tz": "../../etc/passwd"}}, "rates[0].window.tz"),
        # Names that one host knows and another does not, or that mean another zone there.
        ({"window": {"from": "01:00", "to": "02:00", "tz": "localtime"}}, "rates[0].window.tz"),
        ({"window": {"from": "01:00", "to": "02:00", "tz": "posixrules"}}, "rates[0].window.tz"),
        ({"window": {"from": "01:00", "to": "02:00", "tz": "right/Europe/Berlin"}}, "rates[0].window.tz"),
        ({"window": {"from": "01:00", "to": "02:00", "tz": "posix/Europe/Berlin"}}, "rates[0].window.tz"),
        ({"when": {"Quality": "high"}}, "rates[0].when.Quality"),
        ({"when": {"quality": ""}}, "rates[0].when.quality"),
        ({"when": {"quality": 1}}, "rates[0].when.quality"),
        ({"when": {"quality": "x" * 61}}, "rates[0].when.quality"),
        ({"when": dict.fromkeys("abcdef", "x")}, "rates[0].when"),
        ({"when": ["quality"]}, "rates[0].when"),
        ({"service_tier": "auto"}, "rates[0].service_tier"),
        ({"amount": "0.1234567890123456789"}, "rates[0].amount"),
        ({"window": {"days": [7], "from": "01:00", "to": "02:00"}}, "rates[0].window.days[0]"),
        ({"window": "night"}, "rates[0].window"),
        ({"price": 1}, "rates[0].price"),
    ],
)
def test_a_wrong_rate_is_named_by_its_place(change, field):
    with pytest.raises(Invalid) as refused:
        validate_price(price_values(rates=[RATE | change]))
    assert fields(refused)[0] == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"state": "cheap"}, "state"),
        ({"currency": "usd"}, "currency"),
        ({"effective_from": "2026-11-01"}, "effective_from"),
        ({"rates": []}, "rates"),
        ({"state": "free"}, "rates"),
        ({"state": "unknown"}, "rates"),
        ({"rates": [RATE, RATE | {"amount": "4"}]}, "rates[1]"),
        ({"rates": [RATE] * 201}, "rates"),
        ({"rates": [None]}, "rates[0]"),
        ({"source": {"kind": "seed"}}, "source.kind"),
        ({"corrects": 0}, "corrects"),
        ({"note": "\x00"}, "note"),
    ],
)
def test_a_wrong_price_is_refused_by_name(change, field):
    with pytest.raises(Invalid) as refused:
        validate_price(price_values(**change))
    assert fields(refused)[0] == field


def test_a_price_keeps_every_digit_and_condition():
    window = {"days": [4, 0], "from": "16:30", "to": "00:30"}
    entry = validate_price(
        price_values(rates=[RATE | {"amount": "0.000000000001", "above": 200_000, "service_tier": "batch", "window": window}])
    )
    rate = entry.rates[0]
    assert (rate.amount, rate.above, rate.service_tier, rate.window.days) == (Decimal("0.000000000001"), 200_000, "batch", (0, 4))


@pytest.mark.parametrize("per", [1, 3, 7, 60, 3_600, 10**9])
def test_a_rate_applies_to_any_number_of_units(per):
    assert validate_price(price_values(rates=[RATE | {"per": per}])).rates[0].per == per


@pytest.mark.parametrize(
    ("window", "start", "end", "zone"),
    [
        ({"from": "00:00", "to": "24:00"}, "00:00", "00:00", None),
        ({"from": "10:00", "to": "10:00"}, "00:00", "00:00", None),
        ({"from": "16:30", "to": "24:00", "tz": "UTC"}, "16:30", "00:00", None),
        ({"from": "16:30", "to": "00:30", "tz": "Asia/Shanghai"}, "16:30", "00:30", "Asia/Shanghai"),
    ],
)
def test_a_window_can_be_the_whole_day_and_have_a_time_zone(window, start, end, zone):
    parsed = validate_price(price_values(rates=[RATE | {"window": window}])).rates[0].window
    assert parsed == Window((), time.fromisoformat(start), time.fromisoformat(end), zone)


HIGH, LARGE = {"quality": "high"}, {"size": "large"}
DAY, EVENING = {"from": "08:00", "to": "20:00"}, {"from": "19:00", "to": "23:00"}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"when": HIGH}, {"when": LARGE}),
        ({"when": HIGH | LARGE}, {"when": HIGH | {"region": "us"}}),
        ({"when": HIGH, "window": DAY}, {"when": LARGE, "window": EVENING}),
        ({}, {}),
        ({"when": HIGH}, {"when": HIGH}),
        ({"window": DAY}, {"window": EVENING}),
        ({"window": DAY}, {"window": {"from": "16:00", "to": "17:00", "tz": "Asia/Shanghai"}}),
        ({"window": {"days": [5], "from": "00:00", "to": "24:00"}}, {"window": {"days": [4], "from": "23:00", "to": "01:00"}}),
        # Once a year, both apply: New York sets its clocks forward three hours before Los Angeles does.
        (
            {"window": {"days": [6], "from": "04:00", "to": "04:30", "tz": "America/New_York"}},
            {"window": {"days": [6], "from": "00:00", "to": "00:30", "tz": "America/Los_Angeles"}},
        ),
        # Lord Howe Island sets its clocks forward by half an hour.
        ({"window": {"from": "10:30", "to": "11:00", "tz": "Australia/Lord_Howe"}}, {"window": {"from": "00:00", "to": "00:30"}}),
    ],
)
def test_two_rates_that_could_tie_for_a_call_are_refused(left, right):
    with pytest.raises(Invalid) as refused:
        validate_price(price_values(rates=[RATE | left, RATE | right | {"amount": "9"}]))
    assert fields(refused) == ["rates[1]"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"when": HIGH}, {"when": {"quality": "low"}}),
        ({"when": HIGH}, {"when": HIGH | LARGE}),
        ({"when": HIGH}, {}),
        ({"when": HIGH}, {"when": LARGE, "above": 10}),
        ({"when": HIGH}, {"when": LARGE, "service_tier": "batch"}),
        ({"when": HIGH}, {"when": LARGE, "window": DAY}),
        ({"when": HIGH, "window": DAY}, {"when": LARGE, "window": {"from": "20:00", "to": "08:00"}}),
        ({"window": DAY}, {"window": {"from": "20:00", "to": "23:00"}}),
        ({"window": DAY}, {"window": {"from": "04:00", "to": "08:00", "tz": "Asia/Shanghai"}}),
        ({"window": DAY}, {"window": EVENING, "amount": RATE["amount"]}),
    ],
)
def test_rates_of_which_one_is_more_specific_or_never_applies_are_taken(left, right):
    assert len(validate_price(price_values(rates=[RATE | left, RATE | {"amount": "9"} | right])).rates) == 2


def test_the_longest_list_of_rates_is_compared_quickly():
    zones = sorted(available_timezones() - {"localtime"})[:MAX_RATES]
    minutes = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(MAX_RATES + 1)]
    spans = [{"window": {"from": start, "to": end}} for start, end in pairwise(minutes)]
    in_zones = [{"window": span["window"] | {"tz": zone}} for span, zone in zip(spans, zones, strict=True)]
    conditions = [{"when": {"n_" + chr(97 + index // 26) + chr(97 + index % 26): "x"}} for index in range(MAX_RATES)]
    for rates in (spans, in_zones, conditions):
        started = process_time()
        with suppress(Invalid):
            validate_rates([RATE | rate | {"amount": f"{index}"} for index, rate in enumerate(rates)], "rates")
        assert process_time() - started < 5  # About a second. It was minutes: each pair of zones was compared 1,460 times.


@pytest.mark.parametrize(
    ("left", "right", "both", "taken"),
    [
        ({}, {}, {}, True),
        ({"above": 10}, {"above": 10}, {}, True),
        ({"above": 10}, {"above": 10}, {"above": 10}, True),
        ({"window": DAY}, {"window": EVENING}, {}, True),
        ({"window": DAY}, {"window": EVENING}, {"window": EVENING}, True),
        ({}, {}, {"above": 10}, False),
        ({}, {}, {"window": DAY}, False),
        ({}, {}, {"service_tier": "batch"}, False),
        ({}, {}, {"meter": "output"}, False),
        ({}, {}, {"when": HIGH | LARGE | {"region": "us"}}, False),
    ],
)
def test_a_rate_with_the_conditions_of_both_settles_a_tie_if_it_applies_whenever_both_do(left, right, both, taken):
    rates = [RATE | left | {"when": HIGH}, RATE | right | {"when": LARGE}, RATE | {"when": HIGH | LARGE} | both]
    if taken:
        assert len(validate_price(price_values(rates=rates)).rates) == 3
    else:
        with pytest.raises(Invalid):
            validate_price(price_values(rates=rates))


@pytest.mark.parametrize(("word", "tier"), [("default", "standard"), ("on_demand", "standard"), ("fast", "fast"), ("scale", "scale")])
def test_a_service_tier_has_the_words_of_vendors(word, tier):
    assert validate_price(price_values(rates=[RATE | {"service_tier": word}])).rates[0].service_tier == tier


def test_auto_is_explained():
    with pytest.raises(Invalid, match="asks the vendor to choose"):
        validate_price(price_values(rates=[RATE | {"service_tier": "auto"}]))


@pytest.mark.parametrize("percent", ["1000.001", "-1", "5%", 5, "0.1234"])
def test_a_surcharge_is_refused_beyond_its_limits(percent):
    with pytest.raises(Invalid) as refused:
        validate_price(price_values(surcharge_percent=percent))
    assert fields(refused) == ["surcharge_percent"]


def test_a_price_has_the_fields_of_the_contract_with_their_defaults():
    entry = validate_price(price_values())
    assert (entry.media_at_text_rate, entry.minimum, entry.surcharge_percent) == (False, None, None)
    entry = validate_price(price_values(media_at_text_rate=True, minimum="0.01", surcharge_percent="5.5"))
    assert (entry.media_at_text_rate, entry.minimum, entry.surcharge_percent) == (True, Decimal("0.01"), Decimal("5.5"))


@pytest.mark.parametrize("name", ["provider", "model_id", "display_name", "type"])
def test_a_model_needs(name):
    with pytest.raises(Invalid, match=f"{name} is required"):
        validate_model({key: value for key, value in model_values().items() if key != name}, partial=False)


def test_an_inactive_model_cannot_be_entered_as_the_default():
    with pytest.raises(Invalid, match="inactive"):
        validate_model(model_values(active=False, default=True), partial=False)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "poem"},
        {"context_window": 0},
        {"capabilities": ["Tools"]},
        {"aliases": ["a b"]},
        {"retires_on": "soon"},
        {"quirks": {"a": [[[[1]]]]}},
        {"active": 1},
        {"sort_order": 10**7},
        {"display_name": ""},
        {"display_name": "a\nb"},
    ],
)
def test_a_wrong_model_is_refused_by_name(change):
    with pytest.raises(Invalid) as refused:
        validate_model(model_values(**change), partial=False)
    assert fields(refused)[0].partition("[")[0] == next(iter(change))


@pytest.mark.parametrize(
    "change",
    [
        {"slug": "Acme"},
        {"slug": "a" * 61},
        {"base_url": "ftp://x"},
        {"timeout_seconds": 0},
        {"required_environment": ["path"]},
        {"config": []},
        {"default_temperature": 0.2},
        {"website": "javascript:alert(1)"},
    ],
)
def test_a_wrong_provider_is_refused_by_name(change):
    with pytest.raises(Invalid) as refused:
        validate_provider(provider_values(**change), partial=False)
    assert fields(refused)[0].partition("[")[0] == next(iter(change))


@pytest.mark.parametrize("key", ["a b c d e f g h", "ke\ny-12345678", "key\x00key12345", "ключ-12345678", "", None, 5])
def test_a_key_with_spaces_or_control_characters_inside_is_refused(key):
    with pytest.raises(Invalid) as refused:
        api_key(key, "api_key")
    assert "12345678" not in refused.value.detail


@given(
    st.dictionaries(
        st.sampled_from(["state", "currency", "effective_from", "rates", "note"]), st.text() | st.integers() | st.lists(st.text())
    )
)
def test_whatever_is_entered_for_a_price_is_refused_as_invalid(values):
    with pytest.raises(Invalid):
        validate_price(values)


EVENING, NIGHT, LATE = ({"from": "16:30", "to": "00:30"}, {"from": "00:30", "to": "08:00"}, {"from": "00:15", "to": "01:00"})
MONDAY, TUESDAY = ({"days": [day], "from": "22:00", "to": "02:00"} for day in (0, 1))


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (EVENING, NIGHT, False),
        (EVENING, LATE, True),
        (LATE, EVENING, True),
        (MONDAY, TUESDAY, False),
        (MONDAY, {"days": [1], "from": "01:00", "to": "03:00"}, True),
        ({"days": [6], "from": "23:00", "to": "01:00"}, MONDAY, False),
        ({"days": [6], "from": "23:00", "to": "01:00"}, {"days": [0], "from": "00:30", "to": "02:00"}, True),
    ],
)
def test_two_windows_of_a_meter_never_hold_at_the_same_hours(one, other, clash):
    rows = [{"meter": "input", "amount": str(amount), "per": 1, "window": window} for amount, window in enumerate((one, other), 1)]
    separate = [rows[0], rows[1] | {"above": 1000}]
    assert len(validate_rates(separate, "rates")) == 2
    if not clash:
        assert len(validate_rates(rows, "rates")) == 2
        return
    with pytest.raises(Invalid, match="rates") as refused:
        validate_rates(rows, "rates")
    assert "two windows that overlap" in refused.value.errors[0].message
