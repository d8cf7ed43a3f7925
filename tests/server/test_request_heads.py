"""Heads of requests: what reaches the application, and what is refused before it."""

import json
import socket
from contextlib import closing

import pytest
from server.wire import END, HOST, ask, exchange, received, statuses


def get(target: bytes, head: bytes = END) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + head + b"\r\n"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/echo/a%2Fb", "/echo/a/b", ""),
        (b"/echo/a%252Fb", "/echo/a%2Fb", ""),
        (b"/echo//a/../b;c", "/echo//a/../b;c", ""),
        (b"/echo/%C3%A9", "/echo/é", ""),
        (b"/echo/%zz", "/echo/%zz", ""),
        (b"/echo?a=%2F+%20&a=b%C3%A9&&?", "/echo", "a=%2F+%20&a=b%C3%A9&&?"),
        (b"/echo?", "/echo", ""),
        (b"/echo?x=http://y/?z#no", "/echo", "x=http://y/?z"),
    ],
)
def test_the_path_is_decoded_once_and_the_query_not_at_all(port, target, path, query):
    environ = ask(port, get(target)).environ
    assert (environ["PATH_INFO"].encode("latin-1").decode(), environ["QUERY_STRING"]) == (path, query)


def test_a_ref_with_an_encoded_slash_names_the_same_model(server):
    with closing(server.client(server.token("registry:read"))) as client:
        plain, encoded = client.ask("GET", "/models/openai/gpt-4o"), client.ask("GET", "/models/openai%2Fgpt-4o")
    assert (plain.status, encoded.body) == (200, plain.body)


def test_an_absolute_address_names_the_host(port):
    environ = ask(port, get(b"http://desk.example:90/echo?x")).environ
    assert (environ["HTTP_HOST"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("desk.example:90", "/echo", "x")
    assert ask(port, get(b"http://evil.example/login")).status == 400


@pytest.mark.parametrize(
    "head", [b"Connection: close\r\n", HOST + END, b"Host: a, b\r\nConnection: close\r\n"], ids=["none", "two", "a list"]
)
def test_t08_a_request_needs_one_host(port, head):
    assert ask(port, get(b"/login", head)).status == 400


def test_an_old_client_needs_no_host(port):
    assert ask(port, b"GET /echo HTTP/1.0\r\n\r\n").environ["SERVER_PROTOCOL"] == "HTTP/1.0"


@pytest.mark.parametrize(
    "name", ["SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "X_Forwarded_For", "Content_Length", "HTTP_HOST", "Remote-User_"]
)
def test_b5_a_header_whose_name_holds_an_underscore_changes_nothing(port, name):
    plain, with_header = (ask(port, get(b"/echo", head + END)).environ for head in (b"", name.encode() + b": /evil\r\n"))
    assert plain == with_header


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Script-Name: /x", "Forwarded: for=1.2.3.4"],
)
def test_b5_forwarded_headers_from_loopback_give_the_same_response_as_none(port, header):
    answers = [ask(port, get(b"/readyz", head + END)) for head in (b"", header.encode() + b"\r\n")]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert ask(port, get(b"/x/api/v1/defaults", b"SCRIPT_NAME: /x\r\n" + END)).status == 404


def test_headers_that_come_twice_are_joined(port):
    environ = ask(port, get(b"/echo", b"X-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\n" + END)).environ
    assert (environ["HTTP_X_A"], environ["HTTP_COOKIE"]) == ("1,2", "a=1; b=2")


def test_a_header_that_cannot_be_read_is_refused_instead_of_left_out(port):
    """A proxy appends to what the client sent. Without the header, the request would pass for one of this machine."""
    refused = ask(port, get(b"/metrics", b"X-Forwarded-For: \xff, 1.2.3.4\r\n" + END))
    assert (refused.status, b"ASCII" in refused.body) == (400, True)


def test_t14_a_token_that_cannot_be_read_gives_no_permission(port):
    head = b"Authorization: Bearer mdk_\xc3\xa4\xff\r\n"
    assert ask(port, get(b"/api/v1/defaults", head + END)).status == 401


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /echo HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /echo?\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x00\x00\r\n\r\n",
    ],
)
def test_malformed_heads_are_a_bad_request(port, request_bytes):
    assert exchange(port, request_bytes).startswith(b"HTTP/1.1 400 ")


