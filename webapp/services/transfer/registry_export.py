"""Export of the whole registry from the database. Keys are never part of a file."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.catalog.input_schemas import MODEL_CHECKS
from webapp.domain.pricing.serializers import BILLING_FIELDS, price_document
from webapp.models import Model, Price, Provider
from webapp.services.catalog import models, providers
from webapp.services.pricing import prices
from webapp.services.transfer.import_rows import FORMAT, VERSION


def export_document(session: Session) -> dict[str, Any]:
    """Return the registry in an order that depends only on its content."""
    rows = session.execute(select(Provider).order_by(Provider.slug)).scalars()
    return {
        "format": FORMAT,
        "version": VERSION,
        "providers": [_provider_document(row) for row in rows],
        "models": [_model_document(row) for row in list_model_rows(session)],
    }


def list_model_rows(session: Session) -> Iterable[Model]:
    """Return all models with their prices, aliases and provider, sorted by provider and model id."""
    loaded = selectinload(Model.prices).selectinload(Price.rates)
    query = (
        select(Model)
        .join(Provider)
        .order_by(Provider.slug, Model.model_id)
        .options(loaded, selectinload(Model.aliases), selectinload(Model.provider))
    )
    return session.execute(query).scalars()


def _provider_document(row: Provider) -> dict[str, Any]:
    """Return a provider without keys, and without extra headers, which can contain a key."""
    values = providers.audit_values(row)
    values["config"] = {name: value for name, value in sorted(row.config.items()) if name != "extra_headers"}
    return values


def _model_document(row: Model) -> dict[str, Any]:
    entry = {name: value for name, value in models.audit_values(row).items() if name in MODEL_CHECKS}
    entry["aliases"] = sorted(entry["aliases"])
    return entry | {"prices": [_price_document(price, row) for price in in_order(row.prices)]}


def _price_document(row: Price, model: Model) -> dict[str, Any]:
    """Return a price without row ids, which have no meaning elsewhere. A correction is marked by `corrects_previous`."""
    document = price_document(prices.to_domain(row))
    exported = {name: document[name] for name in ("effective_from", *BILLING_FIELDS, "source", "note")}
    return (
        exported
        | ({"corrects_previous": True} if row.corrects_id is not None else {})
        | ({"cancels_previous": True} if row.cancels else {})
    )


def in_order(rows: Iterable[Price]) -> list[Price]:
    """Return prices by their start and id. New ones have no id yet, and come after stored ones of the same start."""
    return sorted(rows, key=lambda price: (price.effective_from, price.id is None, price.id or 0))
