"""Slow clients: a server with four threads still responds to other clients while hundreds of slow ones are connected."""

import http.client
import socket
import time
from collections import Counter
from contextlib import closing

import pytest
from environment import settings_for
from serving import Serving, serving

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SLOW = {
    "nothing": (b"", ()),
    "half a head": (GET + b"X-Slow: ", (408,)),
    "half a body": (POST + b"Content-Length: 1000\r\n\r\na=", (408,)),
    "half a piece": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", (408,)),
    "one and a half": (GET + b"\r\n" + GET, (200, 408)),
    "never closes": (GET + b"Connection: close\r\n\r\n", (200,)),
}


@pytest.fixture(scope="module")
def desk(templates, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    (folder / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    with serving(settings_for(f"sqlite:///{folder / 'desk.sqlite3'}", folder / "instance"), folder, workers=1) as served:
        yield served


@pytest.fixture
def opened():
    """Return a function that opens a connection and sends data. All connections are closed at the end."""
    lines = []

    def connect(server: Serving, sent: bytes) -> socket.socket:
        lines.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        lines[-1].sendall(sent)
        return lines[-1]

    yield connect
    for line in lines:
        line.close()


def answered(server: Serving, within: float = 5.0) -> None:
    """Send a request from another client. Raises `TimeoutError` without a response in `within` seconds."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=within)) as client:
        client.request("GET", "/healthz")
        assert client.getresponse().status == 200


def statuses(line: socket.socket) -> tuple[int, ...]:
    """Return the statuses of all responses until the server closes the connection."""
    with line:
        data = b"".join(iter(lambda: line.recv(65_536), b""))
    return tuple(int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:])


def test_t29_hundreds_of_slow_clients_hold_nobody_up_and_are_told(desk, opened):
    lines = [(name, opened(desk, sent)) for name, (sent, _) in SLOW.items() for _ in range(40)]
    for _ in range(20):
        answered(desk)
    counts = Counter((name, statuses(line)) for name, line in lines)
    assert counts == Counter({(name, expected): 40 for name, (_, expected) in SLOW.items()})
    answered(desk)
    assert "Traceback" not in desk.log.read_text()


def test_t29_the_servers_usual_worker_is_silenced_by_four(templates, tmp_path, opened):
    """Control test: gunicorn's threaded worker without the buffering."""
    (tmp_path / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    settings = settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path / "instance")
    with serving(settings, tmp_path, workers=1, GUNICORN_CMD_ARGS="--worker-class gthread") as usual:
        for _ in range(4):
            opened(usual, GET + b"X-Slow: ")
        with pytest.raises(TimeoutError):
            answered(usual, 3.0)


def test_t29_a_client_that_drips_is_given_up(desk, opened):
    line = opened(desk, GET)
    line.settimeout(0.2)
    data, deadline = b"", time.monotonic() + 25
    while not data:
        assert time.monotonic() < deadline
        line.sendall(b"X-Drip: 1\r\n")
        try:
            data = line.recv(65_536)
        except TimeoutError:
            continue
    assert data.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in data


def test_t29_clients_that_do_not_read_hold_nobody_up(desk, opened):
    page = b"GET /static/vendor/tabler/tabler.min.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for _ in range(8):
        opened(desk, page * 20)
    for _ in range(5):
        answered(desk)


def test_t29_a_head_without_an_end_is_refused(desk, opened):
    assert statuses(opened(desk, GET + b"X: " + b"x" * 70_000)) == (431,)


def test_requests_that_come_together_are_answered_in_their_order(desk, opened):
    lost = b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    last = GET + b"Connection: close\r\n\r\n"
    assert statuses(opened(desk, GET + b"\r\n" + lost + GET + b"\r\n" + last)) == (200, 404, 200, 200)


def test_who_asks_first_may_send_the_body(desk, opened):
    line = opened(desk, POST + b"Content-Length: 7\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert line.recv(65_536).startswith(b"HTTP/1.1 100 ")
    line.sendall(b"email=x")
    assert [status for status in statuses(line) if status != 100] == [400]  # The body was read; only the token is missing.


def test_a_body_that_takes_its_time_arrives(desk, opened):
    line = opened(desk, POST + b"Content-Length: 40\r\nConnection: close\r\n\r\n")
    for _ in range(40):
        line.sendall(b"a")
        time.sleep(0.02)
    assert statuses(line) == (400,)


def test_a_server_that_stops_waits_for_no_slow_client(templates, tmp_path, opened):
    (tmp_path / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    settings = settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path / "instance")
    with serving(settings, tmp_path, workers=1) as stopping:
        for sent, _ in SLOW.values():
            opened(stopping, sent)
        answered(stopping)
        stopping.master.terminate()
        assert stopping.master.wait(8) == 0  # gunicorn would wait ten seconds for open requests and then kill the worker.
