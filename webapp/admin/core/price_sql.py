"""Price in force as SQL for SQLite and PostgreSQL. It serves filters and sorting, never costs."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, and_, bindparam, cast, exists, func, select
from sqlalchemy.orm import aliased

from webapp.domain.pricing.service_tiers import STANDARD
from webapp.models import Model, Price, PriceRate, PriceVerification
from webapp.models.base import UtcDateTime, utc_now


def current_time() -> ColumnElement[Any]:
    """Return the time when the statement runs, not when it is built."""
    return bindparam("now", callable_=utc_now, type_=UtcDateTime(), unique=True)


def is_canceled() -> ColumnElement[bool]:
    """Return the condition for a canceled price, and for the row that cancels it."""
    cancellation = aliased(Price)
    return Price.cancels | exists(select(cancellation.id).where(cancellation.corrects_id == Price.id, cancellation.cancels))


def is_effective(price: Any = Price) -> ColumnElement[bool]:
    """Return the condition for a price that applies from its start: no later row corrects it, and it cancels no other price."""
    correction = aliased(Price)
    return and_(~price.cancels, ~exists(select(correction.id).where(correction.corrects_id == price.id)))


def current_price_id() -> Select[Any]:
    """Return a query for the id of a model's price in force."""
    query = select(Price.id).where(Price.model_id == Model.id, Price.effective_from <= current_time(), is_effective())
    return query.order_by(Price.effective_from.desc(), Price.id.desc()).limit(1).correlate(Model)


def current_price_state() -> ColumnElement[str]:
    """Return the state of a model's price: priced, free or unknown. It is unknown if the model has no price yet."""
    query = current_price_id().with_only_columns(Price.state)
    return func.coalesce(query.scalar_subquery(), "unknown")


def current_rate(meter: str) -> ColumnElement[float]:
    """Return the approximate current price per unit of a meter, for sorting. Pages show exact amounts from the registry."""
    query = select(cast(PriceRate.amount, Float) / PriceRate.per).where(
        PriceRate.price_id == current_price_id().scalar_subquery(),
        PriceRate.meter == meter,
        PriceRate.above == -1,
        PriceRate.service_tier == STANDARD,
        PriceRate.window_key == "",
        PriceRate.when_key == "",
    )
    return query.limit(1).correlate(Model).scalar_subquery()


def is_stale(days: int) -> ColumnElement[bool]:
    """Match models whose price in force was neither entered nor verified in the last `days` days. Models without a price do not match."""
    since = bindparam("since", callable_=lambda: utc_now() - timedelta(days=days), type_=UtcDateTime(), unique=True)
    price, check = aliased(Price), PriceVerification
    verified = exists(select(check.id).where(check.price_id == price.id, check.created_at >= since))
    old = (price.created_at < since) & (func.coalesce(price.verified_at, price.created_at) < since) & ~verified
    return exists(select(price.id).where(price.id == current_price_id().scalar_subquery(), old).correlate(Model))


def is_scheduled() -> ColumnElement[bool]:
    """Match models that have a scheduled price."""
    price = aliased(Price)
    scheduled = select(price.id).where(price.model_id == Model.id, price.effective_from > current_time(), is_effective(price))
    return exists(scheduled.correlate(Model))


def is_pinned() -> ColumnElement[bool]:
    """Match models whose price in force was entered by hand, so that no catalog replaces it."""
    return current_price_id().with_only_columns(Price.source_kind).scalar_subquery() == "manual"


def is_in_force() -> ColumnElement[bool]:
    """Match prices that are in force for their model."""
    later = aliased(Price)
    newer = exists(
        select(later.id).where(
            later.model_id == Price.model_id,
            later.effective_from > Price.effective_from,
            later.effective_from <= current_time(),
            is_effective(later),
        )
    )
    return (Price.effective_from <= current_time()) & is_effective() & ~newer
