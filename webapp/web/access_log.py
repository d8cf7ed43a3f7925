"""Optional access log: one line per request with its method, route, status and duration.

The line has the URL rule and never the URL: the path of a set-up link holds a secret, and a search query can hold names. Bodies and
headers are not logged.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

ROUTE = "modeldesk.route"
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
log = logging.getLogger(__name__)


class AccessLog:
    """WSGI middleware that logs every request, including those answered before Flask."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start, status = time.perf_counter(), 500  # The server responds with 500 if the application raises.

        def started(line: str, *more: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, *more)

        try:
            return self._application(environ, started)
        finally:
            route = environ.get(ROUTE) or "no such address"
            fields = {
                "method": environ["REQUEST_METHOD"],
                "route": route,
                "status": status,
                "ms": round((time.perf_counter() - start) * 1000, 1),
            }
            log.info("request", extra={"facts": fields})
