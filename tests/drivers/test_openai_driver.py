"""The real SDK against a provider on loopback: its requests, and its results for valid responses."""

from dataclasses import replace

import pytest
from fake_provider import ASK, KEY, MODELS, completion, error, reply

from webapp.domain.incidents.answer_schema import RESPONSE_SCHEMA, SCHEMA_NAME, parse_recommendations
from webapp.domain.pricing.usage import Usage
from webapp.domain.usage.formats import convert_usage
from webapp.drivers.core.base import DriverError


def test_a_question_is_answered_with_usage_and_ids(driver):
    answer = driver.chat(ASK)
    assert answer.usage == Usage(input=100, cache_read=60, cache_write=10, output=40, reasoning=15)
    assert (answer.finish, answer.model_reported, answer.request_id, answer.http_status, answer.attempts) == (
        "stop",
        "m-resolved",
        "req-7",
        200,
        1,
    )
    assert parse_recommendations(answer.text)[0].title == "T 漢字 🚒"
    assert 0 <= answer.latency_ms < 5_000


def test_what_is_asked_is_openais_protocol(driver, upstream):
    driver.chat(replace(ASK, json_schema=RESPONSE_SCHEMA, schema_name=SCHEMA_NAME, max_output_tokens=77))
    method, path, headers, body = upstream.requests[0]
    assert (method, path, headers["authorization"]) == ("POST", "/v1/chat/completions", f"Bearer {KEY}")
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is wrong?"}]
    assert body["max_completion_tokens"] == 77
    assert body["response_format"]["json_schema"] == {"name": SCHEMA_NAME, "schema": RESPONSE_SCHEMA, "strict": True}
    assert not {"temperature", "max_tokens", "stream", "store"} & set(body)


def test_temperature_and_the_name_of_the_limit_are_sent_as_told(driver, upstream):
    driver.chat(replace(ASK, temperature=0.3, token_parameter="max_tokens"))
    body = upstream.requests[0][3]
    assert (body["temperature"], body["max_tokens"]) == (0.3, 2_000)
    assert "max_completion_tokens" not in body


def test_a_parameter_of_another_name_is_refused_before_anything_is_sent(driver, upstream):
    with pytest.raises(DriverError) as caught:
        driver.chat(replace(ASK, token_parameter="stream"))
    assert (caught.value.kind, upstream.accepted) == ("config", 0)


def test_only_our_headers_leave_however_polluted_the_environment_is(monkeypatch, upstream, make_driver):
    pollution = {
        "OPENAI_ORG_ID": "org-x",
        "OPENAI_PROJECT_ID": "proj-x",
        "OPENAI_API_KEY": "sk-environment",
        "OPENAI_ADMIN_KEY": "sk-admin-x",
        "OPENAI_CUSTOM_HEADERS": "X-Injected: 1",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
    }
    for name, value in pollution.items():
        monkeypatch.setenv(name, value)
    make_driver(upstream.base_url).chat(ASK)
    headers = upstream.requests[0][2]
    assert set(headers) == {
        "host",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "connection",
        "user-agent",
        "authorization",
    }
    assert (headers["authorization"], headers["accept-encoding"], headers["user-agent"]) == (f"Bearer {KEY}", "identity", "Modeldesk")


def test_a_cookie_is_never_sent_back(driver, upstream):
    upstream.says(reply(headers={"Set-Cookie": "sid=TENANT-A; Path=/"}))
    driver.chat(ASK)
    driver.chat(ASK)
    assert "cookie" not in upstream.requests[1][2]


def test_models_are_listed(driver, upstream):
    upstream.says(reply(200, MODELS))
    assert [model.model_id for model in driver.list_models()] == ["m-1", "m-2"]
    assert upstream.requests[0][:2] == ("GET", "/v1/models")


def test_a_check_says_that_it_works_or_why_not(driver, upstream):
    upstream.says(reply(200, MODELS), error(401))
    good, bad = driver.check(), driver.check()
    assert (good.ok, good.models, good.kind) == (True, 2, None)
    assert (bad.ok, bad.kind, bad.request_id) == (False, "auth", "req-7")
    assert "key" in bad.detail


@pytest.mark.parametrize("listed", [{"data": None}, {"data": "x"}, [1], "text"])
def test_a_list_of_another_shape_cannot_be_read(driver, upstream, listed):
    upstream.says(reply(200, listed))
    with pytest.raises(DriverError) as caught:
        driver.list_models()
    assert caught.value.kind == "invalid_response"


def test_an_answer_without_usage_has_unknown_usage(driver, upstream):
    upstream.says(reply(200, completion() | {"usage": None}))
    assert driver.chat(ASK).usage is None


LOTS = {"prompt_tokens": "lots", "completion_tokens": 4}
UNTOLD = [None, [], {}, LOTS, {"prompt_tokens": 5}, {"prompt_tokens": -1, "completion_tokens": 1}]


@pytest.mark.parametrize("usage", UNTOLD)
def test_usage_that_is_not_told_is_unknown_and_not_zero(usage):
    assert convert_usage("openai.chat", usage).usage is None


def test_parts_that_contradict_their_total_are_not_believed():
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 60}}
    assert convert_usage("openai.chat", usage).usage == Usage(input=10, output=4)


def test_the_key_shows_in_no_repr(driver, make_driver):
    assert KEY not in repr(driver) + repr(driver._runner) + repr(vars(driver)) + repr(driver._sdk.api_key)


@pytest.mark.parametrize("key", ["", "sk-with space", "sk-with\nnewline", "sk-ž"])
def test_a_key_that_cannot_be_sent_is_refused_at_once(make_driver, upstream, key):
    with pytest.raises(DriverError) as caught:
        make_driver(upstream.base_url, key=key)
    assert caught.value.kind == "config"
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("base_url", [None, "", "https://user:pw@api.openai.com/v1", "http://api.openai.com/v1", "file:///etc/passwd"])
def test_a_driver_is_not_made_for_an_address_that_may_not_be_reached(make_driver, base_url):
    with pytest.raises(DriverError) as caught:
        make_driver(base_url or "", allow=())
    assert caught.value.kind == "config"
