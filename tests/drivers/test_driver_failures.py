"""Every failure of a provider, through the real SDK: one kind each, in time, once, and without the key."""

import json
import time
import traceback
from dataclasses import replace

import pytest
from fake_provider import ASK, KEY, Upstream, after, completion, drip, drip_body, endless, error, hang_up, reply

from webapp.domain.pricing.usage import Usage
from webapp.drivers.core.base import ERROR_MESSAGES, DriverError

HASTY = replace(ASK, deadline_s=0.5)
STATUSES = [
    (error(400), "bad_request"),
    (error(400, "Incorrect API key provided: sk-x"), "auth"),
    (reply(400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: sk-x"}), "auth"),
    (error(400, "too long", code="context_length_exceeded"), "too_large"),
    (error(400, "no", code="unsupported_value", param="temperature"), "unsupported_param"),
    (error(401), "auth"),
    (error(402), "billing"),
    (error(403), "permission"),
    (error(404), "not_found"),
    (error(408), "timeout"),
    (error(413), "too_large"),
    (error(422), "bad_request"),
    (error(429, "quota", code="insufficient_quota"), "billing"),
    (error(429, headers={"Retry-After": "30"}), "rate_limited"),
    (reply(418, b"[" * 50_000), "bad_request"),
]


@pytest.mark.parametrize(("answer", "kind"), STATUSES, ids=[f"{index}-{kind}" for index, (_, kind) in enumerate(STATUSES)])
def test_a_status_becomes_one_kind_and_is_asked_once(failing, upstream, answer, kind):
    caught = failing(answer)
    assert (caught.kind, caught.code, caught.attempts, len(upstream.requests)) == (kind, kind, 1, 1)
    assert ERROR_MESSAGES[kind] in caught.detail
    assert caught.request_id == "req-7"
    assert caught.status in (422, 502, 504)  # Modeldesk's own status. The provider's is http_status.


def test_a_429_tells_how_long_to_wait(failing):
    caught = failing(error(429, "slow down", headers={"Retry-After": "86400"}))
    assert (caught.kind, caught.retry_after, caught.http_status, caught.retryable) == ("rate_limited", 86_400, 429, True)
    assert "86400 seconds" in caught.detail


@pytest.mark.parametrize("first", [error(500), error(503), error(529), error(429, headers={"Retry-After": "0"}), hang_up])
def test_what_may_pass_is_asked_once_more(driver, upstream, first):
    upstream.says(first, reply())
    assert driver.chat(ASK).attempts == 2
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(("status", "kind"), [(500, "server_error"), (503, "overloaded"), (529, "overloaded")])
def test_nothing_is_asked_a_third_time(failing, upstream, status, kind):
    caught = failing(error(status))
    assert (caught.kind, caught.attempts, len(upstream.requests)) == (kind, 2, 2)


@pytest.mark.parametrize("slow", [after(3, reply()), drip, drip_body], ids=["silent", "dripping headers", "dripping body"])
def test_the_deadline_is_absolute_and_a_timeout_is_not_repeated(failing, upstream, slow):
    started = time.monotonic()
    caught = failing(slow, request=HASTY)
    assert (caught.kind, caught.status, len(upstream.requests)) == ("timeout", 504, 1)
    assert time.monotonic() - started < 2.5


def test_a_refused_connection_says_so(make_driver):
    gone = Upstream()
    gone.stop()
    with pytest.raises(DriverError) as caught:
        make_driver(gone.base_url).chat(ASK)
    assert (caught.value.kind, caught.value.attempts, caught.value.http_status) == ("connect", 2, None)
    assert "refused" in caught.value.detail


UNREADABLE = {
    "html": reply(200, b"<html>Login</html>", headers={"Content-Type": "text/html"}),
    "not json": reply(200, b"<html>Login</html>"),
    "nothing": reply(200, b""),
    "half": reply(200, json.dumps(completion()).encode()[:90]),
    "null": reply(200, b"null"),
    "list": reply(200, [1, 2]),
    "error with 200": reply(200, {"error": {"message": "overloaded"}}),
    "deep": reply(200, b"[" * 100_000),
    "invalid utf-8": reply(200, b'{"choices": "\xff\xfe"}'),
    "choice without message": reply(200, completion() | {"choices": [{}]}),
    "compressed in another way": reply(200, json.dumps(completion()).encode(), headers={"Content-Encoding": "br"}),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_answer_cannot_be_read_and_is_asked_once(failing, upstream, answer):
    caught = failing(answer)
    assert (caught.kind, caught.http_status, len(upstream.requests)) == ("invalid_response", 200, 1)


def test_an_answer_that_breaks_off_is_a_lost_connection(failing):
    assert failing(reply(200, length=100_000)).kind == "network"


BILLED = Usage(input=100, cache_read=60, cache_write=10, output=40, reasoning=15)
USELESS = [
    (completion() | {"choices": []}, "empty"),
    (completion(""), "empty"),
    (completion(None), "empty"),
    (completion(None, message={"refusal": "I cannot"}), "refused"),
    (completion(finish_reason="content_filter"), "refused"),
    (completion(finish_reason="length"), "truncated"),
]


@pytest.mark.parametrize(("body", "kind"), USELESS)
def test_an_answer_of_no_use_still_tells_what_was_billed(failing, body, kind):
    caught = failing(reply(200, body))
    assert (caught.kind, caught.usage) == (kind, BILLED)


@pytest.mark.parametrize("answer", [reply(200, completion("x" * 10_000_000)), endless], ids=["announced", "endless"])
def test_an_answer_of_ten_megabytes_is_cut_off(failing, upstream, answer):
    caught = failing(answer)
    assert (caught.kind, len(upstream.requests)) == ("response_too_large", 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(failing, upstream, status):
    elsewhere = Upstream()
    caught = failing(reply(status, {}, headers={"Location": f"{elsewhere.base_url}/chat/completions"}))
    elsewhere.stop()
    assert (caught.kind, elsewhere.accepted, len(upstream.requests)) == ("redirect", 0, 1)


ECHOES = [
    error(401, f"Incorrect API key provided: {KEY}. See https://example.com/{KEY}"),
    reply(500, f"key {KEY} failed".encode()),
    error(400, "x", code=KEY, details=[{"detail": KEY}]),
    reply(302, {}, headers={"Location": f"http://127.0.0.1/{KEY}", "x-request-id": "r"}),
    reply(200, f"not json {KEY}".encode()),
]


@pytest.mark.parametrize("ask", [lambda driver: driver.chat(ASK), lambda driver: driver.list_models()], ids=["chat", "list"])
@pytest.mark.parametrize("answer", ECHOES)
def test_an_echoed_key_is_nowhere_in_the_error(upstream, driver, answer, ask):
    upstream.says(answer)
    with pytest.raises(DriverError) as raised:
        ask(driver)
    caught = raised.value
    assert (caught.__cause__, caught.__context__) == (None, None)
    lines = traceback.TracebackException.from_exception(caught, capture_locals=True).format()
    # Locals of the test's own fixtures are not a leak of the driver.
    shown = "".join(line for line in lines if "/webapp/" in line) + str(caught) + repr(caught) + repr(vars(caught))
    assert KEY not in shown
    assert "/webapp/" in shown
