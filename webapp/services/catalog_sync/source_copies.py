"""Copies of the current prices of catalogs: one per source, the last one that was compared.

They give a proposal of another source its second opinions, and show whether a new version of a source has much fewer records.
"""

import json
import zlib
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from webapp.domain.catalog.catalog_guards import GuardLimits, exceeds
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.serializers import model_document
from webapp.domain.pricing.serializers import price_document
from webapp.models import SourceCopy
from webapp.price_sources.sources import SEED, SourceCatalog
from webapp.services.audit import audit_log
from webapp.services.catalog_sync.source_models import models_by_ref


def keep_and_find_second(session: Session, catalog: SourceCatalog, second: SourceCatalog | None, at: datetime) -> SourceCatalog | None:
    """Store the catalogs, and return the second one: by default, the last compared catalog of another source."""
    for uploaded in filter(None, (second, catalog)):
        if uploaded.name != SEED:  # It is made of the other sources, so it is no opinion of its own.
            keep(session, uploaded, at)
    return second or get_second_opinion_or_none(session, catalog.name)


def keep(session: Session, catalog: SourceCatalog, at: datetime) -> None:
    """Store the prices of a catalog at this time, in place of its last version."""
    count = len(catalog.models)
    copy = _get_or_none(session, catalog.name) or SourceCopy(source=catalog.name, digest=catalog.digest, records=count)
    if copy.digest != catalog.digest:
        copy.previous_records, copy.records = copy.records, count
    copy.source_version, copy.digest, copy.updated_at = catalog.version, catalog.digest, audit_log.now()
    copy.prices = _pack([_entry(model, at) for model in models_by_ref(catalog, []).values() if model.price_at(at)])
    session.add(copy)


def is_shrunk(session: Session, catalog: SourceCatalog, limits: GuardLimits) -> bool:
    """Return whether the catalog has much fewer models than the last version of its source."""
    copy = _get_or_none(session, catalog.name)
    if copy is None:
        return False
    last = (copy.previous_records or 0) if copy.digest == catalog.digest else copy.records
    return exceeds(last - len(catalog.models), last, limits.shrink)


def get_second_opinion_or_none(session: Session, source: str) -> SourceCatalog | None:
    """Return the last compared catalog of another source, with its current prices only."""
    query = select(SourceCopy).where(SourceCopy.source != source).order_by(SourceCopy.updated_at.desc(), SourceCopy.id.desc())
    copy = session.execute(query.options(undefer(SourceCopy.prices)).limit(1)).scalar_one_or_none()
    return SourceCatalog(copy.source, copy.source_version, copy.digest, [], _unpack(copy.prices)) if copy else None


def _get_or_none(session: Session, source: str) -> SourceCopy | None:
    return session.execute(select(SourceCopy).where(SourceCopy.source == source)).scalar_one_or_none()


def _entry(model: ModelInfo, at: datetime) -> dict[str, Any]:
    names = ("provider", "model_id", "display_name", "type")
    fields = {name: value for name, value in model_document(model).items() if name in names}
    return fields | {"capabilities": [], "aliases": [], "prices": [price_document(model.price_at(at))]}


def _pack(entries: list[dict[str, Any]]) -> bytes:
    return zlib.compress(json.dumps(entries, separators=(",", ":")).encode())


def _unpack(packed: bytes) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(zlib.decompress(packed))
    return entries
