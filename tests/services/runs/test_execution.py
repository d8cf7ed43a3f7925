"""Execution of runs: a key repeated by a provider is neither stored nor shown, and a cost is complete only if all counts are known."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from fake_provider import ASK, Upstream, completion, drip_body, error, hang_up, reply

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.resolution import index_names
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
FREE = replace(PRICED, prices=(Price("free", SINCE, "USD", ()),))
CLOSED = "127.0.0.1:9"
DEEPSEEK = {"prompt_tokens": 36_100, "completion_tokens": 1_200, "prompt_cache_hit_tokens": 21_600, "prompt_cache_miss_tokens": 14_500}


@pytest.fixture
def run():
    """Return a function that executes a run on a provider on loopback, which sends this response."""
    upstream = Upstream()

    def run_on(*answers, model=PRICED, base_url=upstream.base_url, key=KEY, request=ASK, names=None):
        upstream.requests.clear()
        upstream.says(*(reply(200, answer) if isinstance(answer, dict | bytes) else answer for answer in answers))
        endpoint = Endpoint("acme", "custom", base_url, key)
        plan = RunPlan(
            Incident("Disk full"), Choice("explicit choice", "custom", model, explicit=True), endpoint, request, "database", names=names
        )
        return execute(plan, OutboundPolicy(frozenset({upstream.place, CLOSED})))

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


def test_an_attribute_of_the_response_selects_the_rates_that_depend_on_it(run):
    fast = tuple(rate._replace(amount=6 * rate.amount, when=(("speed", "fast"),)) for rate in RATES)
    model = replace(PRICED, prices=(Price("priced", SINCE, "USD", RATES + fast),))
    cost = run(completion() | {"usage": DEEPSEEK | {"speed": "fast"}}, model=model).cost
    assert (cost.total, cost.complete, cost.attributes) == (6 * Decimal("0.01906"), True, {"speed": "fast"})
    assert run(completion() | {"usage": DEEPSEEK}, model=model).cost.total == Decimal("0.01906")


def test_an_attribute_that_no_rate_depends_on_makes_the_cost_incomplete(run):
    cost = run(completion() | {"usage": DEEPSEEK | {"speed": "fast"}}).cost
    assert (cost.complete, cost.missing) == (False, ("attribute:speed",))
    assert run(completion() | {"usage": DEEPSEEK | {"inference_geo": "global"}}).cost.complete


WITHOUT_USAGE = {name: value for name, value in completion().items() if name != "usage"}
UNUSABLE = {
    "no usage in the response": WITHOUT_USAGE,
    "an error after sending": error(402),
    "a failing server": error(500),
    "a lost connection": hang_up,
    "text that is not JSON": b"<html>",
    "an error with the status of success": {"error": {"message": "overloaded"}},
    "a count that is none": completion() | {"usage": {"prompt_tokens": "many", "completion_tokens": 2}},
    "a timeout": drip_body,
}


@pytest.mark.parametrize("response", UNUSABLE)
def test_a_call_that_was_sent_and_says_nothing_of_its_usage_has_an_unknown_cost(run, response):
    outcome = run(UNUSABLE[response], request=replace(ASK, deadline_s=1.0))
    assert (outcome.sent, outcome.usage, outcome.cost) == (True, None, None)


@pytest.mark.parametrize(
    "unsent", [{"base_url": f"http://{CLOSED}/v1"}, {"base_url": "http://192.0.2.1/v1"}, {"key": "two words"}], ids=str
)
def test_a_call_that_never_left_has_no_cost(run, unsent):
    outcome = run(completion(), **unsent)
    assert (outcome.status, outcome.sent, outcome.cost) == ("failed", False, None)


def test_an_unusable_response_that_reports_its_usage_has_a_known_cost(run):
    outcome = run(completion("no JSON") | {"usage": DEEPSEEK})
    assert (outcome.status, outcome.sent, outcome.cost.total, outcome.cost.complete) == ("failed", True, Decimal("0.01906"), True)


def test_a_free_model_costs_nothing_whatever_it_used(run):
    outcome = run(WITHOUT_USAGE, model=FREE)
    assert (outcome.usage, outcome.cost.total, outcome.cost.complete) == (None, 0, True)
    assert run(error(402), model=FREE).cost.total == 0


@pytest.mark.parametrize("first", [error(500), hang_up, error(429, headers={"Retry-After": "0"})])
def test_an_earlier_attempt_that_was_sent_makes_the_cost_a_least_amount(run, first):
    outcome = run(first, completion() | {"usage": DEEPSEEK})
    assert (outcome.attempts, outcome.cost.total, outcome.cost.complete) == (2, Decimal("0.01906"), False)
    assert outcome.cost.missing == ("failed_attempt",)


def test_a_single_attempt_is_complete(run):
    assert run(completion() | {"usage": DEEPSEEK}).cost.missing == ()


def test_the_model_that_responded_and_the_providers_own_cost_are_kept_also_for_a_failure(run):
    body = completion("no JSON") | {"usage": DEEPSEEK | {"cost": 0.0199}, "model": "served-2026"}
    for outcome in (run(body), run(body | {"choices": []})):
        assert (outcome.status, outcome.served_model, outcome.reported_cost) == ("failed", "served-2026", Decimal("0.0199"))
    outcome = run(completion() | {"model": f"m-{KEY}\n"})
    assert (outcome.served_model, outcome.reported_cost) == (None, None)
    assert run(completion() | {"model": f"m-{KEY}"}).served_model == "m-***"


def test_the_model_that_responded_decides_the_price_if_the_provider_has_it(run):
    dated = replace(PRICED, ref="acme/m-2026", model_id="m-2026", prices=(Price("priced", SINCE, "USD", (Rate("input", Decimal(7), 1),)),))
    other = replace(dated, ref="other/m-2026", provider="other", aliases=("acme/m-2026",))
    usage = completion() | {"usage": {"prompt_tokens": 3, "completion_tokens": 0}, "model": "m-2026"}
    assert run(usage, names=index_names((PRICED, dated))).cost.total == 21
    for names in (index_names((PRICED,)), index_names((PRICED, other)), None):
        assert run(usage, names=names).cost.total == Decimal("0.000003")


def test_the_tier_of_a_response_from_several_requests_is_unknown(run):
    tiered = replace(PRICED, prices=(Price("priced", SINCE, "USD", (*RATES, Rate("input", Decimal(9), 1_000_000, above=50_000))),))
    usage = completion() | {"usage": DEEPSEEK | {"iterations": [{}, {}]}}
    assert run(usage, model=tiered).cost.missing == ("context_tier",)
    assert run(usage).cost.missing == ()


def test_a_condition_that_a_rate_has_decides_the_price(run):
    fast = Rate("input", Decimal(7), 1, when=(("speed", "fast"),))
    model = replace(PRICED, prices=(Price("priced", SINCE, "USD", (*RATES, fast)),))
    usage = {"prompt_tokens": 3, "completion_tokens": 0}
    cost = run(completion() | {"usage": usage | {"speed": "fast"}}, model=model).cost
    assert (cost.total, cost.complete, cost.attributes) == (21, True, {"speed": "fast"})
    assert run(completion() | {"usage": usage}, model=model).cost.total == Decimal("0.000003")
