"""Logging as JSON lines on standard error, with the request id. Libraries that log bodies or URLs are limited to warnings."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from webapp.observability.request_id import request_id

# These log URLs, headers or prompts at INFO or DEBUG (drivers.md, section 4).
QUIET_LOGGERS = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "anthropic", "google_genai", "mistralai.client", "ollama", "alembic")
Redactor = Callable[[str], str]


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON. The traceback is part of the line, so that each line is one event.

    `clean` removes secrets from each message, as a last line of defense. Code must not log secrets in the first place.
    """

    def __init__(self, clean: Redactor) -> None:
        super().__init__()
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(_message(record)),
        }
        event |= getattr(record, "facts", {})
        if current_id := request_id.get():
            event["request_id"] = current_id
        if record.exc_info and record.exc_info[0] is not None:
            event["error"] = record.exc_info[0].__name__
            event["at"] = _frames(record)
        return json.dumps(event, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # Python would print the message and its arguments without redaction.
        return str(record.msg)


def _frames(record: logging.LogRecord) -> list[str]:
    """Return the locations of the traceback, without values: messages and local variables can contain secrets."""
    frames, trace = [], record.exc_info[2] if record.exc_info else None
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-8:]


def configure(clean: Redactor, level: int = logging.INFO) -> None:
    """Send all logs, including those of libraries, to standard error as JSON lines. Safe to call more than once."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, JsonFormatter)]:
        root.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(clean))
    root.addHandler(handler)
    logging.getLogger("webapp").setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
