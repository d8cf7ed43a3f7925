"""One JSON line per event on standard error, with the request id; libraries that log bodies or addresses are kept quiet."""

import json
import logging
import sys
from datetime import UTC, datetime

from webapp.observability.context import request_id

# These print addresses, headers or prompts at INFO or DEBUG (drivers.md, section 4).
QUIET = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "openai",
    "anthropic",
    "google_genai",
    "mistralai.client",
    "ollama",
    "alembic",
)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON. Tracebacks are folded into the line, so that a log stays a list of events."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            event["request_id"] = current
        if record.exc_info and record.exc_info[0] is not None:
            event["error"] = record.exc_info[0].__name__
            event["at"] = _frames(record)
        return json.dumps(event, ensure_ascii=False)


def _frames(record: logging.LogRecord) -> list[str]:
    """Where it happened, without the values: a message or a local variable may hold a secret."""
    frames, trace = [], record.exc_info[2] if record.exc_info else None
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-8:]


def configure(level: int = logging.INFO) -> None:
    """Sends all logs to standard error as JSON lines. Safe to call more than once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger("webapp")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
