"""Model retirement: the references to a model, and the day on which its successor replaces it."""

from collections.abc import Iterator
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.domain.shared.errors import Conflict, Invalid
from webapp.models import Model, PromptTemplate, Provider, Run, UsageRecord
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange
from webapp.services.catalog import models
from webapp.services.catalog.model_names import RECENT_PERIOD

MAX_NAMED_PROJECTS = 5


def schedule_switch(session: Session, model_id: int, day: date | None, *, actor: str) -> Model:
    """Schedule the day (UTC) from which the successor takes over the default and the aliases; None cancels it.

    Raises `Invalid` without a successor, and `Conflict` if the successor is not in the registry.
    """
    revision.bump(session)
    model = models.find(session, model_id)
    if day is not None:
        _require_successor(session, model)
    if model.switches_on == day:
        return model
    before, model.switches_on = model.switches_on, day
    session.flush()
    change = AuditChange({"switches_on": _date_text(before)}, {"switches_on": _date_text(day), "successor": model.successor})
    audit_log.record(session, "registry:model:switch_over", actor=actor, target=models.target(model), change=change)
    return model


def _require_successor(session: Session, model: Model) -> None:
    if not model.successor:
        raise Invalid.field("switches_on", "needs a successor: choose one on the page of the model first")
    refs = (model.successor, f"{model.provider.slug}/{model.successor}")  # The full ref comes first, as in `domain`.
    query = select(Model).join(Provider).where((Provider.slug + "/" + Model.model_id).in_(refs))
    matches = {row.ref: row for row in session.execute(query).scalars()}
    successor = matches.get(refs[0]) or matches.get(refs[1])
    if successor is None:
        raise Conflict(f"{model.successor} is not in the registry: add it first, or choose another successor.", code="no_successor")
    if successor.id == model.id:
        raise Invalid.field("switches_on", "needs another successor: a model cannot follow itself")


def list_affected(session: Session, model: Model) -> list[str]:
    """Describe what depends on the model and its price. Usage and runs are those of the last 30 days."""
    return [
        *_registry_references(session, model),
        *models.list_references(session, model, with_prices=False),
        *_recent_usage(session, model),
    ]


def _registry_references(session: Session, model: Model) -> Iterator[str]:
    if model.is_default:
        yield f"default for {model.type.replace('_', ' ')}"
    if count := len(model.aliases):
        yield f"{count} other name{'s' if count != 1 else ''}"
    query = select(PromptTemplate.title).where(PromptTemplate.is_current, PromptTemplate.preferred_model == model.ref)
    for title in session.execute(query.order_by(PromptTemplate.title)).scalars():
        yield f"preferred by the template {title}"


def _recent_usage(session: Session, model: Model) -> Iterator[str]:
    since = audit_log.now() - RECENT_PERIOD
    for table, timestamp, word in ((UsageRecord, UsageRecord.at, "reported call"), (Run, Run.created_at, "run")):
        query = select(table.project, func.count()).where(table.model_ref == model.ref, timestamp >= since).group_by(table.project)
        counts = dict(session.execute(query).all())
        if total := sum(counts.values()):
            projects = [project for project in sorted(counts, key=counts.__getitem__, reverse=True) if project][:MAX_NAMED_PROJECTS]
            suffix = f" by {', '.join(projects)}" if projects else ""
            yield f"{total:,} {word}{'s' if total != 1 else ''} in 30 days{suffix}"


def _date_text(day: date | None) -> str | None:
    return day.isoformat() if day else None
