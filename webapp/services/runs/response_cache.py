"""Answers that may be given again: found by a digest of everything that could change them, until they expire."""

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
    """An answer from the cache, and the run that asked for it."""

    text: str
    usage: dict[str, int] | None
    run: str
    cached_at: datetime


def cache_key(endpoint: Endpoint, request: ChatRequest, template: str, visibility_group: str) -> str:
    """The digest of a question. Secrets are in it only as far as they shape the answer, and cannot be found from it.

    An answer that was paid for with somebody's own key is given to nobody else, so it matters whose key it was.
    `visibility_group` (of `Caller`) are those who may know of each other's runs: the answer names the run that asked, and its incident may
    say more than the question did.
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
    """The answer to this question, if there is one that has not expired."""
    c = CachedResponse
    row = session.execute(select(c).where(c.key == key, c.expires_at > (now or datetime.now(UTC)))).scalar_one_or_none()
    return CacheHit(row.text, row.usage, row.run, row.created_at) if row else None


def count_hit(session: Session, key: str) -> None:
    c = CachedResponse
    session.execute(update(c).where(c.key == key).values(hits=c.hits + 1).execution_options(synchronize_session=False))


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What is to be remembered of a run."""

    key: str
    template: str
    model_ref: str | None
    text: str
    usage: dict[str, int] | None
    run: str
    ttl_minutes: int


def store(session: Session, answer: CacheEntry, now: datetime | None = None) -> None:
    """Keeps an answer; of two that come at once, or where an old one has expired, the later stays. Sweeps out what has expired."""
    moment = now or datetime.now(UTC)
    values = {
        "key": answer.key,
        "template": answer.template,
        "model_ref": answer.model_ref,
        "text": answer.text,
        "usage": answer.usage,
        "run": answer.run,
        "expires_at": moment + timedelta(minutes=answer.ttl_minutes),
        "created_at": moment,
        "updated_at": moment,
        "hits": 0,
    }
    c = CachedResponse
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = dialect.insert(c).values(values)
    fresh = {name: value for name, value in values.items() if name != "key"}
    session.execute(insert.on_conflict_do_update(index_elements=["key"], set_=fresh))
    old = select(c.id).where(c.expires_at <= moment).limit(PURGE_BATCH_SIZE)
    session.execute(delete(c).where(c.id.in_(old)).execution_options(synchronize_session=False))


def count(session: Session) -> int:
    return session.execute(select(func.count()).select_from(CachedResponse)).scalar_one()


def clear(session: Session, *, actor: str) -> int:
    """Empties the cache. The number of answers that were removed."""
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
