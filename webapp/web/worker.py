"""gunicorn worker that buffers whole requests before a thread handles them, so that slow clients delay only themselves (docs/adr/0021).

gunicorn's threaded worker assigns a thread at the first byte and waits for the rest without a limit. As many partial requests, or clients
that do not read, as there are threads block the server. In this worker, the event loop receives requests, sends the rest of responses and
closes connections. Threads only handle complete requests.
"""

import errno
import selectors
import socket
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from webapp.web.request_buffer import GRACE_PERIOD_S, MAX_BODY, MIN_BYTES_PER_S, RequestBuffer

RECEIVE_BYTES = 262_144  # Bytes that one iteration of the loop reads from a socket.
MAX_BUFFERED_REQUESTS = 500  # Incomplete requests per worker; beyond that, the oldest is rejected.
MAX_BUFFERED_BYTES = 24_000_000  # Bytes of all incomplete requests; beyond that, the largest is rejected.
MAX_UNSENT_BYTES = 32_000_000  # Unsent bytes of one response; every page and export is far smaller.
LINGER_S = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}
MESSAGES = {
    408: "The request did not arrive in time. Send it again.",
    431: "The head of the request is larger than 64 kB.",
    503: "Too much is being sent at once. Send it again in a few seconds.",
}


class ClientSocket(socket.socket):
    """A non-blocking client socket. Data that the client does not accept at once stays in `unsent` for the event loop."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.unsent = bytearray()

    def setblocking(self, flag: bool) -> None:
        self.settimeout(0.0)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive without blocking, for threads. A dispatched request is buffered completely, so missing data means a broken connection."""
        try:
            return super().recv(size, flags)
        except BlockingIOError:
            raise ConnectionResetError(errno.ECONNRESET, "the client did not send all that it announced") from None

    def sendall(self, data: Any, flags: int = 0) -> None:
        if len(self.unsent) + len(data) > MAX_UNSENT_BYTES:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not take its answer")
        self.unsent += data
        self.flush()

    def flush(self) -> None:
        """Send unsent data until the socket would block."""
        try:
            while self.unsent:
                del self.unsent[: super().send(self.unsent)]
        except (BlockingIOError, InterruptedError):
            return

    def receive_available(self) -> bytes | None:
        """Return the received data, for the event loop: empty at the end of the stream, None if there is no data yet."""
        try:
            return super().recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""


@dataclass
class PendingResponse:
    """A response that the event loop finishes sending. `since` is a monotonic time, and `left` was the number of unsent bytes then."""

    since: float
    left: int
    done: "Future[Any]"

    def is_late(self, now: float, left: int) -> bool:
        return now > self.since + GRACE_PERIOD_S + (self.left - left) / MIN_BYTES_PER_S


class BufferingThreadWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is untyped
    """A threaded gunicorn worker whose event loop receives and sends.

    A connection is in one of five states: incoming, in a thread, sending, keep-alive or leaving.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.incoming: dict[TConn, RequestBuffer] = {}  # Oldest first.
        self.sending: dict[TConn, PendingResponse] = {}
        self.leaving: dict[TConn, float] = {}
        self.held = 0

    # Methods that gunicorn calls.

    def accept(self, listener: socket.socket) -> None:
        if self.cfg.is_ssl:  # gunicorn handles TLS by itself. Production runs behind a proxy that terminates TLS.
            super().accept(listener)
            return
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        self.nr_conns += 1
        self.receive(TConn(self.cfg, ClientSocket(accepted), address, listener.getsockname()))

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Receive the next request of a keep-alive connection."""
        if self.cfg.is_ssl:
            super().on_client_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self.receive(conn)

    def finish_request(self, conn: TConn, done: "Future[Any]") -> None:
        if self.cfg.is_ssl or done.cancelled() or done.exception() is not None:
            super().finish_request(conn, done)
        elif conn.sock.unsent:
            self.sending[conn] = PendingResponse(time.monotonic(), len(conn.sock.unsent), done)
            self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self.on_writable, conn))
        elif not done.result():
            self.linger(conn)
        elif rest := conn.parser.unreader.take_buffered():  # The data includes the beginning of the next request.
            self.receive(conn, rest)
        else:
            super().finish_request(conn, done)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Return whether the connection stays open. An unread body is buffered already, so gunicorn does not wait for it here."""
        if self.cfg.is_ssl:
            return bool(super()._keepalive_after(conn, keepalive))
        return keepalive and bool(conn.parser.finish_body(max_bytes=MAX_BODY))

    def murder_pending(self) -> None:
        """Close connections that exceeded their time. gunicorn calls it every second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, incoming in list(self.incoming.items()):
            if incoming.is_late(now) or (not self.alive and now > incoming.since + LINGER_S):
                self.reject(conn, 408)
        for conn, sending in list(self.sending.items()):
            if sending.is_late(now, len(conn.sock.unsent)):
                self.close_connection(conn)
        for conn, deadline in list(self.leaving.items()):
            if now > deadline:
                self.close_connection(conn)

    # Receiving.

    def receive(self, conn: TConn, received: bytes = b"") -> None:
        """Start to receive the next request of a connection. `received` is its first part."""
        self.incoming[conn] = RequestBuffer(time.monotonic(), received)
        self.held += len(received)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_readable, conn))
        if received:
            self.process_buffer(conn)
        if conn in self.incoming:
            self.on_readable(conn)
        if len(self.incoming) > MAX_BUFFERED_REQUESTS:
            self.reject(next(iter(self.incoming)), 408)

    def on_readable(self, conn: TConn, _: object = None) -> None:
        data = conn.sock.receive_available()
        if data:
            self.incoming[conn].add(data)
            self.held += len(data)
            self.process_buffer(conn)
        elif data is not None:
            self.close_connection(conn)

    def process_buffer(self, conn: TConn) -> None:
        """Dispatch the request if it is complete, reject it if it is too large, otherwise continue to receive."""
        incoming = self.incoming[conn]
        if incoming.is_complete():
            self.dispatch(conn)
        elif incoming.is_head_too_large():
            self.reject(conn, 431)
        elif incoming.waits:
            incoming.waits = False
            self.send_bytes(conn, CONTINUE)
        if self.held > MAX_BUFFERED_BYTES:
            self.reject(max(self.incoming, key=lambda candidate: len(self.incoming[candidate].data)), 503)

    def dispatch(self, conn: TConn) -> None:
        data = self.release_connection(conn)
        conn.data_ready = True
        conn.init()
        conn.parser.unreader.unread(data)
        self.enqueue_req(conn)

    def on_writable(self, conn: TConn, _: object = None) -> None:
        """Send the rest of a response, and then finish the request."""
        try:
            conn.sock.flush()
        except OSError:
            self.close_connection(conn)
            return
        if not conn.sock.unsent:
            done = self.sending[conn].done
            self.release_connection(conn)
            self.finish_request(conn, done)

    # Ending.

    def reject(self, conn: TConn, status: int) -> None:
        """Close a connection. If the client has sent data, it gets a response with the reason."""
        if self.incoming[conn].data:
            body = f"{MESSAGES[status]}\n".encode()
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nConnection: close\r\n"
            self.send_bytes(conn, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.linger(conn)

    def send_bytes(self, conn: TConn, text: bytes) -> None:
        """Send a few bytes from the event loop without blocking. If they do not fit, the client has not read its earlier data."""
        try:
            conn.sock.send(text)
        except OSError as error:
            self.log.debug("A client takes nothing: %s", error)

    def linger(self, conn: TConn) -> None:
        """Give the client time to read the last response before the connection closes. gunicorn would block its loop for that."""
        self.release_connection(conn)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # The client has disconnected.
            self.close_connection(conn)
            return
        self.leaving[conn] = time.monotonic() + LINGER_S
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_linger_readable, conn))

    def on_linger_readable(self, conn: TConn, _: object = None) -> None:
        if conn.sock.receive_available() == b"":
            self.close_connection(conn)

    def close_connection(self, conn: TConn) -> None:
        self.release_connection(conn)
        self.nr_conns -= 1
        conn.close()

    def release_connection(self, conn: TConn) -> bytes:
        """Remove a connection from the event loop and return the data received for its request."""
        incoming = self.incoming.pop(conn, None)
        states = (incoming, self.sending.pop(conn, None), self.leaving.pop(conn, None))
        if any(state is not None for state in states):
            self.poller.unregister(conn.sock)
        self.held -= len(incoming.data) if incoming else 0
        return bytes(incoming.data) if incoming else b""
