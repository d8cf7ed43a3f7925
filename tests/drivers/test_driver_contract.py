"""One contract for every driver: the vendor's own SDK against a server with the vendor's protocol, in success and in every failure."""

import gzip
import json
import threading
import time
import traceback
from dataclasses import replace

import pytest
from fake_provider import ANSWER, ASK, KEY, Upstream, after, drip, drip_body, endless, hang_up, reply
from vendor_protocols import DIALECTS, Dialect

from webapp.domain.incidents.answer_schema import RESPONSE_SCHEMA, SCHEMA_NAME, parse_recommendations
from webapp.drivers import create_driver
from webapp.drivers.core.base import ERROR_MESSAGES, DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy

HASTY = replace(ASK, deadline_s=0.6)


@pytest.fixture(params=DIALECTS, ids=DIALECTS.keys())
def dialect(request) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture
def asked(dialect, upstream):
    """Return the driver of this dialect for the provider on loopback."""
    driver = driver_of(dialect, upstream)
    yield driver
    driver.close()


def driver_of(dialect: Dialect, upstream: Upstream, **more):
    address = f"http://{upstream.place}{dialect.prefix}"
    endpoint = Endpoint("acme", dialect.driver, address, more.pop("key", KEY), config=dialect.config, timeout_s=5.0)
    return create_driver(endpoint, OutboundPolicy(frozenset({upstream.place}), **more))


def failure(driver, upstream, *answers, request=ASK) -> DriverError:
    upstream.says(*answers)
    with pytest.raises(DriverError) as caught:
        driver.chat(request)
    return caught.value


def in_dialect(dialect: Dialect, status: int, message="it failed", **headers):
    return reply(status, dialect.error(message), headers=headers)


def test_a_question_is_asked_in_the_vendors_protocol_and_its_answer_read_by_our_meters(dialect, asked, upstream):
    upstream.says(reply(200, dialect.complete()))
    answer = asked.chat(replace(ASK, json_schema=RESPONSE_SCHEMA, schema_name=SCHEMA_NAME, max_output_tokens=77, context_window=4096))
    assert (answer.text, answer.usage, answer.model_reported, answer.request_id) == (ANSWER, dialect.usage, "m-resolved", "req-7")
    assert (answer.finish, answer.http_status, answer.attempts) == (dialect.finishes["whole"], 200, 1)
    assert parse_recommendations(answer.text)[0].title == "T 漢字 🚒"
    method, path, headers, body = upstream.requests[0]
    assert (method, path.partition("?")[0], headers[dialect.key_header[0]]) == ("POST", dialect.chat_path, dialect.key_header[1])
    assert (dialect.system(body), dialect.limit(body), dialect.schema(body)) == ("Be brief.", 77, RESPONSE_SCHEMA)
    assert "What is wrong?" in json.dumps(body)
    assert KEY not in path
    assert KEY not in json.dumps(body)


def test_temperature_is_sent_only_when_it_is_given(dialect, asked, upstream):
    upstream.says(reply(200, dialect.complete()))
    asked.chat(ASK)
    asked.chat(replace(ASK, temperature=0.25))
    without_temperature, with_temperature = (json.dumps(body) for _, _, _, body in upstream.requests)
    assert ("0.25" in without_temperature, "0.25" in with_temperature) == (False, True)


def test_only_our_headers_leave_however_polluted_the_environment_is(dialect, upstream, monkeypatch):
    pollution = {
        "OPENAI_ORG_ID": "org-x",
        "OPENAI_API_KEY": "sk-environment",
        "OPENAI_CUSTOM_HEADERS": "X-Injected: 1",
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_API_KEY": "sk-environment",
        "ANTHROPIC_CUSTOM_HEADERS": "X-Injected: 1",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "GOOGLE_API_KEY": "sk-environment",
        "GEMINI_API_KEY": "sk-environment",
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
        "MISTRAL_API_KEY": "sk-environment",
        "MISTRAL_DEBUG": "1",
        "OLLAMA_API_KEY": "sk-environment",
        "OLLAMA_HOST": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
    }
    for name, value in pollution.items():
        monkeypatch.setenv(name, value)
    driver = driver_of(dialect, upstream)
    upstream.says(reply(200, dialect.complete(), headers={"Set-Cookie": "tracker=1"}))
    driver.chat(ASK)
    driver.chat(ASK)
    driver.close()
    allowed = {"host", "accept", "accept-encoding", "content-type", "content-length", "connection", "user-agent", dialect.key_header[0]}
    special = {"claude": {"anthropic-version"}, "copilot": {"copilot-integration-id", "editor-version"}}.get(dialect.driver, set())
    for _, _, headers, _ in upstream.requests:
        assert set(headers) <= allowed | special
        assert "sk-environment" not in str(headers)


