"""Sums of costs: an unknown cost is counted as a call, and is never zero."""

from decimal import Decimal

import pytest

from webapp.domain.pricing.spend import (
    KNOWN,
    NO_COST,
    NOT_SENT,
    PARTIAL,
    UNKNOWN,
    UNKNOWN_COST,
    CallCost,
    describe_unknown,
    format_spend,
    known_amount,
    total_spend,
)

D = Decimal
DIME = CallCost(D("0.1"), "USD", complete=True)
PART = CallCost(D("0.1"), "USD", complete=False)
NOTHING_PRICED = CallCost(D(0), "USD", complete=False)
FREE = CallCost(D(0), "USD", complete=True)
EURO = CallCost(D(1), "EUR", complete=True)


@pytest.mark.parametrize(
    ("call", "state", "amount"),
    [
        (DIME, KNOWN, D("0.1")),
        (PART, PARTIAL, D("0.1")),
        (NOTHING_PRICED, UNKNOWN, None),
        (UNKNOWN_COST, UNKNOWN, None),
        (FREE, KNOWN, D(0)),
        (NOT_SENT, NO_COST, None),
        (CallCost(D("0.1"), "USD", complete=True, sent=False), NO_COST, None),
    ],
)
def test_a_call_that_was_sent_has_a_cost_that_is_known_partly_known_or_unknown(call, state, amount):
    assert (call.state, call.amount) == (state, amount)


@pytest.mark.parametrize(
    ("calls", "text", "note"),
    [
        ([], "$0", None),
        ([NOT_SENT], "$0", None),
        ([FREE], "$0", None),
        ([DIME, DIME], "$0.20", None),
        ([DIME, EURO], "$0.10 and €1", None),
        ([UNKNOWN_COST] * 6, "unknown (6 calls)", "6 calls with unknown cost"),
        ([NOT_SENT, UNKNOWN_COST], "unknown (1 call)", "1 call with unknown cost"),
        ([NOTHING_PRICED, FREE], "unknown (1 call)", "1 call with unknown cost"),
        ([DIME, UNKNOWN_COST, UNKNOWN_COST], "at least $0.10", "2 calls with unknown cost"),
        ([DIME, EURO, UNKNOWN_COST], "at least $0.10 and €1", "1 call with unknown cost"),
        ([PART], "at least $0.10", "1 call with partly unknown cost"),
        ([PART, UNKNOWN_COST], "at least $0.10", "1 call with unknown cost, 1 call with partly unknown cost"),
    ],
)
def test_a_sum_says_what_is_unknown_and_is_never_a_bare_zero(calls, text, note):
    spend = total_spend(calls)
    assert (format_spend(spend), describe_unknown(spend), spend.complete) == (text, note, note is None)


def test_a_currency_without_a_known_amount_is_unknown_next_to_another_one():
    assert format_spend(total_spend([EURO, UNKNOWN_COST]), {"USD": D(0)}) == "unknown (1 call)"


@pytest.mark.parametrize(
    ("total", "complete", "amount"), [(None, False, None), (D(0), False, None), (D(0), True, D(0)), (D(1), False, D(1))]
)
def test_a_zero_from_which_a_rate_is_missing_is_unknown(total, complete, amount):
    assert known_amount(total, complete=complete) == amount
