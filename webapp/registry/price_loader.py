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

from webapp.domain.pricing.pricing import Price, PriceSource, Rate
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
    for price_id, model_id, state, effective_from, currency, kind, name, url, verified_at, note, corrects, cancels in fetch_rows(
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
            )
        )
    return prices


def _load_verification_times(connection: Connection) -> dict[int, datetime]:
    """Return the latest verification time of each price, by price id."""
    verification = PriceVerification
    rows = connection.execute(select(verification.price_id, verification.created_at).order_by(verification.id))
    return {row.price_id: row.created_at for row in rows}


def _load_rates(connection: Connection) -> dict[int, list[Rate]]:
    rates: dict[int, list[Rate]] = defaultdict(list)
    rate = PriceRate
    amount = type_coerce(rate.amount, String)
    for _, price_id, *columns in sorted(
        fetch_rows(
            connection, select(rate.id, rate.price_id, rate.meter, amount, rate.per, rate.above, rate.service_tier, rate.window_key)
        ),
        key=itemgetter(0),
    ):
        rates[price_id].append(_cached_rate(*columns))
    return rates


class RateColumns(NamedTuple):
    """A row of `price_rates`. No threshold is `above` -1, and no time window is an empty `window_key`."""

    meter: str
    amount: Decimal
    per: int
    above: int
    service_tier: str
    window_key: str


@lru_cache(maxsize=20_000)
def _cached_rate(meter: str, amount: str, per: int, above: int, service_tier: str, window_key: str) -> Rate:  # noqa: PLR0913 # the columns of a rate
    """Return a rate that all prices with the same columns share."""
    return rate_from_columns(RateColumns(meter, Decimal(amount), per, above, service_tier, window_key))


def rate_from_columns(columns: RateColumns) -> Rate:
    """Return the rate of a `price_rates` row."""
    window = parse_window(columns.window_key) if columns.window_key else None
    return Rate(columns.meter, columns.amount, columns.per, None if columns.above < 0 else columns.above, columns.service_tier, window)


def window_key(window: Window | None) -> str:
    """Return the text that stores a time window, such as `0,1|16:30-00:30`."""
    if window is None:
        return ""
    return f"{','.join(map(str, window.days))}|{window.start:%H:%M}-{window.end:%H:%M}"


def parse_window(key: str) -> Window:
    days, _, hours = key.partition("|")
    start, _, end = hours.partition("-")
    return Window(tuple(int(day) for day in days.split(",") if day), time.fromisoformat(start), time.fromisoformat(end))
