"""What every template may use: addresses of static files that change with their content, the state of the registry, numbers and times."""

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
    """What the top bar says about the registry."""

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
    """The address of a static file, with a mark of its content: browsers may keep it for a year.

    Kept, because a list page asks for the icon sprite hundreds of times.
    """
    content = (Path(str(current_app.static_folder)) / filename).read_bytes()
    return url_for("static", filename=filename, v=hashlib.sha256(content).hexdigest()[:8])


def format_money(amount: Decimal | None, currency: str | None = "USD") -> str:
    """An exact amount with its currency; unknown is never shown as nothing or zero."""
    if amount is None:
        return "unknown"
    return f"${format_decimal(amount)}" if currency in ("USD", None) else f"{format_decimal(amount)} {currency}"


def format_count(number: int | None) -> str:
    return "—" if number is None else f"{number:,}"


def format_time(moment: datetime | None) -> str:
    return "—" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def init_app(app: Flask) -> None:
    app.jinja_env.globals.update(registry_status=registry_status, static_url=static_url)
    app.jinja_env.filters.update(money=format_money, count=format_count, moment=format_time)
