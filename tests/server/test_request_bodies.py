"""Bodies of requests: one limit per address, a limit of time and of pieces, and a limit of memory for all together."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from server import wire
from server.wire import END, HOST, ask, connect, exchange, parse, received

from webapp.web.requests import MAX_CONTENT_LENGTH, MAX_CONTENT_LENGTHS

CHUNKED = b"Transfer-Encoding: chunked\r\n"


def post(path: bytes, body: bytes, head: bytes = b"") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nContent-Length: %d\r\n" % len(body) + head + END + b"\r\n" + body


def chunked(path: bytes, pieces: bytes, head: bytes = END) -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + CHUNKED + head + b"\r\n" + pieces


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def send_over(port: int, request: bytes, seconds: float) -> wire.RawResponse:
    """Send a request in parts over some seconds, as a slow line does."""
    with connect(port) as line:
        step = len(request) // 30 + 1
        for start in range(0, len(request), step):
            line.sendall(request[start : start + step])
            time.sleep(seconds / 30)
        return parse(b"".join(iter(lambda: line.recv(65_536), b"")))


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 900_000])
def test_bodies_arrive_whole_with_a_length_and_in_pieces(port, size):
    body = b"x" * size
    pieces = b"".join(chunk(body[start : start + 9_999]) for start in range(0, size, 9_999)) + b"0\r\n\r\n"
    for request in (post(b"/echo", body), chunked(b"/echo", pieces)):
        response = ask(port, request)
        assert (response.json["body"], response.environ["CONTENT_LENGTH"]) == (size, str(size))
        assert "HTTP_TRANSFER_ENCODING" not in response.environ


@pytest.mark.parametrize("size", [12_000_000, 19_000_000, 44_000_000])
def test_b1_catalogs_up_to_the_limit_of_the_page_can_be_uploaded(port, size):
    """The page promises 20 MB for each of two files. Without a session, the page asks to sign in; it is not the size that is refused."""
    response = send_over(port, post(b"/admin/proposals/new", b"x" * size, b"Content-Type: text/plain\r\n"), 3)
    assert response.status in (302, 400)
    assert b"CSRF" in response.body or response.headers.get("location", "").endswith("/login")


@pytest.mark.parametrize("path", ["/echo", *MAX_CONTENT_LENGTHS])
def test_the_limit_of_an_address_holds_for_the_server_and_for_flask(port, path):
    limit, address = MAX_CONTENT_LENGTHS.get(path, MAX_CONTENT_LENGTH), path.encode()
    head = b"POST " + address + b" HTTP/1.1\r\nContent-Type: application/json\r\n"
    too_large = ask(port, head + b"Content-Length: %d\r\nExpect: 100-continue\r\n" % (limit + 1) + END + b"\r\n")
    assert "100" not in str(too_large.status)  # The client is not asked for the body.
    if path == "/echo":
        assert too_large.environ["CONTENT_LENGTH"] == str(limit + 1)
        assert too_large.json["body"] == 0
    else:
        assert too_large.status in (302, 401, 413)


@pytest.mark.parametrize("path", [b"/login", b"/api/v1/cost"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in pieces"])
def test_t29_a_body_that_is_too_large_is_413_before_it_was_read(server, path, declared):
    token = f"Authorization: Bearer {server.token('registry:read')}\r\nContent-Type: application/json\r\n".encode()
    with connect(server.port) as line:
        if declared:
            line.sendall(b"POST " + path + b" HTTP/1.1\r\n" + token + b"Content-Length: 10000000000\r\n" + END + b"\r\n")
        else:
            line.sendall(chunked(path, chunk(b"x" * 100_000) * 11, token + END))
        assert line.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_continues_to_send_can_read_the_refusal(port):
    assert ask(port, post(b"/login", b"x" * 20_000_000)).status == 413


@pytest.mark.parametrize(
    "pieces",
    [b"zz\r\n\r\n", b"-1\r\nx\r\n0\r\n\r\n", b"5\r\nab\r\n0\r\n\r\n", b"\r\n", b"3\r\nabc\r\nzz\r\n", b"g\r\n", b"fffffffffffffffff\r\n"],
    ids=["no number", "negative", "too short", "empty", "later", "no hex digit", "huge"],
)
def test_t29_pieces_that_make_no_sense_are_a_bad_request(port, pieces):
    assert exchange(port, chunked(b"/echo", pieces)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_bytes", [post(b"/echo", b"x" * 9)[:-1], post(b"/echo", b"x" * 99_999)[:-1], chunked(b"/echo", chunk(b"abc"))]
)
def test_a_body_that_breaks_off_never_reaches_the_application(server, opened, request_bytes):
    line = opened(server, request_bytes)
    line.shutdown(socket.SHUT_WR)
    assert received(line).startswith(b"HTTP/1.1 400 ")


def test_a1_a_body_of_tiny_pieces_is_refused_while_it_is_read(server):
    """100,000 pieces of one byte held a thread for 44 seconds once. Here it is refused, at a cost that grows with the pieces."""
    worker = server.workers()[0]
    before = sum(worker.cpu_times()[:2])
    response = ask(server.port, chunked(b"/login", b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"))
    assert response.status == 400
    assert sum(worker.cpu_times()[:2]) - before < 5


def test_pieces_of_a_useful_size_are_no_attack(port):
    assert ask(port, chunked(b"/echo", chunk(b"x" * 80) * 12_000 + b"0\r\n\r\n")).json["body"] == 960_000


def test_others_are_served_while_many_send_tiny_pieces(server):
    waits = []
    with ThreadPoolExecutor(16) as pool:
        bombs = [pool.submit(ask, server.port, chunked(b"/login", b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n")) for _ in range(16)]
        while not all(bomb.done() for bomb in bombs):
            start = time.monotonic()
            assert ask(server.port, b"GET /healthz HTTP/1.1\r\n" + END + b"\r\n").status == 200
            waits.append(time.monotonic() - start)
    assert {bomb.result().status for bomb in bombs} <= {400, 408}
    assert max(waits) < 3


@pytest.mark.parametrize(
    "body", [b"Content-Length: 1000\r\n" + END + b"\r\na=", b"Content-Length: 900000\r\n" + END + b"\r\na=", CHUNKED + END + b"\r\n5\r\nab"]
)
def test_t29_half_a_body_is_408(server, opened, body):
    start = time.monotonic()
    assert received(opened(server, b"POST /login HTTP/1.1\r\n" + body)).startswith(b"HTTP/1.1 408 ")
    assert 1.5 < time.monotonic() - start < 15  # The grace period of the test's server is 2 s, and then the client can read for 2 s.


def test_t29_a_body_that_drips_is_408(server, opened):
    line = opened(server, chunked(b"/login", b""))
    line.settimeout(0.2)
    data, deadline = b"", time.monotonic() + 20
    while not data:
        assert time.monotonic() < deadline
        line.sendall(b"1\r\na\r\n")
        try:
            data = line.recv(65_536)
        except TimeoutError:
            continue
    assert data.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_keeps_the_minimum_rate_may_take_its_time(port):
    start = time.monotonic()
    assert send_over(port, post(b"/echo", b"x" * 200_000), 6).json["body"] == 200_000
    assert time.monotonic() - start > 4  # Longer than the grace period.


def test_a_client_that_asks_first_may_send_the_body(server, opened):
    line = opened(server, b"POST /echo HTTP/1.1\r\nContent-Length: 7\r\nExpect: 100-continue\r\n" + END + b"\r\n")
    assert line.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.sendall(b"email=x")
    assert json.loads(received(line).partition(b"\r\n\r\n")[2])["body"] == 7


def test_t29_bodies_beyond_the_memory_of_a_worker_are_refused_and_the_others_arrive(templates, tmp_path):
    """The largest unfinished body gives way, so that small bodies still arrive."""
    with wire.start(templates, tmp_path, MAX_HELD_BYTES="3_000_000", GRACE_PERIOD="20") as server:
        head = b"POST /admin/proposals/new HTTP/1.1\r\nContent-Length: 40000000\r\n" + HOST + b"\r\n"
        hoarders = [connect(server.port, head + b"x" * 1_500_000) for _ in range(2)]
        time.sleep(1)
        hoarders[0].sendall(b"x" * 300_000)
        refused = hoarders[0].recv(65_536)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 5\r\n" in refused
        assert ask(server.port, post(b"/echo", b"x" * 900_000)).json["body"] == 900_000
        for line in hoarders:
            line.close()


def test_memory_returns_after_large_bodies(server):
    worker = psutil.Process(server.workers()[0].pid)
    request = post(b"/admin/proposals/new", b"x" * 44_000_000)
    ask(server.port, request)
    before = worker.memory_info().rss
    for _ in range(5):
        ask(server.port, request)
    assert worker.memory_info().rss - before < 64_000_000
