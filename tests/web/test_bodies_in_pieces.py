"""Chunked bodies over a real socket: malformed chunks are a client error, never a server error."""

import socket

import pytest
from environment import settings_for
from serving import serving

HEAD = (
    b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def answer_to(port: int, pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(HEAD + pieces)
        return b"".join(iter(lambda: line.recv(65_536), b""))


@pytest.fixture(scope="module")
def port(templates, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    with serving(settings_for(f"sqlite:///{folder / 'desk.sqlite3'}", folder / "instance"), folder, workers=1) as served:
        yield served.port


@pytest.mark.parametrize(
    "pieces",
    [b"zz\r\n\r\n", b"-1\r\nx\r\n0\r\n\r\n", b"5\r\nab\r\n0\r\n\r\n", b"\r\n", b"1;a\rb\r\nx\r\n0\r\n\r\n"],
    ids=["no number", "negative", "too short", "empty", "a bare return"],
)
def test_t29_pieces_that_make_no_sense_are_a_bad_request(port, pieces):
    assert answer_to(port, pieces).startswith(b"HTTP/1.1 400 ")


def test_pieces_that_make_sense_are_read(port):
    response = answer_to(port, b"7\r\nemail=x\r\n0\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"CSRF" in response  # The body was read; only the token is missing.
