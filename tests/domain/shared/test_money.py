"""Tests of exact decimals: strict parsing, and output that parses back to an equal value."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.shared import money_text
from webapp.domain.shared.money import MAX_LENGTH, add_to, format_decimal, format_for_storage, is_finite_divisor, parse_amount, sort_sums

HOSTILE = [
    "1e1000000",
    "1E9",
    "-1",
    "+1",
    "NaN",
    "sNaN",
    "Infinity",
    "-0",
    "",
    " ",
    " 1",
    "1 ",
    "1\n",
    ".5",
    "1.",
    "1,5",
    "1_000",
    "0x1",
    "١",
    "１",
    "½",
    "9" * 10,
    "0." + "1" * 19,
    "9" * 10_000_000,
    "1.1.1",
    "1\x00",
    None,
    True,
    1,
    1.5,
    Decimal(1),
    b"1",
    [],
    {},
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda value: repr(value)[:14])
def test_t31_what_is_no_plain_decimal_is_refused_at_once(text):
    started = time.thread_time()
    assert parse_amount(text) is None
    assert time.thread_time() - started < 5


@given(st.text() | st.from_regex(r"[0-9.eE+\-_ ]{0,30}"))
def test_a_text_is_either_exactly_itself_or_refused(text):
    amount = parse_amount(text)
    if amount is not None:
        assert amount == Decimal(text)
        assert amount.is_finite()
        assert parse_amount(format_decimal(amount)) == amount


@given(st.decimals(0, 999_999_999, places=12))
def test_an_amount_reads_back_equal_and_has_one_spelling(amount):
    text = format_decimal(amount)
    assert Decimal(text) == amount
    assert format_decimal(Decimal(text)) == text == format_decimal(amount * 1)
    assert "E" not in text
    assert not ("." in text and text.endswith("0"))


@pytest.mark.parametrize(
    ("amount", "text"), [("0.150", "0.15"), ("0.000", "0"), ("12500000", "12500000"), ("1E+3", "1000"), ("1E-12", "0.000000000001")]
)
def test_amounts_are_written_plainly(amount, text):
    assert format_decimal(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("per", "finite"), [(1, True), (1000, True), (10**9, True), (2**29, True), (3, False), (12, False), (7 * 10**6, False)]
)
def test_only_divisors_that_keep_costs_exact_are_finite(per, finite):
    assert is_finite_divisor(per) is finite


TOO_LONG = ["1e-30000000", "1e30000000", "1E-80", "-1E-79", "1" * 81, "0." + "1" * 79, "NaN", "sNaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize("text", TOO_LONG, ids=[text[:12] for text in TOO_LONG])
def test_an_amount_that_does_not_fit_is_refused_before_it_is_written_out(text):
    began = time.monotonic()
    with pytest.raises(ValueError, match="80 characters"):
        format_for_storage(Decimal(text))
    assert time.monotonic() - began < 0.05


def test_the_longest_amount_fits_and_a_zero_is_short_whatever_its_exponent():
    longest = "9" * 22 + "." + "1" * 41
    assert (format_for_storage(Decimal(longest)), format_for_storage(Decimal("0E-30000000")), format_for_storage(Decimal("1E+3"))) == (
        longest,
        "0",
        "1000",
    )
    assert len(format_for_storage(Decimal("1" * MAX_LENGTH))) == MAX_LENGTH


def test_sums_are_by_currency_with_dollars_first_and_without_what_comes_to_nothing():
    sums: dict[str, Decimal] = {}
    for currency, amount in (("EUR", "1"), ("USD", "0.1"), ("CHF", "0"), ("USD", "0.2")):
        add_to(sums, currency, Decimal(amount))
    assert sort_sums(sums) == [("USD", Decimal("0.3")), ("EUR", Decimal(1))]
    assert (sort_sums({"EUR": Decimal(0)}), sort_sums({})) == ([("EUR", Decimal(0))], [])
    assert (money_text.format_amounts(sums), money_text.format_amounts({})) == (["$0.30", "€1"], ["$0"])
