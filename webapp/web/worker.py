"""How requests reach a thread: whole, so that clients who are slow, or pretend to be, hold up nobody but themselves (docs/adr/0021).

gunicorn's own threaded worker gives a connection a thread with its first byte and waits for the rest without any limit: as many half
requests as there are threads silence a server, and so do as many clients who do not read. Here the worker's loop collects requests, sends
what a client does not take at once, and ends connections; threads only answer.
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

RECEIVE_BYTES = 262_144  # Bytes that are taken from a socket in one turn of the loop.
MAX_BUFFERED_REQUESTS = 500  # Unfinished requests of one worker; whoever began first gives way.
MAX_BUFFERED_BYTES = 24_000_000  # Bytes of all of them; the largest gives way.
MAX_UNSENT_BYTES = 32_000_000  # Bytes of one answer; no page or export comes near it.
LINGER_S = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}
MESSAGES = {
    408: "The request did not arrive in time. Send it again.",
    431: "The head of the request is larger than 64 kB.",
    503: "Too much is being sent at once. Send it again in a few seconds.",
}


class ClientSocket(socket.socket):
    """A client's connection, on which no thread waits: what the client does not take at once stays in `unsent`, for the loop."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.unsent = bytearray()

    def setblocking(self, flag: bool) -> None:
        self.settimeout(0.0)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """For threads: a request that they have is there, or it is not worth waiting for."""
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
        """Sends what can be sent now."""
        try:
            while self.unsent:
                del self.unsent[: super().send(self.unsent)]
        except (BlockingIOError, InterruptedError):
            return

    def receive_available(self) -> bytes | None:
        """For the loop: what came, nothing if it is the end, None if there is nothing yet."""
        try:
            return super().recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""


@dataclass
class PendingResponse:
    """An answer whose end the loop sends, since a moment of the monotonic clock."""

    since: float
    left: int
    done: "Future[Any]"

    def is_late(self, now: float, left: int) -> bool:
        return now > self.since + GRACE_PERIOD_S + (self.left - left) / MIN_BYTES_PER_S


class BufferingThreadWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is untyped
    """gunicorn's threaded worker, but its loop receives and sends. A connection is incoming, with a thread, sending, kept, or leaving."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.incoming: dict[TConn, RequestBuffer] = {}  # The oldest first.
        self.sending: dict[TConn, PendingResponse] = {}
        self.leaving: dict[TConn, float] = {}
        self.held = 0

    # What gunicorn calls.

    def accept(self, listener: socket.socket) -> None:
        if self.cfg.is_ssl:  # Handshakes are gunicorn's matter; we are served behind a proxy that does them.
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
        """A connection that was kept alive brings another request."""
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
        elif rest := conn.parser.unreader.take_buffered():  # The beginning of the next request came with this one.
            self.receive(conn, rest)
        else:
            super().finish_request(conn, done)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Whether more requests may come. What of a body nobody has read is here, or gunicorn would wait for it in this thread."""
        if self.cfg.is_ssl:
            return bool(super()._keepalive_after(conn, keepalive))
        return keepalive and bool(conn.parser.finish_body(max_bytes=MAX_BODY))

    def murder_pending(self) -> None:
        """Ends what took too long. gunicorn calls it every second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, incoming in list(self.incoming.items()):
            if incoming.is_late(now) or (not self.alive and now > incoming.since + LINGER_S):
                self.reject(conn, 408)
        for conn, sending in list(self.sending.items()):
            if sending.is_late(now, len(conn.sock.unsent)):
                self.close_connection(conn)
        for conn, until in list(self.leaving.items()):
            if now > until:
                self.close_connection(conn)

    # Receiving.

    def receive(self, conn: TConn, begun: bytes = b"") -> None:
        """Collects the next request of a connection, of which something may be there."""
        self.incoming[conn] = RequestBuffer(time.monotonic(), begun)
        self.held += len(begun)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_readable, conn))
        if begun:
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
        """Goes by what came: on to a thread, on waiting, or no further."""
        incoming = self.incoming[conn]
        if incoming.is_complete():
            self.dispatch(conn)
        elif incoming.is_head_too_large():
            self.reject(conn, 431)
        elif incoming.waits:
            incoming.waits = False
            self.send_bytes(conn, CONTINUE)
        if self.held > MAX_BUFFERED_BYTES:
            self.reject(max(self.incoming, key=lambda one: len(self.incoming[one].data)), 503)

    def dispatch(self, conn: TConn) -> None:
        data = self.release_connection(conn)
        conn.data_ready = True
        conn.init()
        conn.parser.unreader.unread(data)
        self.enqueue_req(conn)

    def on_writable(self, conn: TConn, _: object = None) -> None:
        """Sends on what a thread could not send, and then goes on as that thread's work ended."""
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
        """Ends a connection; whoever began to send is told why."""
        if self.incoming[conn].data:
            body = f"{MESSAGES[status]}\n".encode()
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nConnection: close\r\n"
            self.send_bytes(conn, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.linger(conn)

    def send_bytes(self, conn: TConn, text: bytes) -> None:
        """A few bytes from the loop, which waits for nobody: they fit, or the client has not read what it got before."""
        try:
            conn.sock.send(text)
        except OSError as error:
            self.log.debug("A client takes nothing: %s", error)

    def linger(self, conn: TConn) -> None:
        """Lets a client read the last answer before the connection is gone. gunicorn would wait for it in its loop."""
        self.release_connection(conn)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # It is gone already.
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
        """Takes a connection out of the loop; what came of its request."""
        incoming = self.incoming.pop(conn, None)
        known = (incoming, self.sending.pop(conn, None), self.leaving.pop(conn, None))
        if any(one is not None for one in known):
            self.poller.unregister(conn.sock)
        self.held -= len(incoming.data) if incoming else 0
        return bytes(incoming.data) if incoming else b""
