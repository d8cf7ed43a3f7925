"""The price in force, in SQL that SQLite and PostgreSQL read alike: for filters and for sorting, never for costs."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, bindparam, cast, exists, func, select
from sqlalchemy.orm import aliased

from webapp.domain.pricing.pricing import STANDARD
from webapp.models import Model, Price, PriceRate, PriceVerification
from webapp.models.base import UtcDateTime, utc_now


def current_time() -> ColumnElement[Any]:
    """Asked when the statement runs, not when it is built."""
    return bindparam("now", callable_=utc_now, type_=UtcDateTime(), unique=True)


def not_corrected() -> ColumnElement[bool]:
    """A price that no later row corrects."""
    correction = aliased(Price)
    return ~exists(select(correction.id).where(correction.corrects_id == Price.id))


def current_price_id() -> Select[Any]:
    """The number of the price of a model that is in force."""
    query = select(Price.id).where(Price.model_id == Model.id, Price.effective_from <= current_time(), not_corrected())
    return query.order_by(Price.effective_from.desc(), Price.id.desc()).limit(1).correlate(Model)


def current_price_state() -> ColumnElement[str]:
    """Priced, free or unknown; unknown also where there is no price yet."""
    query = current_price_id().with_only_columns(Price.state)
    return func.coalesce(query.scalar_subquery(), "unknown")


def current_rate(meter: str) -> ColumnElement[float]:
    """About what a unit of this meter costs now, to sort by: exact amounts are shown from the registry."""
    query = select(cast(PriceRate.amount, Float) / PriceRate.per).where(
        PriceRate.price_id == current_price_id().scalar_subquery(),
        PriceRate.meter == meter,
        PriceRate.above == -1,
        PriceRate.service_tier == STANDARD,
        PriceRate.window_key == "",
    )
    return query.limit(1).correlate(Model).scalar_subquery()


def is_stale(days: int) -> ColumnElement[bool]:
    """Whether the price in force of a model was neither entered nor verified for that many days. Models without one are not stale."""
    since = bindparam("since", callable_=lambda: utc_now() - timedelta(days=days), type_=UtcDateTime(), unique=True)
    price, check = aliased(Price), PriceVerification
    verified = exists(select(check.id).where(check.price_id == price.id, check.created_at >= since))
    old = (price.created_at < since) & (func.coalesce(price.verified_at, price.created_at) < since) & ~verified
    return exists(select(price.id).where(price.id == current_price_id().scalar_subquery(), old).correlate(Model))


def is_scheduled() -> ColumnElement[bool]:
    """Whether a model has a price that begins later."""
    price = aliased(Price)
    return exists(select(price.id).where(price.model_id == Model.id, price.effective_from > current_time()).correlate(Model))


def is_pinned() -> ColumnElement[bool]:
    """Whether the price in force was entered by hand, so that no catalogue replaces it."""
    return current_price_id().with_only_columns(Price.source_kind).scalar_subquery() == "manual"


def is_in_force() -> ColumnElement[bool]:
    """Whether a price is the one in force of its model."""
    later = aliased(Price)
    newer = exists(
        select(later.id).where(
            later.model_id == Price.model_id, later.effective_from > Price.effective_from, later.effective_from <= current_time()
        )
    )
    return (Price.effective_from <= current_time()) & not_corrected() & ~newer
