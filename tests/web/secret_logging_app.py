"""An application that logs secrets in every possible way. Only tests/web/test_logs.py starts it."""

import logging
import os
from collections.abc import Iterable
from typing import Any

from webapp.app import create_app
from webapp.config.loading import load

CANARY = os.environ["CANARY"]
_desk = create_app(load(os.environ))


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/raise":
        raise RuntimeError(CANARY)  # Outside of the error handlers, so the server logs it.
    if environ["PATH_INFO"] == "/talk":
        for name in ("webapp.services.runs.connection_tests", "a.library", "_granian"):
            log = logging.getLogger(name)
            log.error("answered to Authorization: Bearer %s", CANARY)
            log.error("asked https://provider.example/v1?key=%s", CANARY)
            log.error("could not answer /runs?key=%s", CANARY)
            log.error("%d words are no number, and Bearer %s is told", "three", CANARY)
            log.error("our own secret is %s", os.environ["MODELDESK_SECRET_KEY"])
            try:
                raise RuntimeError(CANARY)
            except RuntimeError:
                log.exception("it failed")
    return _desk(environ, start_response)


app.callable = _desk  # type: ignore[attr-defined]
app.app_context = _desk.app_context  # type: ignore[attr-defined] # used by webapp.server
