"""Negative control of E5: an application that queries the database for each request. Only that test serves it."""

from collections.abc import Iterable
from typing import Any

from experiments.fast_clock_app import app as _desk

from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.runtime.container import KEY


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    try:
        if environ["PATH_INFO"].startswith("/api/"):
            _desk.extensions[KEY].source.read_revision()
    except DatabaseUnreachable:
        start_response("503 Service Unavailable", [("Content-Length", "0")])
        return [b""]
    return _desk(environ, start_response)


app.callable = _desk  # type: ignore[attr-defined]
app.app_context = _desk.app_context  # type: ignore[attr-defined] # webapp.server uses it
