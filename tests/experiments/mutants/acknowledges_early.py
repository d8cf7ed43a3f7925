"""Negative control of E1: an application that acknowledges usage before it is stored. Only that test serves it."""

import io
import os
import threading
import time
from collections.abc import Iterable
from typing import Any

from webapp.app import create_app
from webapp.config.loading import load

_desk = create_app(load(os.environ))


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] != "/api/v1/usage":
        return _desk(environ, start_response)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    deferred_environ = {**environ, "wsgi.input": io.BytesIO(body)}

    def store() -> None:
        time.sleep(0.2)
        list(_desk(deferred_environ, lambda *_: None))

    threading.Thread(target=store, daemon=True).start()
    start_response("201 Created", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]


app.callable = _desk  # type: ignore[attr-defined]
app.app_context = _desk.app_context  # type: ignore[attr-defined] # webapp.server uses it
