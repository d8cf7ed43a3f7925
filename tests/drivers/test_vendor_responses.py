"""Responses as vendors really send them, through their SDKs: the raw JSON decides usage, text and errors."""

import gzip
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from fake_provider import ANSWER, ASK, KEY, completion, error, reply
from vendor_protocols import DIALECTS

from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.usage import Usage
from webapp.drivers import create_driver
from webapp.drivers.core.base import DriverError, Endpoint, UpstreamModel
from webapp.security.urlguard import OutboundPolicy

ZIPPED = {"Content-Encoding": "gzip"}
TEXTS = {name: dialect for name, dialect in DIALECTS.items() if name not in ("custom-template", "ollama")}


@pytest.fixture
def asked(upstream):
    """Return a function that makes the driver of a dialect for the provider on loopback, which gives these answers."""
    drivers = []

    def ask(name, *answers):
        dialect = DIALECTS[name]
        upstream.says(*answers)
        endpoint = Endpoint("acme", dialect.driver, f"http://{upstream.place}{dialect.prefix}", KEY, config=dialect.config, timeout_s=5.0)
        drivers.append(create_driver(endpoint, OutboundPolicy(frozenset({upstream.place}))))
        return drivers[-1]

    yield ask
    for driver in drivers:
        driver.close()


def with_usage(usage, **more):
    return completion() | {"usage": usage} | more


def test_c11_cache_hits_of_deepseek_are_billed_at_their_own_rate(asked):
    usage = {"prompt_tokens": 36_100, "completion_tokens": 1_200, "prompt_cache_hit_tokens": 21_600, "prompt_cache_miss_tokens": 14_500}
    answer = asked("custom", reply(200, with_usage(usage))).chat(ASK)
    rates = tuple(Rate(meter, Decimal(amount), 1_000_000) for meter, amount in (("input", "1"), ("cache_read", "0.1"), ("output", "2")))
    cost = cost_of(Price("priced", datetime(2026, 1, 1, tzinfo=UTC), "USD", rates), answer.usage, at=None)
    assert (cost.total, cost.complete, answer.missing) == (Decimal("0.01906"), True, ())


def test_c12_the_providers_own_cost_tier_and_model_are_in_the_reply(asked):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": "COST"}
    body = json.dumps(with_usage(usage, model="vendor/m-9", service_tier="default")).replace('"COST"', "0.00001234567890123456789")
    answer = asked("custom", reply(200, body.encode())).chat(ASK)
    assert answer.reported_cost == Decimal("0.00001234567890123456789")
    assert (answer.service_tier, answer.model_reported) == ("standard", "vendor/m-9")
    assert asked("custom", reply(200, completion())).chat(ASK).reported_cost is None


def test_the_model_that_responded_is_in_every_reply(asked):
    for name in DIALECTS:
        assert asked(name, reply(200, DIALECTS[name].complete())).chat(ASK).model_reported == "m-resolved"


def test_the_ticks_of_xai_are_an_exact_cost(asked):
    body = DIALECTS["grok"].complete()
    body["usage"]["cost_in_usd_ticks"] = 37_756_001
    assert asked("grok", reply(200, body)).chat(ASK).reported_cost == Decimal("0.0037756001")


def test_the_upstream_cost_of_an_own_key_is_part_of_the_reported_cost(asked):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}
    assert asked("custom", reply(200, with_usage(usage))).chat(ASK).reported_cost == Decimal("0.21")


