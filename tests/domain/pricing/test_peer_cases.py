"""Cases from peers' test suites and real responses (design: pricing.md, "Peer cases that stay different")."""

from datetime import datetime
from decimal import Decimal

import pytest
from factories import a_price
from peer_cases import CASES, DIFFERENT_ON_PURPOSE, quote_of

from webapp.domain.catalog.rate_schemas import validate_rates
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Invalid


def cost_of_case(case):
    quote = quote_of(case)
    price = a_price(*validate_rates(quote["price"]["rates"], "rates"), media_at_text_rate=quote["price"]["media_at_text_rate"])
    at = datetime.fromisoformat(quote["at"]) if quote["at"] else None
    usage = Usage.of(quote["usage"])
    return cost_of(price, usage, at=at, service_tier=quote["service_tier"], attributes=quote["attributes"])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_cost_of_a_peer_is_met_exactly_or_differs_on_purpose(case):
    try:
        cost = cost_of_case(case)
    except Invalid:
        assert case["id"] in DIFFERENT_ON_PURPOSE
        return
    if case["id"] in DIFFERENT_ON_PURPOSE:
        assert cost.total != Decimal(case["expected"])
    else:
        assert (cost.total, cost.complete) == (Decimal(case["expected"]), True)


def test_every_exception_is_a_case():
    assert len(CASES) == 72
    assert {case["id"] for case in CASES} >= DIFFERENT_ON_PURPOSE.keys()
