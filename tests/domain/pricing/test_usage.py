"""Tests of usage: whole numbers, parts within their wholes, and errors that name the meter."""

from dataclasses import fields
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.pricing.meters import METER_TABLE, METERS
from webapp.domain.pricing.usage import MAX_QUANTITY, Quantities, Usage
from webapp.domain.shared.errors import Invalid, Malformed


@pytest.mark.parametrize(
    "quantity", [True, 1.0, "1", -1, MAX_QUANTITY + 1, None, float("nan"), [1], 10**4000], ids=lambda value: repr(value)[:12]
)
@pytest.mark.parametrize("meter", [meter for meter in METERS if meter != "second"])
def test_t31_a_quantity_is_refused_by_name(meter, quantity):
    with pytest.raises(Invalid) as refused:
        Usage(**{meter: quantity})
    assert [error.field for error in refused.value.errors] == [f"usage.{meter}"]


def test_every_wrong_quantity_is_named_at_once():
    with pytest.raises(Invalid) as refused:
        Usage(input=-1, output=MAX_QUANTITY + 1, image=1)
    assert [error.field for error in refused.value.errors] == ["usage.input", "usage.output"]


@pytest.mark.parametrize(("quantity", "error"), [(True, Malformed), (1.5, Malformed), ("5", Malformed), (-1, Invalid), (10**13, Invalid)])
def test_a_quantity_of_another_type_is_malformed_and_one_out_of_range_is_invalid(quantity, error):
    with pytest.raises(Invalid) as refused:
        Usage(input=quantity)
    assert type(refused.value) is error


@pytest.mark.parametrize(
    ("entered", "second"),
    [
        ("8.47", Decimal("8.47")),
        (8.47, Decimal("8.47")),
        (Decimal("8.470"), Decimal("8.47")),
        ("8.0", 8),
        (8.0, 8),
        (Decimal("1E+3"), 1000),
        (8, 8),
        ("0.001", Decimal("0.001")),
    ],
)
def test_seconds_have_up_to_three_decimals_and_a_whole_number_is_an_integer(entered, second):
    usage = Usage(second=entered)
    assert (usage.second, type(usage.second)) == (second, type(second))
    assert Usage(**usage.document()) == usage


@pytest.mark.parametrize("entered", [True, "8.4711", 8.4711, "", " 8", "1e3", "nan", float("nan"), float("inf"), None, [1], "٣"])
def test_seconds_of_another_form_are_malformed(entered):
    with pytest.raises(Malformed) as refused:
        Usage(second=entered)
    assert [error.field for error in refused.value.errors] == ["usage.second"]


@pytest.mark.parametrize("entered", [-1, "-1", -0.5, MAX_QUANTITY + 1, "1000000000000.001", "9" * 20, Decimal("1E+999999")])
def test_seconds_out_of_range_are_invalid(entered):
    with pytest.raises(Invalid) as refused:
        Usage(second=entered)
    assert type(refused.value) is Invalid
    assert [error.field for error in refused.value.errors] == ["usage.second"]


@pytest.mark.parametrize("meter", METERS)
def test_the_largest_quantity_is_taken(meter):
    wholes = dict.fromkeys(_wholes(meter), MAX_QUANTITY)
    assert getattr(Usage(**wholes | {meter: MAX_QUANTITY}), meter) == MAX_QUANTITY


def _wholes(meter):
    return {whole for parent in METER_TABLE[meter].parents for whole in (parent, *_wholes(parent))}


@pytest.mark.parametrize(
    ("quantities", "field"),
    [
        ({"input": 9, "cache_read": 10}, "usage.input"),
        ({"input": 9, "cache_read": 5, "cache_write": 5}, "usage.input"),
        ({"input": 9, "input_audio": 5, "input_image": 5}, "usage.input"),
        ({"input": 9, "cache_write": 1, "cache_write_1h": 2}, "usage.cache_write"),
        ({"output": 9, "reasoning": 10}, "usage.output"),
        ({"output": 9, "reasoning": 5, "output_audio": 5}, "usage.output"),
        ({"output": 9, "output_image": 5, "output_video": 5}, "usage.output"),
        ({"input": 9, "input_audio": 3, "input_image": 3, "input_video": 4}, "usage.input"),
        ({"input": 9, "cache_read": 5, "cache_write": 5, "input_audio": 1}, "usage.input"),
        ({"input": 9, "cache_read": 5, "input_audio": 10}, "usage.input"),
        ({"input": 9, "cache_read": 9, "input_audio": 2, "cache_read_audio": 3}, "usage.input_audio"),
        (
            {"input": 9, "cache_read": 3, "input_audio": 2, "input_image": 2, "cache_read_audio": 2, "cache_read_image": 2},
            "usage.cache_read",
        ),
        ({"input": 9, "input_video": 1, "cache_write": 1, "cache_write_1h": 2}, "usage.cache_write"),
    ],
)
def test_parts_larger_than_their_whole_are_refused_by_the_name_of_the_whole(quantities, field):
    with pytest.raises(Invalid) as refused:
        Usage(**quantities)
    assert [error.field for error in refused.value.errors] == [field]


def test_parts_may_fill_their_whole():
    assert Usage(input=10, cache_read=4, cache_write=6, cache_write_1h=6).cells == (("cache_read", 4), ("cache_write_1h", 6))


@pytest.mark.parametrize("media", [{"input_audio": 10}, {"input_audio": 4, "input_image": 6}])
def test_a_cache_and_media_may_count_the_same_tokens(media):
    assert Usage(input=10, cache_read=10, **media).cells == tuple((f"cache_read_{meter[6:]}", count) for meter, count in media.items())


def test_an_overlap_that_is_stated_as_zero_is_kept():
    usage = Usage(input=10, cache_read=4, input_audio=5, cache_read_audio=0)
    assert usage.as_dict()["cache_read_audio"] == 0
    assert usage == Usage(**usage.document()) != Usage(input=10, cache_read=4, input_audio=5)


def test_every_meter_is_an_argument_of_usage_and_has_a_label():
    assert tuple(Quantities.__annotations__) == METERS == tuple(field.name for field in fields(Usage))[: len(METERS)]
    assert all(meter.label and meter.unit and meter.units for meter in METER_TABLE.values())
    assert all(METERS.index(parent) < METERS.index(name) for name, meter in METER_TABLE.items() for parent in meter.parents)


def test_the_short_names_of_the_http_api_are_understood():
    assert Usage.of({"input_tokens": 1, "output_tokens": 2, "image_count": 3}) == Usage(input=1, output=2, image=3)


@pytest.mark.parametrize("quantities", [{"tokens": 1}, {"input": 1, "input_tokens": 1}, {"": 1}])
def test_unknown_and_doubled_meters_are_refused(quantities):
    with pytest.raises(Invalid):
        Usage.of(quantities)


@given(st.dictionaries(st.sampled_from(METERS) | st.text(), st.integers() | st.floats() | st.text() | st.none() | st.booleans()))
def test_whatever_comes_in_is_either_taken_whole_or_refused_as_invalid(quantities):
    try:
        usage = Usage.of(quantities)
    except Invalid:
        return
    assert {**usage.as_dict(), "second": 0} == {**{meter: quantity for meter, quantity in quantities.items() if quantity}, "second": 0}
