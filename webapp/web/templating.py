"""Globals and filters for all templates: versioned URLs of static files, registry status, numbers and times."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

from flask import Flask, current_app, url_for

from webapp.domain.shared.money import format_decimal
from webapp.registry.database_health import ADVICE
from webapp.runtime import container


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """State of the registry for the top bar."""

    revision: int
    source: str
    as_of: datetime
    keys: str
    workers_current: int
    workers_total: int
    database: str
    advice: str


def registry_status() -> RegistryStatus:
    snapshot = container.registry().snapshot
    workers_current, workers_total = container.current().process_report.count_current(snapshot.revision)
    database = container.database_state()
    keys = "locked" if container.vault().locked else "unlocked"
    return RegistryStatus(
        snapshot.revision, snapshot.source, snapshot.as_of, keys, workers_current, workers_total, database, ADVICE.get(database, "")
    )


@cache
def static_url(filename: str) -> str:
    """Return the URL of a static file with a hash of its content, so that browsers can cache it for a year.

    Cached, because a list page requests the URL of the icon sprite hundreds of times.
    """
    content = (Path(str(current_app.static_folder)) / filename).read_bytes()
    return url_for("static", filename=filename, v=hashlib.sha256(content).hexdigest()[:8])


def format_money(amount: Decimal | None, currency: str | None = "USD") -> str:
    """Format an exact amount with its currency. An unknown amount is never shown as empty or zero."""
    if amount is None:
        return "unknown"
    return f"${format_decimal(amount)}" if currency in ("USD", None) else f"{format_decimal(amount)} {currency}"


def format_count(count: int | None) -> str:
    return "—" if count is None else f"{count:,}"


def format_time(at: datetime | None) -> str:
    return "—" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def first_upper(text: str) -> str:
    """Return a text with a capital first letter. Unlike Jinja's `capitalize`, it keeps the spelling of names in the text."""
    return text[:1].upper() + text[1:]


def as_sentence(text: str) -> str:
    """Return a message as a sentence: with a capital first letter, and a period if it ends without one."""
    return first_upper(text) + ("" if text.endswith((".", "?", "!")) else ".")


def init_app(app: Flask) -> None:
    app.jinja_env.globals.update(registry_status=registry_status, static_url=static_url)
    app.jinja_env.filters.update(money=format_money, count=format_count, moment=format_time, first_upper=first_upper, sentence=as_sentence)
