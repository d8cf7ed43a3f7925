"""Cached responses, keyed by a digest of everything that affects them, until they expire."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.domain.shared.urls import parse_origin
from webapp.drivers.core.base import ChatRequest, Endpoint
from webapp.models import CachedResponse
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

PURGE_BATCH_SIZE = 200


@dataclass(frozen=True, slots=True)
class CacheHit:
    """A cached response, and the run that produced it."""

    text: str
    usage: dict[str, int | str] | None
    run: str
    cached_at: datetime


def cache_key(endpoint: Endpoint, request: ChatRequest, template: str, visibility_group: str) -> str:
    """Return the digest of a request. Secrets enter it only if they affect the response, and cannot be derived from it.

    A response that was paid for with a personal key is served to its owner only, so the digest contains the credential. `visibility_group`
    (of `Caller`) identifies the callers who can see each other's runs: the response names its run, and that run's incident can contain more
    than the request did.
    """
    content = [
        "v2",
        visibility_group,
        endpoint.driver,
        endpoint.slug,
        parse_origin(endpoint.base_url) if endpoint.base_url else "",
        endpoint.credential,
        json.dumps(endpoint.config, sort_keys=True, default=str),
        template,
        request.model,
        request.system,
        request.user,
        request.max_output_tokens,
        request.temperature,
        json.dumps(request.json_schema, sort_keys=True, default=str),
        request.schema_name,
        request.token_parameter,
        request.context_window,
    ]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def get_hit_or_none(session: Session, key: str, now: datetime | None = None) -> CacheHit | None:
    """Return the unexpired response for this key, if any."""
    table = CachedResponse
    row = session.execute(select(table).where(table.key == key, table.expires_at > (now or datetime.now(UTC)))).scalar_one_or_none()
    return CacheHit(row.text, row.usage, row.run, row.created_at) if row else None


def count_hit(session: Session, key: str) -> None:
    table = CachedResponse
    session.execute(update(table).where(table.key == key).values(hits=table.hits + 1).execution_options(synchronize_session=False))


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A response to store, and the run that produced it."""

    key: str
    template: str
    model_ref: str | None
    text: str
    usage: dict[str, int | str] | None
    run: str
    ttl_minutes: int


def store(session: Session, entry: CacheEntry, now: datetime | None = None) -> None:
    """Store a response, and delete a batch of expired ones. The last of concurrent writes wins, and replaces an expired response."""
    at = now or datetime.now(UTC)
    values = {
        "key": entry.key,
        "template": entry.template,
        "model_ref": entry.model_ref,
        "text": entry.text,
        "usage": entry.usage,
        "run": entry.run,
        "expires_at": at + timedelta(minutes=entry.ttl_minutes),
        "created_at": at,
        "updated_at": at,
        "hits": 0,
    }
    table = CachedResponse
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).values(values)
    updates = {name: value for name, value in values.items() if name != "key"}
    session.execute(insert.on_conflict_do_update(index_elements=["key"], set_=updates))
    expired = select(table.id).where(table.expires_at <= at).limit(PURGE_BATCH_SIZE)
    session.execute(delete(table).where(table.id.in_(expired)).execution_options(synchronize_session=False))


def count(session: Session) -> int:
    return session.execute(select(func.count()).select_from(CachedResponse)).scalar_one()


def clear(session: Session, *, actor: str) -> int:
    """Clear the cache, and return the number of deleted responses."""
    removed = count(session)
    session.execute(delete(CachedResponse).execution_options(synchronize_session=False))
    audit_log.record(
        session,
        "prompts:cache:clear",
        actor=actor,
        target=Target("cache", None, "answers"),
        change=AuditChange({"answers": removed}, {"answers": 0}),
    )
    return removed
