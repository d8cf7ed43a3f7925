"""Reads the prices of all models from the database, each rate and window from its columns."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, String, func, select, type_coerce

from webapp.domain.pricing.pricing import Price, PriceSource, Rate, Window
from webapp.models import Price as PriceRow
from webapp.models import PriceRate, PriceVerification


def fetch_rows(connection: Connection, question: Select[*tuple[Any, ...]]) -> Iterable[Sequence[Any]]:
    """All rows. Python's SQLite gives the other threads a turn at every single row: while they are busy, reading some thousands of rows
    one by one takes half a minute. So SQLite hands them over in one piece, as JSON of what it stores."""
    if connection.dialect.name != "sqlite":
        return connection.execute(question).all()
    inner = question.subquery()
    values = func.json_array(*(type_coerce(column, String) for column in inner.c))
    piece = connection.execute(select(func.json_group_array(values, type_=String))).scalar_one()
    columns = [list(column) for column in zip(*json.loads(piece), strict=True)]
    for place, column in enumerate(inner.c):
        processed = column.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None)
        if columns and processed is not None:
            columns[place] = [processed(value) for value in columns[place]]
    return zip(*columns, strict=True)


def load_prices(connection: Connection) -> dict[int, list[Price]]:
    rates, verified = _load_rates(connection), _load_verification_times(connection)
    prices: dict[int, list[Price]] = defaultdict(list)
    p = PriceRow
    for number, model_id, state, effective_from, currency, kind, name, url, verified_at, note, corrects in fetch_rows(
        connection,
        select(
            p.id,
            p.model_id,
            p.state,
            p.effective_from,
            p.currency,
            p.source_kind,
            p.source_name,
            p.source_url,
            p.verified_at,
            p.note,
            p.corrects_id,
        ),
    ):
        prices[model_id].append(
            Price(
                state=state,
                effective_from=effective_from,
                currency=currency,
                rates=tuple(rates.get(number, ())),
                source=PriceSource(kind, name, url, verified.get(number, verified_at)),
                id=number,
                corrects=corrects,
                note=note,
            )
        )
    return prices


def _load_verification_times(connection: Connection) -> dict[int, datetime]:
    """When each price was last compared with its source by somebody."""
    v = PriceVerification
    rows = connection.execute(select(v.price_id, v.created_at).order_by(v.id))
    return {row.price_id: row.created_at for row in rows}


def _load_rates(connection: Connection) -> dict[int, list[Rate]]:
    rates: dict[int, list[Rate]] = defaultdict(list)
    r = PriceRate
    amount = type_coerce(r.amount, String)
    for _, price_id, *columns in sorted(
        fetch_rows(connection, select(r.id, r.price_id, r.meter, amount, r.per, r.above, r.service_tier, r.window_key)), key=itemgetter(0)
    ):
        rates[price_id].append(_cached_rate(*columns))
    return rates


class RateColumns(NamedTuple):
    """A row of `price_rates`. `above` is -1 for none, `window_key` empty for none."""

    meter: str
    amount: Decimal
    per: int
    above: int
    service_tier: str
    window_key: str


@lru_cache(maxsize=20_000)
def _cached_rate(meter: str, amount: str, per: int, above: int, service_tier: str, window_key: str) -> Rate:  # noqa: PLR0913 # the columns of a rate
    """Many prices have the same rate: it is made once, and kept once."""
    return rate_from_columns(RateColumns(meter, Decimal(amount), per, above, service_tier, window_key))


def rate_from_columns(columns: RateColumns) -> Rate:
    """The rate that a row of `price_rates` holds."""
    window = parse_window(columns.window_key) if columns.window_key else None
    return Rate(columns.meter, columns.amount, columns.per, None if columns.above < 0 else columns.above, columns.service_tier, window)


def window_key(window: Window | None) -> str:
    """A window as the text that its column holds: `0,1|16:30-00:30`."""
    if window is None:
        return ""
    return f"{','.join(map(str, window.days))}|{window.start:%H:%M}-{window.end:%H:%M}"


def parse_window(key: str) -> Window:
    days, _, hours = key.partition("|")
    start, _, end = hours.partition("-")
    return Window(tuple(int(day) for day in days.split(",") if day), time.fromisoformat(start), time.fromisoformat(end))
