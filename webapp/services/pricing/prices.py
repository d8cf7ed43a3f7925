"""Prices: append-only. A wrong price is corrected by a new row that names it, so that past prices never change silently."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from webapp.domain.catalog.input_schemas import PriceEntry, entry_from, validate_price
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.pricing.pricing import PriceSource, timeline
from webapp.domain.pricing.serializers import price_document
from webapp.domain.shared.errors import Conflict, FieldError, Invalid, NotFound
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import MAX_ID, Model, Price, PriceRate, PriceVerification
from webapp.registry import revision
from webapp.registry.price_loader import RateColumns, columns_from_rate, rate_from_columns
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import models
from webapp.services.catalog.registry_batch import PendingPrice, open_batch


def add(session: Session, model_id: int, values: Mapping[str, object], *, actor: str, confirmed: Sequence[str] = ()) -> Price:
    """Add a dated price to a model. `confirmed` holds the confirmed warnings, which are stored in the audit log.

    Raises `Invalid`, or `Conflict` if a price already starts at that time.
    """
    entry = validate_price(values)
    revision.bump(session)
    model = models.find(session, model_id)
    entry = _with_free_start(session, model, entry)
    price = to_row(entry, model, actor)
    session.add(price)
    session.flush()
    after = price_document(to_domain(price)) | ({"confirmed": list(confirmed)} if confirmed else {})
    audit_log.record(
        session, "registry:price:add", actor=actor, target=Target("model", model.id, model.ref), change=AuditChange(None, after)
    )
    return price


def import_price(session: Session, model: Model, entry: PriceEntry, *, actor: str, corrected: Price | None = None) -> Price:
    """Add a price with its source as reported, for imports. The caller has checked the start time.

    `corrected` is the price that it corrects, if that one can be new. In an open batch, the price has no id before the batch stores it.
    """
    revision.bump(session)
    price = to_row(entry, model, actor)
    with open_batch(session) as batch:
        batch.add_price(PendingPrice(price, model, corrected))
        audit_log.record(
            session,
            "registry:price:add",
            actor=actor,
            target=partial(models.target, model),
            change=lambda: AuditChange(None, price_document(to_domain(price))),
        )
    return price


def cancel(session: Session, price_id: int, *, actor: str, model_id: int | None = None) -> Price:
    """Cancel a scheduled price: add a row that corrects it with the rates in force before, or as unknown if there was no price before.

    With `model_id`, the price must be of that model. Raises `NotFound`, or `Conflict` if the price started, was corrected or canceled.
    """
    revision.bump(session)
    price = _find(session, price_id, model_id)
    _require_cancelable(session, price)
    before, canceled = price_before(session, price), to_domain(price)
    replacement = before or PriceValue("unknown", price.effective_from, price.currency, ())
    entry = entry_from(replacement, {"kind": "manual"}, corrects=price.id)._replace(effective_from=price.effective_from, cancels=True)
    cancellation = to_row(entry, price.model, actor)
    session.add(cancellation)
    session.flush()
    change = AuditChange(price_document(canceled), price_document(to_domain(cancellation)))
    audit_log.record(session, "registry:price:cancel", actor=actor, target=Target("model", price.model_id, price.model.ref), change=change)
    return cancellation


def price_before(session: Session, price: Price) -> PriceValue | None:
    """Return the price that is in force until this one starts, or None."""
    earlier = [value for value in timeline(history(session, price.model)) if value.effective_from < price.effective_from]
    return earlier[-1] if earlier else None


def _require_cancelable(session: Session, price: Price) -> None:
    correction = session.execute(select(Price).where(Price.corrects_id == price.id)).scalar_one_or_none()
    if price.cancels or (correction is not None and correction.cancels):
        raise Conflict("That price was already canceled.", code="canceled")
    if correction is not None:
        raise Conflict("That price was corrected: cancel the correction.", code="corrected")
    if price.effective_from <= audit_log.now():
        raise Conflict("That price has started, so it cannot be canceled. Add a new price, or correct this one.", code="started")


def _find(session: Session, price_id: int, model_id: int | None) -> Price:
    """Return the price. With `model_id`, it must be of that model. Raises `NotFound`."""
    price = session.get(Price, price_id) if price_id <= MAX_ID else None
    if price is None or model_id not in (None, price.model_id):
        raise NotFound("There is no such price.")
    return price


def verify(session: Session, price_id: int, *, actor: str, model_id: int | None = None) -> Price:
    """Record that a price was compared with its source and is correct. With `model_id`, the price must be of that model.

    Raises `NotFound`, or `Conflict` if the price was corrected.
    """
    revision.bump(session)
    price = _find(session, price_id, model_id)
    if session.execute(select(Price.id).where(Price.corrects_id == price.id)).first():
        raise Conflict("That price was corrected: verify the correction.", code="corrected")
    session.add(PriceVerification(price_id=price.id, verified_by=actor))
    target = Target("model", price.model_id, price.model.ref)
    change = AuditChange(None, {"price": price.id, "effective_from": format_timestamp(price.effective_from)})
    audit_log.record(session, "registry:price:verify", actor=actor, target=target, change=change)
    return price


def latest_verifications(session: Session, model: Model) -> Mapping[int, PriceVerification]:
    """Return the latest verification of each price of a model, by price id."""
    query = select(PriceVerification).join(Price, Price.id == PriceVerification.price_id).where(Price.model_id == model.id)
    return {row.price_id: row for row in session.execute(query.order_by(PriceVerification.id)).scalars()}


def _with_free_start(session: Session, model: Model, entry: PriceEntry) -> PriceEntry:
    """Return the entry. Where a price was canceled, it corrects the cancellation, so that its start can be used again.

    Raises `Invalid` or `Conflict` if it cannot start at its time.
    """
    if entry.corrects is not None:
        _require_valid_correction(session, model, entry)
        return entry
    correction = aliased(Price)
    is_corrected = select(correction.id).where(correction.corrects_id == Price.id).exists()
    query = select(Price).where(Price.model_id == model.id, Price.effective_from == entry.effective_from, ~is_corrected)
    existing = session.execute(query).scalar_one_or_none()
    if existing is not None and existing.cancels:
        return entry._replace(corrects=existing.id)
    if existing is not None:
        message = "another price already starts at this time; a correction must name it in `corrects`"
        raise Conflict(f"{model.display_name}: {message}.", [FieldError("effective_from", message)], code="duplicate")
    return entry


def _require_valid_correction(session: Session, model: Model, entry: PriceEntry) -> None:
    corrected = session.get(Price, entry.corrects)
    if corrected is None or corrected.model_id != model.id:
        raise Invalid.field("corrects", "is not a price of this model")
    if corrected.effective_from != entry.effective_from:
        raise Invalid.field(
            "effective_from", f"a correction starts where the price does that it corrects: {format_timestamp(corrected.effective_from)}"
        )
    if session.execute(select(Price.id).where(Price.corrects_id == entry.corrects)).scalar_one_or_none() is not None:
        raise Conflict("That price was already corrected; correct the correction.", [FieldError("corrects", "was already corrected")])


def to_row(entry: PriceEntry, model: Model, actor: str) -> Price:
    """Return the price row, with its rates, of a validated entry."""
    source = entry.source
    price = Price(
        model_id=model.id,
        state=entry.state,
        effective_from=entry.effective_from,
        currency=entry.currency,
        source_kind=source.get("kind", "manual"),
        source_name=source.get("name") or actor,
        source_url=source.get("url"),
        verified_at=source.get("verified_at"),
        verified_by=(source.get("verified_by") or actor) if source.get("verified_at") else None,
        note=entry.note,
        created_by=actor,
        corrects_id=entry.corrects,
        cancels=entry.cancels,
        media_at_text_rate=entry.media_at_text_rate,
        minimum=entry.minimum,
        surcharge_percent=entry.surcharge_percent,
    )
    price.rates = [PriceRate(**columns_from_rate(rate)._asdict()) for rate in entry.rates]
    return price


def to_domain(price: Price) -> PriceValue:
    """Return the row as a domain value, without its end."""
    source = PriceSource(price.source_kind, price.source_name, price.source_url, price.verified_at)
    rates = tuple(rate_from_columns(RateColumns(*(getattr(rate, column) for column in RateColumns._fields))) for rate in price.rates)
    return PriceValue(
        state=price.state,
        effective_from=price.effective_from,
        currency=price.currency,
        rates=rates,
        source=source,
        id=price.id,
        corrects=price.corrects_id,
        note=price.note,
        cancels=price.cancels,
        media_at_text_rate=price.media_at_text_rate,
        minimum=price.minimum,
        surcharge_percent=price.surcharge_percent,
    )


def _with_verification(price: PriceValue, verification: PriceVerification | None) -> PriceValue:
    return replace(price, source=price.source._replace(verified_at=verification.created_at)) if verification else price


def history(session: Session, model: Model) -> list[PriceValue]:
    """Return all prices of a model, oldest first, with their ends and last verification times. A corrected price ends at its start."""
    rows = session.execute(select(Price).where(Price.model_id == model.id).order_by(Price.effective_from, Price.id)).scalars()
    verifications = latest_verifications(session, model)
    values = [_with_verification(to_domain(row), verifications.get(row.id)) for row in rows]
    dated = {price.id: price for price in timeline(values)}
    return [dated.get(price.id, price) for price in values]
