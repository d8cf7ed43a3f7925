"""Reading of request bodies with limits: size per address, time, number of pieces, and memory of all bodies of a worker."""

import asyncio
import io
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from granian.rsgi import ProtocolClosed

# Every client gets the grace period. After that, the body must have arrived at the minimum rate.
GRACE_PERIOD_S, MIN_BYTES_PER_S = 30.0, 8_192
SMALL_BODY = 65_536  # Bytes that granian collects on its own, which is faster. They have to arrive within the grace period.
MAX_PIECES, MIN_MEAN_PIECE = 10_000, 64  # The second in bytes.
MAX_HELD_BYTES = 64_000_000  # Bytes of all bodies of a worker. Beyond that, the largest unfinished one is refused.
STOPPING_S = 2.0  # How long an unfinished body can still arrive when the worker ends.
REASONS = {
    HTTPStatus.BAD_REQUEST: "The body broke off, or its pieces make no sense.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive in time. Send it again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too much is being sent at once. Send it again in a few seconds.",
}


class RefusedBody(Exception):
    """A body that is not passed to the application. `status` is the status of the response."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(REASONS[status])
        self.status = status


@dataclass(eq=False, slots=True)
class Body:
    """A request body. One that is too large stays incomplete: it has no content, and `size` is what was declared or received."""

    content: io.BytesIO = field(default_factory=io.BytesIO)
    size: int = 0
    held: int = 0  # Bytes in `content` that count against the memory of the worker.
    complete: bool = False
    pieces: int = 0
    ends: int = 0
    evicted: bool = False
    timeout: asyncio.Timeout | None = None

    @property
    def is_fragmented(self) -> bool:
        return self.pieces > MAX_PIECES and self.size < MIN_MEAN_PIECE * self.pieces

    def set_deadline(self, at: float) -> None:
        """Set the time of the event loop at which reading ends."""
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(at)


class BodyReader:
    """Reads the bodies of one worker in its event loop."""

    def __init__(self) -> None:
        self._held = 0
        self._unfinished: set[Body] = set()

    async def read(self, protocol: Any, *, declared: int | None, maximum: int) -> Body:
        """Return the body, to be released after the response. `declared` is its `Content-Length`. Raises `RefusedBody`."""
        body = Body()
        if declared is not None and declared > maximum:
            body.size = declared
            return body
        self._unfinished.add(body)
        try:
            await self._receive(body, protocol, declared, maximum)
        except BaseException:
            self.release(body)
            raise
        finally:
            self._unfinished.discard(body)
        body.content.seek(0)
        return body

    def release(self, body: Body) -> None:
        """Forget the content of the body."""
        self._held -= body.held
        body.content, body.held = io.BytesIO(), 0

    def hurry(self) -> None:
        """Refuse unfinished bodies shortly, because the worker ends."""
        for body in self._unfinished:
            body.set_deadline(asyncio.get_running_loop().time() + STOPPING_S)

    async def _receive(self, body: Body, protocol: Any, declared: int | None, maximum: int) -> None:
        start = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(start + GRACE_PERIOD_S) as body.timeout:
                if declared is not None and declared <= SMALL_BODY:
                    self._add(body, await protocol())
                    body.complete = True
                else:
                    await self._receive_pieces(body, protocol, start, maximum)
        except TimeoutError:
            raise RefusedBody(HTTPStatus.SERVICE_UNAVAILABLE if body.evicted else HTTPStatus.REQUEST_TIMEOUT) from None
        except ProtocolClosed:
            raise RefusedBody(HTTPStatus.BAD_REQUEST) from None
        if body.complete and declared is not None and body.size < declared:
            raise RefusedBody(HTTPStatus.BAD_REQUEST)

    async def _receive_pieces(self, body: Body, protocol: Any, start: float, maximum: int) -> None:
        """granian passes an empty piece at the end, and one more if the body broke off or its chunks are malformed."""
        async for piece in protocol:
            body.ends += not piece
            self._add(body, piece)
            if body.size > maximum:
                self.release(body)
                return
            if not body.evicted:
                body.set_deadline(start + GRACE_PERIOD_S + body.size / MIN_BYTES_PER_S)
        if body.ends > 1:
            raise RefusedBody(HTTPStatus.BAD_REQUEST)
        body.complete = True

    def _add(self, body: Body, piece: bytes) -> None:
        body.pieces += bool(piece)
        body.size += len(piece)
        body.content.write(piece)
        body.held += len(piece)
        self._held += len(piece)
        if body.is_fragmented:
            raise RefusedBody(HTTPStatus.BAD_REQUEST)
        if self._held > MAX_HELD_BYTES:
            largest = max(self._unfinished, key=lambda unfinished: unfinished.size)
            largest.evicted = True
            largest.set_deadline(asyncio.get_running_loop().time())