def test_models_are_listed_with_what_the_vendor_tells_of_them(dialect, asked, upstream):
    upstream.says(reply(200, dialect.models))
    models = asked.list_models()
    assert tuple(model.model_id for model in models) == dialect.listed
    assert upstream.requests[0][1].partition("?")[0] == dialect.list_path
    check = asked.check("m-1")
    assert (check.ok, check.models, check.how, len(upstream.requests)) == (True, 2, "listed", 2)
    if dialect.driver in ("claude", "gemini"):
        assert (models[0].display_name, models[0].context_window, models[0].max_output_tokens) == ("M-1", 1000, 100)


def test_a_check_asks_one_question_only_where_there_is_no_list(dialect, asked, upstream):
    upstream.says(in_dialect(dialect, 404), reply(200, dialect.complete("ok")))
    check = asked.check("gpt-x")
    assert (check.ok, check.how, "may bill" in check.detail, len(upstream.requests)) == (True, "asked", True, 2)
    upstream.requests.clear()
    upstream.says(in_dialect(dialect, 404))
    check = asked.check()
    assert (check.ok, check.kind, len(upstream.requests)) == (False, "not_found", 1)


def test_a_key_that_is_not_accepted_is_said_to_be_that(dialect, asked, upstream):
    status, body = dialect.invalid_key
    caught = failure(asked, upstream, reply(status, body))
    assert (caught.kind, caught.http_status, len(upstream.requests)) == ("auth", status, 1)
    upstream.requests.clear()
    upstream.says(reply(status, body))
    check = asked.check("gpt-x")
    assert (check.ok, check.kind, len(upstream.requests), KEY in check.detail) == (False, "auth", 1, False)


STATUSES = [
    (401, "auth"),
    (402, "billing"),
    (403, "permission"),
    (404, "not_found"),
    (413, "too_large"),
    (422, "bad_request"),
    (418, "bad_request"),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_a_status_becomes_one_kind_and_is_asked_once(dialect, asked, upstream, status, kind):
    caught = failure(asked, upstream, in_dialect(dialect, status))
    assert (caught.kind, caught.http_status, caught.attempts, len(upstream.requests)) == (kind, status, 1, 1)
    assert ERROR_MESSAGES[kind] in caught.detail
    assert caught.request_id == "req-7"
    assert caught.status in (422, 502, 504)


def test_a_limit_tells_how_long_to_wait(dialect, asked, upstream):
    caught = failure(asked, upstream, in_dialect(dialect, 429, "slow down", **{"Retry-After": "86400"}))
    assert (caught.kind, caught.retry_after, len(upstream.requests)) == ("rate_limited", 86_400, 1)
    assert "86400 seconds" in caught.detail


def test_a_limit_that_is_told_in_the_body_is_understood_too(upstream):
    body = {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "45.8s"}]}}
    caught = failure(driver_of(DIALECTS["gemini"], upstream), upstream, reply(429, body))
    assert (caught.kind, caught.retry_after) == ("rate_limited", 45.8)


@pytest.mark.parametrize(("status", "kind"), [(500, "server_error"), (503, "overloaded"), (529, "overloaded")])
def test_what_may_pass_is_asked_once_more_and_not_a_third_time(dialect, asked, upstream, status, kind):
    caught = failure(asked, upstream, in_dialect(dialect, status))
    assert (caught.kind, caught.attempts, len(upstream.requests)) == (kind, 2, 2)
    upstream.requests.clear()
    upstream.says(in_dialect(dialect, status), reply(200, dialect.complete()))
    assert asked.chat(ASK).attempts == 2


def test_a_connection_that_breaks_is_tried_again(dialect, asked, upstream):
    upstream.says(hang_up, reply(200, dialect.complete()))
    assert asked.chat(ASK).attempts == 2


@pytest.mark.parametrize("slow", ["silent", "headers", "body"])
def test_the_deadline_is_absolute_and_a_timeout_is_not_repeated(dialect, asked, upstream, slow):
    upstream.says(reply(200, dialect.complete()))
    asked.chat(ASK)  # The first use of an SDK imports parts of it.
    upstream.requests.clear()
    started = time.monotonic()
    answer = {"silent": after(3, reply(200, dialect.complete())), "headers": drip, "body": drip_body}[slow]
    caught = failure(asked, upstream, answer, request=HASTY)
    assert (caught.kind, caught.status, len(upstream.requests)) == ("timeout", 504, 1)
    assert time.monotonic() - started < HASTY.deadline_s + 1.5