def test_two_lengths_never_make_two_requests(port):
    """Request smuggling: a proxy that believes `Content-Length` would take the rest for the next request."""
    smuggled = b"0\r\n\r\nGET /status?299 HTTP/1.1\r\nHost: a\r\n\r\n"
    for head in (b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n"):
        data = exchange(port, b"POST /echo HTTP/1.1\r\n" + END + head % len(smuggled) + b"\r\n" + smuggled)
        assert (data.count(b"HTTP/1.1 "), b" 299 " in data) == (1, False)


def test_t29_large_heads_are_refused(port):
    within, beyond = b"X-A: " + b"x" * 60_000 + b"\r\n", b"X-A: " + b"x" * 65_536 + b"\r\n"
    assert [ask(port, get(b"/echo", head + END)).status for head in (within, beyond)] == [200, 431]
    assert exchange(port, get(b"/echo", b"X-A: " + b"x" * 300_000 + b"\r\n" + END)).startswith(b"HTTP/1.1 431 ")
    assert exchange(port, get(b"/echo", b"X-A: x\r\n" * 200 + END)).startswith(b"HTTP/1.1 431 ")


def test_requests_that_come_together_get_responses_in_their_order(server, opened):
    parts = [get(b"/status?201", HOST), get(b"/nowhere", HOST), b"POST /echo HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + b"\r\nabc"]
    assert statuses(opened(server, b"".join(parts) + get(b"/status?202"))) == (201, 404, 200, 202)


@pytest.mark.parametrize("status", [200, 204, 304])
def test_responses_without_a_body_are_framed(port, status):
    data = exchange(port, get(b"/status?%d" % status, HOST) + get(b"/status?201"))
    assert [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]] == [status, 201]
    assert data.count(b"set-cookie: a=1\r\nset-cookie: b=2\r\n") == 2


def test_head_has_the_headers_of_get_and_no_body(port):
    whole, head = (ask(port, method + b" /static/js/trusted.js HTTP/1.1\r\n" + END + b"\r\n") for method in (b"GET", b"HEAD"))
    assert (head.status, head.body, head.headers.get("content-length")) == (200, b"", str(len(whole.body)))


@pytest.mark.parametrize(("line", "status"), [(b"OPTIONS /login", 200), (b"OPTIONS *", 404), (b"TRACE /login", 405), (b"BREW /login", 405)])
def test_other_methods_reach_the_application(port, line, status):
    assert ask(port, line + b" HTTP/1.1\r\n" + END + b"\r\n").status == status


def test_no_tunnel_is_opened(port):
    assert ask(port, b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n" + END + b"\r\n").status >= 400


def test_an_upgrade_is_not_taken(port):
    head = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(get(b"/status?201", HOST + head))
        assert line.recv(1000).startswith(b"HTTP/1.1 201 ")


def test_refusals_of_the_server_have_the_format_of_the_client(port):
    refused = ask(port, b"GET /api/v1/defaults HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert refused.headers["content-type"] == "application/problem+json"
    assert {name: refused.json[name] for name in ("status", "code")} == {"status": 400, "code": "bad_request"}
    assert ask(port, b"GET /login HTTP/1.1\r\nConnection: close\r\n\r\n").headers["content-type"].startswith("text/plain")


def test_the_body_of_a_get_is_no_request(server, opened):
    line = opened(server, b"GET /echo HTTP/1.1\r\nContent-Length: 3\r\n" + END + b"\r\nabc")
    assert json.loads(received(line).partition(b"\r\n\r\n")[2])["body"] == 3
