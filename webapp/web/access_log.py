"""One line in the log for each request, where the operator asks for it: what was asked in which place, and how it ended.

The place is the rule of the route and never the address itself: a set-up link has its secret in the path, a search has names in its
query. Nothing of a body or a header is written.
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
    """WSGI around everything that answers, what is answered before Flask included."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        began, status = time.perf_counter(), 500  # What the server answers for an application that raises.

        def started(line: str, *more: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, *more)

        try:
            return self._application(environ, started)
        finally:
            route = environ.get(ROUTE) or "no such address"
            facts = {
                "method": environ["REQUEST_METHOD"],
                "route": route,
                "status": status,
                "ms": round((time.perf_counter() - began) * 1000, 1),
            }
            log.info("request", extra={"facts": facts})
