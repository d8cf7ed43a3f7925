"""HTTP client for the one SDK that still uses httpx. Its requests pass through the transport of `core/http.py`."""

from collections.abc import Iterator, Mapping

import httpx
import httpx2

from webapp.drivers.core.http import GuardedTransport
from webapp.security.urlguard import OutboundPolicy


class _HttpxStream(httpx.SyncByteStream):
    def __init__(self, body: httpx2.SyncByteStream):
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    def close(self) -> None:
        self._body.close()


class HttpxTransport(httpx.BaseTransport):
    """Translates requests and responses. The guarded transport below it makes every check."""

    def __init__(self, policy: OutboundPolicy, headers: Mapping[str, str]):
        self._transport = GuardedTransport(policy, headers)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        translated = httpx2.Request(request.method, str(request.url), headers=list(request.headers.multi_items()), content=request.read())
        status, headers, body = self._transport.exchange(translated)
        return httpx.Response(status, headers=headers, stream=_HttpxStream(body))