CONTRADICTIONS = {
    "reasoning outside the completion": (
        {"completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 30}, "total_tokens": 140},
        Usage(input=100, output=40, reasoning=30),
        (),
    ),
    "cached tokens outside the prompt": (
        {"completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}, "total_tokens": 170},
        Usage(input=160, cache_read=60, output=10),
        (),
    ),
    "a total above the sum": ({"completion_tokens": 10, "total_tokens": 111}, Usage(input=100, output=10), ("raw:total_tokens",)),
    "more cached tokens than there are": (
        {"completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 600}},
        Usage(input=100, output=10),
        ("cache_read",),
    ),
    "hits and misses that do not add up": (
        {"completion_tokens": 10, "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 60},
        Usage(input=100, output=10),
        ("prompt_cache_miss_tokens",),
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
@pytest.mark.parametrize("name", ["openai", "custom", "mistral", "copilot"])
def test_contradictory_counts_are_resolved_or_named_and_never_dropped(asked, name, case):
    usage, expected, missing = CONTRADICTIONS[case]
    answer = asked(name, reply(200, with_usage({"prompt_tokens": 100} | usage))).chat(ASK)
    assert (answer.usage, answer.missing) == (expected, missing)


def test_several_requests_of_claude_are_counted(asked):
    usage = {"input_tokens": 5, "output_tokens": 2, "iterations": [{"input_tokens": 2, "output_tokens": 1}] * 2}
    answer = asked("claude", reply(200, DIALECTS["claude"].complete() | {"usage": usage})).chat(ASK)
    assert (answer.usage, answer.iterations, answer.missing) == (Usage(input=5, output=2), 2, ())


@pytest.mark.parametrize("name", ["claude", "gemini"])
def test_native_parts_are_joined_without_the_reasoning(asked, name):
    body = DIALECTS[name].complete()
    if name == "claude":
        body["content"] = [{"type": "thinking", "thinking": "hm"}, *({"type": "text", "text": part} for part in (ANSWER[:9], ANSWER[9:]))]
    else:
        body["candidates"][0]["content"]["parts"] = [{"text": "hm", "thought": True}, {"text": ANSWER[:9]}, {"text": ANSWER[9:]}]
    assert asked(name, reply(200, body)).chat(ASK).text == ANSWER


def test_claude_reports_searches_and_writes_that_last_an_hour(asked):
    usage = {
        "input_tokens": 5,
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_1h_input_tokens": 4, "ephemeral_5m_input_tokens": 5},
        "output_tokens": 2,
        "server_tool_use": {"web_search_requests": 3},
        "service_tier": "standard",
        "speed": "fast",
    }
    answer = asked("claude", reply(200, DIALECTS["claude"].complete() | {"usage": usage})).chat(ASK)
    assert answer.usage == Usage(input=14, cache_write=9, cache_write_1h=4, output=2, web_search=3)
    assert (answer.service_tier, answer.attributes) == ("standard", {"speed": "fast"})


def test_gemini_bills_tool_results_as_input(asked):
    usage = {"promptTokenCount": 100, "toolUsePromptTokenCount": 50, "candidatesTokenCount": 20, "thoughtsTokenCount": 15}
    usage["promptTokensDetails"] = [{"modality": "AUDIO", "tokenCount": 40}, {"modality": "TEXT", "tokenCount": 60}]
    answer = asked("gemini", reply(200, DIALECTS["gemini"].complete() | {"usageMetadata": usage})).chat(ASK)
    assert answer.usage == Usage(input=150, input_audio=40, output=35, reasoning=15)


def test_gemini_bills_cached_audio_and_video_once(asked):
    modalities = [("AUDIO", 321, 284), ("VIDEO", 2_893, 2_561), ("TEXT", 83, 73)]
    usage = {
        "promptTokenCount": 3_297,
        "cachedContentTokenCount": 2_918,
        "candidatesTokenCount": 55,
        "thoughtsTokenCount": 95,
        "promptTokensDetails": [{"modality": name, "tokenCount": count} for name, count, _ in modalities],
        "cacheTokensDetails": [{"modality": name, "tokenCount": cached} for name, _, cached in modalities],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 5}],
    }
    answer = asked("gemini", reply(200, DIALECTS["gemini"].complete() | {"usageMetadata": usage})).chat(ASK)
    cached = {"cache_read": 2_918, "cache_read_audio": 284, "cache_read_video": 2_561}
    media = {"input_audio": 321, "input_video": 2_893, "output_image": 5}
    assert answer.usage == Usage(input=3_297, output=150, reasoning=95, **cached, **media)


def test_cached_media_of_openai_and_executions_of_claude_reach_the_reply(asked):
    details = {"audio_tokens": 8, "cached_tokens": 5, "cached_tokens_details": {"audio_tokens": 4, "text_tokens": 1}}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": details}
    expected = Usage(input=10, cache_read=5, input_audio=8, cache_read_audio=4, output=2)
    assert asked("openai", reply(200, with_usage(usage))).chat(ASK).usage == expected
    usage = {"input_tokens": 5, "output_tokens": 2, "server_tool_use": {"code_execution_requests": 3, "web_search_requests": 1}}
    answer = asked("claude", reply(200, DIALECTS["claude"].complete() | {"usage": usage})).chat(ASK)
    assert (answer.usage, answer.missing) == (Usage(input=5, output=2, web_search=1, code_execution=3), ())


def test_a_count_that_has_no_meter_is_named_in_the_reply_and_in_the_error(asked):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "num_sources_used": 7}
    assert asked("grok", reply(200, with_usage(usage))).chat(ASK).missing == ("raw:num_sources_used",)
    with pytest.raises(DriverError) as caught:
        asked("grok", reply(200, with_usage(usage, choices=[]))).chat(ASK)
    assert (caught.value.usage, caught.value.missing) == (Usage(input=3, output=2), ("raw:num_sources_used",))


COUNTS = {
    "openai": "prompt_tokens",
    "mistral": "prompt_tokens",
    "claude": "input_tokens",
    "gemini": "promptTokenCount",
    "ollama": "prompt_eval_count",
}


@pytest.mark.parametrize("odd", ["lots", None, [], True, -1, 0.5])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_of_another_type_makes_usage_unknown_and_keeps_the_answer(asked, name, odd):
    body = DIALECTS[name].complete()
    holder = body if name == "ollama" else body["usageMetadata" if name == "gemini" else "usage"]
    holder[COUNTS[name]] = odd
    answer = asked(name, reply(200, body)).chat(ASK)
    assert (answer.text, answer.usage) == (ANSWER, None)


@pytest.mark.parametrize("name", ["openai", "mistral", "claude", "gemini", "grok"])
def test_an_answer_without_usage_is_an_answer(asked, name):
    body = {field: value for field, value in DIALECTS[name].complete().items() if field not in ("usage", "usageMetadata")}
    answer = asked(name, reply(200, body)).chat(ASK)
    assert (answer.text, answer.usage) == (ANSWER, None)


@pytest.mark.parametrize("name", ["openai", "custom", "mistral", "grok", "copilot"])
def test_content_in_parts_is_joined_without_the_reasoning(asked, name):
    parts = [
        {"type": "thinking", "text": "hm", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": ANSWER[:9]},
        {"type": "text", "text": ANSWER[9:]},
    ]
    assert asked(name, reply(200, completion(parts))).chat(ASK).text == ANSWER


@pytest.mark.parametrize("name", DIALECTS)
def test_a_compressed_body_is_read_although_none_was_requested(asked, name, upstream):
    body = gzip.compress(json.dumps(DIALECTS[name].complete()).encode())
    answer = asked(name, reply(200, body, headers=ZIPPED)).chat(ASK)
    assert (answer.text, answer.usage) == (ANSWER, DIALECTS[name].usage)
    assert upstream.requests[0][2]["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", ["openai", "ollama", "gemini"])
def test_a_compressed_bomb_and_a_damaged_body_are_refused(asked, name):
    whole = gzip.compress(json.dumps(DIALECTS[name].complete()).encode())
    for body, headers, kind in (
        (gzip.compress(b" " * 50_000_000), ZIPPED, "response_too_large"),
        (whole[:-9], ZIPPED, "invalid_response"),
        (b"no gzip", ZIPPED, "invalid_response"),
        (whole, {"Content-Encoding": "br"}, "invalid_response"),
    ):
        with pytest.raises(DriverError) as caught:
            asked(name, reply(200, body, headers=headers)).chat(ASK)
        assert caught.value.kind == kind


def test_a_compressed_error_is_read_too(asked):
    body = gzip.compress(json.dumps({"error": {"message": "insufficient_quota", "code": "insufficient_quota"}}).encode())
    with pytest.raises(DriverError) as caught:
        asked("openai", reply(429, body, headers=ZIPPED)).chat(ASK)
    assert caught.value.kind == "billing"


@pytest.mark.parametrize("name", DIALECTS)
def test_an_error_with_the_status_of_success_is_quoted_without_the_key(asked, name, upstream):
    for body in ({"error": {"message": f"overloaded {KEY}", "code": 503}}, {"error": f"overloaded {KEY}", "choices": []}):
        upstream.requests.clear()
        with pytest.raises(DriverError) as caught:
            asked(name, reply(200, body)).chat(ASK)
        assert (caught.value.kind, "overloaded" in caught.value.detail, len(upstream.requests)) == ("invalid_response", True, 1)
        assert KEY not in caught.value.detail


def test_a_key_in_the_name_of_a_field_is_not_repeated(asked):
    secret = KEY.removeprefix("sk-CANARY-")
    endpoint = Endpoint("acme", "custom", "", secret)
    driver = asked("custom", reply(200, with_usage({"prompt_tokens": 1, "completion_tokens": 1, f"{secret}_tokens": 5})))
    with_secret = create_driver(
        replace(endpoint, base_url=driver.endpoint.base_url), OutboundPolicy(frozenset({driver.endpoint.base_url.split("/")[2]}))
    )
    assert secret not in str(with_secret.chat(ASK))


BARE = [{"id": "m-1"}, {"id": "m-2", "limits": None}, {"id": 5}, "text"]


@pytest.mark.parametrize("name", ["openai", "custom", "grok", "copilot", "mistral", "claude"])
@pytest.mark.parametrize("listed", [BARE, {"data": BARE}, {"models": BARE}, {"models": [], "data": BARE}], ids=str)
def test_a_list_of_models_is_read_bare_or_in_an_object(asked, name, listed):
    models = asked(name, reply(200, listed)).list_models()
    assert [model.model_id for model in models] == ["m-1", "m-2"]


@pytest.mark.parametrize("name", ["openai", "copilot", "mistral", "claude", "ollama"])
def test_a_list_of_something_else_cannot_be_read(asked, name):
    for body in ([1, 2], {"data": None}, {"data": [{"name": "x"}]}, "text", {}):
        with pytest.raises(DriverError) as caught:
            asked(name, reply(200, body)).list_models()
        assert caught.value.kind == "invalid_response"


def test_a_status_of_failure_still_decides_before_its_body(asked):
    with pytest.raises(DriverError) as caught:
        asked("mistral", error(401)).chat(ASK)
    assert (caught.value.kind, caught.value.usage, caught.value.missing) == ("auth", None, ())


def test_bodies_of_parallel_calls_are_not_mixed_up(asked):
    driver = asked("mistral", *(reply(200, with_usage({"prompt_tokens": n, "completion_tokens": n}, model=f"m-{n}")) for n in range(16)))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(driver.chat(ASK))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    assert all(answer.model_reported == f"m-{answer.usage.input}" for answer in answers)


def test_the_models_of_gemini_are_read_from_the_json_of_every_page(asked, upstream):
    first = [{"name": "models/m-1", "displayName": 5, "inputTokenLimit": "many", "thinking": {"levels": [1]}}, {"name": None}, "text"]
    second = [{"name": "models/m-2", "displayName": "M-2", "inputTokenLimit": 1000, "supportedGenerationMethods": "chat"}]
    driver = asked("gemini", reply(200, {"models": first, "nextPageToken": "p-2", "cost": {}}), reply(200, {"models": second}))
    assert driver.list_models() == (UpstreamModel("m-1"), UpstreamModel("m-2", "M-2", 1000))
    assert "pageToken=p-2" in upstream.requests[1][1]


@pytest.mark.parametrize(("body", "readable"), [({}, True), ({"models": []}, True), ({"models": "none"}, False), ({"items": []}, False)])
def test_a_list_of_gemini_without_models_is_empty_and_another_one_cannot_be_read(asked, body, readable):
    driver = asked("gemini", reply(200, body))
    if readable:
        assert driver.list_models() == ()
        return
    with pytest.raises(DriverError) as caught:
        driver.list_models()
    assert caught.value.kind == "invalid_response"
