"""Tests of usage: whole numbers, parts within their wholes, and errors that name the meter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.pricing.usage import MAX_QUANTITY, METERS, Usage
from webapp.domain.shared.errors import Invalid


@pytest.mark.parametrize(
    "quantity", [True, 1.0, "1", -1, MAX_QUANTITY + 1, None, float("nan"), [1], 10**4000], ids=lambda value: repr(value)[:12]
)
@pytest.mark.parametrize("meter", METERS)
def test_t31_a_quantity_is_refused_by_name(meter, quantity):
    with pytest.raises(Invalid) as refused:
        Usage(**{meter: quantity})
    assert [error.field for error in refused.value.errors] == [f"usage.{meter}"]


def test_every_wrong_quantity_is_named_at_once():
    with pytest.raises(Invalid) as refused:
        Usage(input=-1, output="2", image=1)
    assert [error.field for error in refused.value.errors] == ["usage.input", "usage.output"]


@pytest.mark.parametrize("meter", METERS)
def test_the_largest_quantity_is_taken(meter):
    wholes = {"input": MAX_QUANTITY, "cache_write": MAX_QUANTITY if meter == "cache_write_1h" else 0, "output": MAX_QUANTITY}
    assert getattr(Usage(**wholes | {meter: MAX_QUANTITY}), meter) == MAX_QUANTITY


@pytest.mark.parametrize(
    ("quantities", "field"),
    [
        ({"input": 9, "cache_read": 10}, "usage.input"),
        ({"input": 9, "cache_read": 5, "cache_write": 5}, "usage.input"),
        ({"input": 9, "input_audio": 5, "input_image": 5}, "usage.input"),
        ({"input": 9, "cache_write": 1, "cache_write_1h": 2}, "usage.cache_write"),
        ({"output": 9, "reasoning": 10}, "usage.output"),
        ({"output": 9, "reasoning": 5, "output_audio": 5}, "usage.output"),
    ],
)
def test_parts_larger_than_their_whole_are_refused_by_the_name_of_the_whole(quantities, field):
    with pytest.raises(Invalid) as refused:
        Usage(**quantities)
    assert [error.field for error in refused.value.errors] == [field]


def test_parts_may_fill_their_whole():
    assert Usage(input=10, cache_read=4, cache_write=6, cache_write_1h=6).parts() == [("cache_read", 4), ("cache_write_1h", 6)]


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
    assert usage.as_dict() == {meter: quantity for meter, quantity in quantities.items() if quantity}
