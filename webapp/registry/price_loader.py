"""Reading the prices of all models from the database, with rates and time windows."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, String, func, select, type_coerce

from webapp.domain.pricing.pricing import Conditions, Price, PriceSource, Rate
from webapp.domain.pricing.windows import Window
from webapp.models import Price as PriceRow
from webapp.models import PriceRate, PriceVerification


def fetch_rows(connection: Connection, query: Select[*tuple[Any, ...]]) -> Iterable[Sequence[Any]]:
    """Return all rows of a query.

    Python's SQLite module lets other threads run after every single row. While they are busy, reading thousands of rows takes half a
    minute. SQLite therefore returns all rows in one JSON text of the stored values.
    """
    if connection.dialect.name != "sqlite":
        return connection.execute(query).all()
    inner = query.subquery()
    values = func.json_array(*(type_coerce(column, String) for column in inner.c))
    document = connection.execute(select(func.json_group_array(values, type_=String))).scalar_one()
    columns = [list(column) for column in zip(*json.loads(document), strict=True)]
    for index, column in enumerate(inner.c):
        processor = column.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None)
        if columns and processor is not None:
            columns[index] = [processor(value) for value in columns[index]]
    return zip(*columns, strict=True)


def load_prices(connection: Connection) -> dict[int, list[Price]]:
    rates, verification_times = _load_rates(connection), _load_verification_times(connection)
    prices: dict[int, list[Price]] = defaultdict(list)
    price = PriceRow
    for (
        price_id,
        model_id,
        state,
        effective_from,
        currency,
        kind,
        name,
        url,
        verified_at,
        note,
        corrects,
        cancels,
        media_at_text_rate,
        minimum,
        surcharge_percent,
    ) in fetch_rows(
        connection,
        select(
            price.id,
            price.model_id,
            price.state,
            price.effective_from,
            price.currency,
            price.source_kind,
            price.source_name,
            price.source_url,
            price.verified_at,
            price.note,
            price.corrects_id,
            price.cancels,
            price.media_at_text_rate,
            price.minimum,
            price.surcharge_percent,
        ),
    ):
        prices[model_id].append(
            Price(
                state=state,
                effective_from=effective_from,
                currency=currency,
                rates=tuple(rates.get(price_id, ())),
                source=PriceSource(kind, name, url, verification_times.get(price_id, verified_at)),
                id=price_id,
                corrects=corrects,
                note=note,
                cancels=cancels,
                media_at_text_rate=media_at_text_rate,
                minimum=minimum,
                surcharge_percent=surcharge_percent,
            )
        )
    return prices


def _load_verification_times(connection: Connection) -> dict[int, datetime]:
    """Return the latest verification time of each price, by price id."""
    verification = PriceVerification
    rows = connection.execute(select(verification.price_id, verification.created_at).order_by(verification.id)).all()
    return {row.price_id: row.created_at for row in rows}


def _load_rates(connection: Connection) -> dict[int, list[Rate]]:
    rates: dict[int, list[Rate]] = defaultdict(list)
    rate = PriceRate
    amount = type_coerce(rate.amount, String)
    columns = (rate.meter, amount, rate.per, rate.above, rate.service_tier, rate.window_key, rate.when_key)
    for _, price_id, *values in sorted(fetch_rows(connection, select(rate.id, rate.price_id, *columns)), key=itemgetter(0)):
        rates[price_id].append(_cached_rate(*values))
    return rates


class RateColumns(NamedTuple):
    """A row of `price_rates`. No threshold is `above` -1. Without a time window or conditions, their key is empty."""

    meter: str
    amount: Decimal
    per: int
    above: int
    service_tier: str
    window_key: str
    when_key: str


@lru_cache(maxsize=20_000)
def _cached_rate(*columns: Any) -> Rate:  # The columns of a rate, its amount as text.
    """Return a rate that all prices with the same columns share."""
    stored = RateColumns(*columns)
    return rate_from_columns(stored._replace(amount=Decimal(stored.amount)))


def columns_from_rate(rate: Rate) -> RateColumns:
    """Return the `price_rates` row of a rate."""
    above = -1 if rate.above is None else rate.above
    return RateColumns(rate.meter, rate.amount, rate.per, above, rate.service_tier, window_key(rate.window), when_key(rate.when))


def rate_from_columns(columns: RateColumns) -> Rate:
    """Return the rate of a `price_rates` row."""
    return Rate(
        meter=columns.meter,
        amount=columns.amount,
        per=columns.per,
        above=None if columns.above < 0 else columns.above,
        service_tier=columns.service_tier,
        window=parse_window(columns.window_key) if columns.window_key else None,
        when=parse_conditions(columns.when_key) if columns.when_key else (),
    )


def window_key(window: Window | None) -> str:
    """Return the text that stores a time window, such as `0,1|16:30-00:30` or `5,6|16:30-00:30|Asia/Shanghai`."""
    if window is None:
        return ""
    zone = f"|{window.tz}" if window.tz else ""
    return f"{','.join(map(str, window.days))}|{window.start:%H:%M}-{window.end:%H:%M}{zone}"


def parse_window(key: str) -> Window:
    days, hours, *zone = key.split("|")
    start, _, end = hours.partition("-")
    weekdays = tuple(int(day) for day in days.split(",") if day)
    return Window(weekdays, time.fromisoformat(start), time.fromisoformat(end), zone[0] if zone else None)


def when_key(when: Conditions) -> str:
    """Return the text that stores conditions: one line per pair, such as `quality=high`. Neither part contains a line break."""
    return "\n".join(f"{name}={value}" for name, value in when)


def parse_conditions(key: str) -> Conditions:
    pairs = (line.partition("=") for line in key.split("\n"))
    return tuple((name, value) for name, _, value in pairs)
