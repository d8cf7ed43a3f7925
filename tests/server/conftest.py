"""A real server with one worker for all tests of a module, and connections that end with the test."""

import pytest
from server import wire


@pytest.fixture(scope="module")
def server(templates, tmp_path_factory):
    with wire.start(templates, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def port(server):
    return server.port


@pytest.fixture
def opened():
    """Return a function that opens a connection to a server and sends data. All connections are closed at the end."""
    lines = []

    def connect(server, sent=b""):
        lines.append(wire.connect(server.port, sent))
        return lines[-1]

    yield connect
    for line in lines:
        line.close()
