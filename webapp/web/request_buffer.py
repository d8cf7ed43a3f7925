"""Buffer for one incoming request: detects its end and enforces limits on size and time.

It does not validate. A malformed request counts as complete, and the server's parser rejects it.
"""

import re

# Every client gets the grace period. After that, the data must have arrived at the minimum rate.
GRACE_PERIOD_S, MIN_BYTES_PER_S = 10.0, 8_192
MAX_HEAD = 65_536
MAX_BODY = 11_000_000  # The largest import file plus its form. Larger bodies are passed on unread and rejected there.
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked")
_EXPECTS_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue")
_CHUNK_LINE = re.compile(rb"([0-9a-f]{1,8})[ \t]*(;[^\r\n]*)?\r\n", re.IGNORECASE)
_MAX_CHUNK_LINE = 300


class RequestBuffer:
    """The received part of one request. `since` is its start time on the monotonic clock."""

    __slots__ = ("_body", "_end", "_piece", "data", "since", "waits")

    def __init__(self, since: float, data: bytes = b"") -> None:
        self.since, self.data = since, bytearray(data)
        self.waits = False  # The client waits for "100 Continue".
        self._body: int | None = None  # Offset of the body, once the head is complete.
        self._end: int | None = None  # Total length of the request, if declared.
        self._piece = 0  # Offset of the next chunk.

    def add(self, data: bytes) -> None:
        self.data += data
        self.waits = False  # A client that sends data is not waiting.

    def is_late(self, now: float) -> bool:
        return now > self.since + GRACE_PERIOD_S + len(self.data) / MIN_BYTES_PER_S

    def is_head_too_large(self) -> bool:
        return self._body is None and len(self.data) > MAX_HEAD

    def is_complete(self) -> bool:
        """Return whether the request can be dispatched. Call it after each `add`."""
        if self._body is None and not self._read_head():
            return False
        return len(self.data) >= self._end if self._end is not None else self._is_chunked_body_complete()

    def _read_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._body = self._piece = end + 4
        head = bytes(self.data[: self._body]).lower()
        self.waits = _EXPECTS_CONTINUE.search(head) is not None and len(self.data) == self._body
        if _CHUNKED.search(head) is None:
            match = _LENGTH.search(head)
            length = int(match[1]) if match else 0
            self._end = self._body + (length if length <= MAX_BODY else 0)
        return True

    def _is_chunked_body_complete(self) -> bool:
        while len(self.data) < MAX_BODY:
            line = _CHUNK_LINE.match(self.data, self._piece)
            if line is None:  # The chunk line is incomplete or malformed.
                return self.data.find(b"\n", self._piece) >= 0 or len(self.data) > self._piece + _MAX_CHUNK_LINE
            size = int(line[1], 16)
            if size == 0:
                return self.data.find(b"\r\n\r\n", line.end() - 2) >= 0
            if len(self.data) < line.end() + size + 2:
                return False
            self._piece = line.end() + size + 2
        return True
