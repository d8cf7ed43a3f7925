"""Benchmarks of costs: exact and itemized, compared with a minimal function and with two libraries."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import genai_prices

from bench.harness import Pace, Row, at_most, local, medians, skipped, times_faster, within
from bench.litellm_process import LiteLLM
from bench.world import REF, Desk, registry_of
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.money import EXACT

MOST = 10**12
ITEMS = 1_000
# Four meters with rates for gpt-4o. genai-prices uses the same names with the suffixes `_tokens` and `_searches`.
METERS = {"input": 12_000, "cache_read": 8_000, "output": 900, "web_search": 2}


class Tariff(NamedTuple):
    """A model's rates for `limit`: integers of 10^-8 per unit, below and above a threshold of input."""

    expires: float
    threshold: int
    below: tuple[int, int, int, int]
    above: tuple[int, int, int, int]


RATES = (250, 125, 1_000, 1_000_000)
TARIFFS = {REF: Tariff(time.time() + 86_400, 10**9, RATES, RATES)}


def limit(ref: str, *, input: int, cache_read: int, output: int, web_search: int) -> Decimal:
    """Return a cost with the minimum of work: lookup, expiry, validation, tier and four multiply-adds. No lines, aliases or dates."""
    tariff = TARIFFS[ref]
    if time.time() >= tariff.expires:
        raise LookupError(ref)
    for quantity in (input, cache_read, output, web_search):
        if type(quantity) is not int or not 0 <= quantity <= MOST:
            raise ValueError(quantity)
    if cache_read > input:
        raise ValueError(cache_read)
    fresh, cached, generated, searched = tariff.above if input > tariff.threshold else tariff.below
    total = (input - cache_read) * fresh + cache_read * cached + output * generated + web_search * searched
    return EXACT.scaleb(Decimal(total), -8)


def rows(pace: Pace, litellm: LiteLLM | None) -> Iterator[Row]:
    registry = registry_of(3_000)
    ready = Usage(**METERS)
    peer_usage = genai_prices.Usage(input_tokens=12_000, cache_read_tokens=8_000, output_tokens=900, web_searches=2)
    assert registry.calculate_cost(REF, usage=ready).total == limit(REF, **METERS)
    assert (
        registry.calculate_cost(REF, usage=ready).total == genai_prices.calc_price(peer_usage, "gpt-4o", provider_id="openai").total_price
    )
    subjects = {
        "limit": local(lambda: limit(REF, input=12_000, cache_read=8_000, output=900, web_search=2)),
        "ready": local(lambda: registry.calculate_cost(REF, usage=ready)),
        "whole": local(lambda: registry.calculate_cost(REF, usage=Usage(input=12_000, cache_read=8_000, output=900, web_search=2))),
        "genai": local(
            lambda: genai_prices.calc_price(
                genai_prices.Usage(input_tokens=12_000, cache_read_tokens=8_000, output_tokens=900, web_searches=2),
                "gpt-4o",
                provider_id="openai",
            )
        ),
    }
    if litellm:
        subjects["litellm"] = litellm.subject("cost_per_token")
    seconds = medians(subjects, pace)
    yield at_most("calculate_cost, 4 meters, itemised, exact", seconds["ready"], seconds["limit"], 4.5, named="the limit")
    yield at_most("the same and making its Usage", seconds["whole"], seconds["limit"], 4.5, named="the limit")
    yield times_faster("the same and genai-prices", seconds["whole"], seconds["genai"], 30, named="calc_price")
    if litellm:
        yield times_faster("the same and LiteLLM", seconds["whole"], seconds["litellm"], 30, named="cost_per_token")
    else:
        yield skipped("the same and LiteLLM", "litellm not installed", ">= 30x faster")


def batch_row(pace: Pace, instance: Desk) -> Row:
    """Measure the API's view in process, from the bytes of the request to the bytes of the response."""
    client = instance.app.test_client()
    items = [{"model": REF, "usage": METERS | {"input": 12_000 + number}} for number in range(ITEMS)]
    body = json.dumps({"items": items}).encode()
    headers = {"Authorization": f"Bearer {instance.token}"}

    def ask() -> None:
        response = client.post("/api/v1/cost/batch", data=body, content_type="application/json", headers=headers)
        assert response.status_code == 200, response.get_data(as_text=True)[:500]
        assert response.get_data()

    seconds = medians({"batch": local(ask)}, pace)["batch"]
    row = within(f"POST /api/v1/cost/batch, {ITEMS:,} items of 4 meters", seconds / ITEMS, 1 / 80_000)
    return Row(row.what, f"{ITEMS / seconds:,.0f}/s", "", row.ratio, ">= 80,000/s", row.met)