def test_a_refused_connection_says_so(dialect):
    gone = Upstream()
    gone.stop()
    with pytest.raises(DriverError) as caught:
        driver_of(dialect, gone).chat(ASK)
    assert (caught.value.kind, caught.value.attempts, "refused" in caught.value.detail) == ("connect", 2, True)


def test_an_answer_that_is_cut_off_is_no_answer_but_was_billed(dialect, asked, upstream):
    caught = failure(asked, upstream, reply(200, dialect.complete(finish=dialect.finishes["cut"])))
    assert (caught.kind, caught.usage) == ("truncated", dialect.usage)


def test_a_refusal_is_said_to_be_one(dialect, asked, upstream):
    if not dialect.finishes["refused"]:
        pytest.skip(f"{dialect.driver} has no word for a refusal")
    caught = failure(asked, upstream, reply(200, dialect.complete(finish=dialect.finishes["refused"])))
    assert (caught.kind, caught.usage) == ("refused", dialect.usage)


def test_no_choices_and_no_text_are_empty(dialect, asked, upstream):
    kind = "invalid_response" if dialect.config.get("request_template") else "empty"
    assert failure(asked, upstream, reply(200, dialect.empty)).kind == kind
    assert failure(asked, upstream, reply(200, dialect.complete(""))).kind == "empty"


@pytest.mark.parametrize(
    "words", [f"```json\n{ANSWER}\n```", f"Here is what I found:\n\n{ANSWER}\nGood luck!"], ids=["fenced", "prose before"]
)
def test_json_is_found_in_fences_and_behind_prose(dialect, asked, upstream, words):
    upstream.says(reply(200, dialect.complete(words)))
    assert parse_recommendations(asked.chat(ASK).text)[0].type == "disk"


UNREADABLE = {
    "html": reply(200, b"<html>Login</html>", headers={"Content-Type": "text/html"}),
    "not json": reply(200, b"<html>Login</html>"),
    "nothing": reply(200, b""),
    "half": reply(200, b'{"choices": [{"mess'),
    "null": reply(200, b"null"),
    "list": reply(200, [1, 2]),
    "an object of nothing": reply(200, {}),
    "error with 200": reply(200, {"error": {"message": "overloaded"}}),
    "deep": reply(200, b"[" * 100_000),
    "compressed": reply(200, gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_answer_cannot_be_read_and_is_asked_once(dialect, asked, upstream, answer):
    caught = failure(asked, upstream, answer)
    assert (caught.kind, len(upstream.requests)) == ("invalid_response", 1), caught.detail


@pytest.mark.parametrize("large", ["announced", "endless"])
def test_an_answer_of_ten_megabytes_is_cut_off(dialect, asked, upstream, large):
    answer = reply(200, dialect.complete("x" * 10_000_000)) if large == "announced" else endless
    caught = failure(asked, upstream, answer)
    assert (caught.kind, len(upstream.requests)) == ("response_too_large", 1)


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_is_not_followed(dialect, asked, upstream, status):
    elsewhere = Upstream("127.0.0.2")
    caught = failure(asked, upstream, reply(status, {}, headers={"Location": f"http://{elsewhere.place}{dialect.chat_path}"}))
    elsewhere.stop()
    assert (caught.kind, elsewhere.accepted, len(upstream.requests)) == ("redirect", 0, 1)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_an_echoed_key_is_nowhere_in_the_error_or_the_log(dialect, asked, upstream, status, logged):
    message = f"Incorrect API key provided: {KEY}. See https://example.com/{KEY}"
    for answer in (in_dialect(dialect, status, message), reply(status, message.encode()), reply(200, f"not json {KEY}".encode())):
        upstream.requests.clear()
        caught = failure(asked, upstream, answer)
        lines = traceback.TracebackException.from_exception(caught, capture_locals=True).format()
        shown = "".join(line for line in lines if "/webapp/" in line) + repr(caught) + repr(vars(caught))
        assert KEY not in shown
        assert (caught.__cause__, caught.__context__) == (None, None)
    assert KEY not in logged.text
    assert "What is wrong?" not in logged.text


def test_one_client_serves_sixteen_threads(dialect, asked, upstream):
    upstream.says(reply(200, dialect.complete()))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(asked.chat(ASK).text)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [ANSWER] * 16


def test_a_missing_or_odd_key_is_refused_before_anything_is_sent(dialect, upstream):
    for key in (None, "sk with spaces", "sk-\n", "schlüssel"):
        if key is None and dialect.driver in ("custom", "ollama"):
            continue  # These drivers can work without a key.
        with pytest.raises(DriverError) as caught:
            driver_of(dialect, upstream, key=key).chat(ASK)
        assert (caught.value.kind, upstream.accepted) == ("config", 0)
        assert key is None or key not in str(caught.value)
