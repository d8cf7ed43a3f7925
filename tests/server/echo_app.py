"""An application that returns what it was asked as JSON, with Modeldesk behind it. Only tests of the server start it."""

import json
import os
import time
from collections.abc import Iterable
from typing import Any

from webapp.app import create_app
from webapp.config.loading import load
from webapp.server import bodies, supervisor

_desk = create_app(load(os.environ))
# Tests wait for these limits, which are longer in production. The workers are forks of the process that imports this module.
bodies.GRACE_PERIOD_S = float(os.environ.get("GRACE_PERIOD", "2"))
bodies.MAX_HELD_BYTES = int(os.environ.get("MAX_HELD_BYTES", "64_000_000"))
supervisor.MAX_SILENT_TICKS = int(os.environ.get("MAX_SILENT_TICKS", "30"))
supervisor.FINISH_S = float(os.environ.get("FINISH", "30"))


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/sleep":
        time.sleep(float(query))
    elif path == "/block":
        sum(range(int(query)))  # Holds the interpreter: no other thread runs.
    elif path == "/status":
        start_response(f"{query} As asked", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return []
    elif path == "/large":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return [b"x" * int(query)]
    elif not path.startswith("/echo"):
        return _desk(environ, start_response)
    body = environ["wsgi.input"].read()
    seen = {name: value for name, value in environ.items() if not name.startswith("wsgi.")}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"environ": seen, "body": len(body), "pid": os.getpid()}).encode()]


app.app_context = _desk.app_context  # type: ignore[attr-defined] # used by webapp.server
