"""Tests of every cost on which two public calculators agree exactly (tests/data/README.md)."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from factories import a_price

from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.pricing import Price, price_at, timeline
from webapp.domain.pricing.serializers import rate_from
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.timestamps import EPOCH

DATA = Path(__file__).parents[2] / "data"


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


COSTS, HISTORIES = cases("cost-cases.jsonl"), cases("price-history-cases.jsonl")


def price_of(document: dict) -> Price:
    start = document.get("effective_from")
    rates = [rate_from(rate) for rate in document["rates"]]
    return a_price(
        *rates, effective_from=datetime.fromisoformat(start) if start else EPOCH, id=None, media_at_text_rate=document["media_at_text_rate"]
    )


def test_all_cases_are_here():
    assert (len(COSTS), len(HISTORIES)) == (1114, 44)


@pytest.mark.parametrize("model", sorted({case["model"] for case in COSTS}))
def test_the_agreed_costs_are_met_exactly_for(model):
    for case in (case for case in COSTS if case["model"] == model):
        price = price_of(case["price"])
        cost = cost_of(price, Usage.of(case["usage"]), at=datetime.now(UTC), service_tier=case["service_tier"])
        assert (cost.total, cost.complete) == (Decimal(case["expected"]), True), case["id"]


@pytest.mark.parametrize("case", HISTORIES, ids=[case["id"] for case in HISTORIES])
def test_the_agreed_dated_costs_are_met_exactly_for(case):
    history = timeline(price_of(price) for price in case["prices"])
    at = datetime.fromisoformat(case["at"])
    cost = cost_of(price_at(history, at), Usage.of(case["usage"]), at=at, service_tier=case.get("service_tier", "standard"))
    assert cost.total == Decimal(case["expected"])
