"""Slow clients: a server with four threads still responds to other clients while hundreds of slow ones are connected."""

import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from server import wire
from server.wire import END, HOST, ask, statuses

GET = b"GET /healthz HTTP/1.1\r\n" + HOST
POST = b"POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n" + HOST
# What a client sends before it falls silent, and the statuses that it gets before the connection closes.
SLOW = {
    "nothing": (b"", ()),
    "half a head": (GET + b"X-Slow: ", ()),
    "half a body": (POST + b"Content-Length: 1000\r\n\r\na=", (408,)),
    "half a piece": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", (408,)),
    "one and a half": (GET + b"\r\n" + GET, (200,)),
    "never closes": (GET + b"Connection: close\r\n\r\n", (200,)),
    "keeps alive": (GET + b"\r\n", (200,)),
}


def is_served(server, within: float = 5.0) -> float:
    """Send a request from another client, and return the seconds until its response."""
    start = time.monotonic()
    assert ask(server.port, b"GET /healthz HTTP/1.1\r\n" + END + b"\r\n").status == 200
    taken = time.monotonic() - start
    assert taken < within
    return taken


def test_t29_hundreds_of_slow_clients_delay_no_one_and_are_closed(server, opened):
    lines = [(name, opened(server, sent)) for name, (sent, _) in SLOW.items() for _ in range(40)]
    for _ in range(20):
        is_served(server)
    with ThreadPoolExecutor(len(lines)) as pool:
        counts = Counter(zip([name for name, _ in lines], pool.map(statuses, [line for _, line in lines]), strict=True))
    assert counts == Counter({(name, expected): 40 for name, (_, expected) in SLOW.items()})
    is_served(server)
    assert "Traceback" not in server.log.read_text()


def test_t29_a_head_that_drips_is_closed(server, opened):
    line = opened(server, GET)
    deadline = time.monotonic() + 25
    while takes_more(line):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def takes_more(line: socket.socket) -> bool:
    try:
        line.sendall(b"X-Drip: 1\r\n")
    except OSError:
        return False
    return True


def test_t29_clients_that_do_not_read_delay_no_one(server, opened):
    page = b"GET /static/vendor/tabler/tabler.min.css HTTP/1.1\r\n" + HOST + b"\r\n"
    for _ in range(8):
        opened(server, page * 20)
    for _ in range(5):
        is_served(server)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system cannot close such connections")
def test_t29_the_system_closes_a_connection_that_is_not_read(server, opened):
    """30 s without any reading, so that unread responses do not stay in memory."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    with line:
        line.connect(("127.0.0.1", server.port))
        line.sendall(b"GET /large?9000000 HTTP/1.1\r\n" + HOST + b"\r\n")
        worker, deadline = server.workers()[0], time.monotonic() + 90
        while any(connection.raddr and connection.raddr.port == line.getsockname()[1] for connection in worker.net_connections()):
            assert time.monotonic() < deadline
            time.sleep(1)


def test_a_server_that_stops_waits_for_no_slow_client(templates, tmp_path, opened):
    with wire.start(templates, tmp_path) as stopping:
        for sent, _ in SLOW.values():
            opened(stopping, sent)
        is_served(stopping)
        stopping.master.terminate()
        assert stopping.master.wait(8) == 0
