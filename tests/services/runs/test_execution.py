"""Execution of runs: a key repeated by a provider is neither stored nor shown, and a cost is complete only if all counts are known."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from fake_provider import ASK, Upstream, completion, reply

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.incidents.incidents import Incident
from webapp.domain.incidents.model_selection import Choice
from webapp.domain.pricing.pricing import Price, Rate
from webapp.drivers.core.base import ChatReply, Endpoint
from webapp.security.urlguard import OutboundPolicy
from webapp.services.runs.execution import execute, redact_key, redact_reply
from webapp.services.runs.planning import RunPlan

KEY = "sk-CANARY-0123456789abcdef"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
RATES = tuple(Rate(meter, Decimal(amount), 1_000_000) for meter, amount in (("input", "1"), ("cache_read", "0.1"), ("output", "2")))
PRICED = ModelInfo("acme/m", "acme", "m", "M", "text", SINCE, prices=(Price("priced", SINCE, "USD", RATES),))
DEEPSEEK = {"prompt_tokens": 36_100, "completion_tokens": 1_200, "prompt_cache_hit_tokens": 21_600, "prompt_cache_miss_tokens": 14_500}


@pytest.fixture
def run():
    """Return a function that executes a run on a provider on loopback, which sends this response."""
    upstream = Upstream()

    def run_on(body):
        upstream.says(reply(200, body))
        endpoint = Endpoint("acme", "custom", upstream.base_url, KEY)
        plan = RunPlan(Incident("Disk full"), Choice("explicit choice", "custom", PRICED, explicit=True), endpoint, ASK, "database")
        return execute(plan, OutboundPolicy(frozenset({upstream.place})))

    yield run_on
    upstream.stop()


def test_a_key_in_the_answer_or_its_request_id_is_blacked_out():
    reply = redact_reply(ChatReply(f"Bearer {KEY} is fine", "stop", None, None, KEY, 200, 5, 1), KEY)
    assert KEY not in repr(reply)
    assert (reply.text, reply.request_id) == ("Bearer *** is fine", "***")


def test_the_request_id_of_a_failure_iscleared_as_well():
    assert redact_key(f"req-{KEY}", KEY) == "req-***"


def test_c11_a_run_bills_cache_hits_at_their_own_rate(run):
    cost = run(completion() | {"usage": DEEPSEEK}).cost
    assert (cost.total, cost.complete, cost.missing) == (Decimal("0.01906"), True, ())


@pytest.mark.parametrize(("finish", "status"), [("stop", "succeeded"), ("length", "failed")])
def test_a_count_that_no_meter_holds_makes_the_cost_of_a_run_incomplete(run, finish, status):
    outcome = run(completion(finish_reason=finish) | {"usage": DEEPSEEK | {"magic_tokens": 5}})
    assert (outcome.status, outcome.cost.total, outcome.cost.complete) == (status, Decimal("0.01906"), False)
    assert outcome.cost.missing == ("raw:magic_tokens",)


def test_the_service_tier_of_the_response_decides_the_price(run):
    cost = run(completion() | {"usage": DEEPSEEK, "service_tier": "default"}).cost
    assert (cost.service_tier, cost.complete) == ("standard", True)
    cost = run(completion() | {"usage": DEEPSEEK, "service_tier": "priority"}).cost
    assert (cost.service_tier, cost.complete, cost.missing) == ("priority", False, ("service_tier:priority",))


def test_a_condition_that_no_rate_can_have_makes_the_cost_incomplete(run):
    cost = run(completion() | {"usage": DEEPSEEK | {"speed": "fast"}}).cost
    assert (cost.complete, cost.missing) == (False, ("attribute:speed",))
    assert run(completion() | {"usage": DEEPSEEK | {"inference_geo": "global"}}).cost.complete
