"""Runs: recording what came of asking a model (or the local rules) about an incident, and finding it again."""

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.serializers import cost_document
from webapp.domain.incidents.incidents import incident_dict, recommendation_dict
from webapp.domain.shared.errors import NotFound
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import Run, RunRecommendation
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.runs.execution import RunOutcome
from webapp.services.runs.planning import RunPlan

NO_RUN = "There is no such run."


def record(session: Session, planned: RunPlan, outcome: RunOutcome, *, actor: str, evaluation_public_id: str | None = None) -> Run:
    """Stores a run and its advice. `bench` is the public id of the bench that it was asked for."""
    choice, cost = planned.choice, outcome.cost
    run = Run(
        public_id=f"run_{secrets.token_hex(12)}",
        actor=actor,
        status=outcome.status,
        template=planned.template.name,
        template_version=planned.template.version,
        decided_note=choice.note,
        key_source=planned.access.source if planned.access else None,
        project=planned.caller.project,
        evaluation=evaluation_public_id,
        cached=outcome.cached_from is not None,
        cached_from=outcome.cached_from,
        incident=incident_dict(planned.incident),
        model_ref=choice.model.ref if choice.model else None,
        provider_slug=choice.provider,
        driver=choice.driver,
        source=planned.source,
        decided_by=choice.decided_by,
        answered_by=outcome.answered_by,
        usage=outcome.usage.as_dict() if outcome.usage else None,
        cost=cost_document(cost) if cost else None,
        cost_total=cost.total if cost else None,
        currency=cost.currency if cost else None,
        price_id=cost.price_id if cost else None,
        latency_ms=outcome.latency_ms,
        attempts=outcome.attempts,
        upstream_request_id=outcome.request_id,
        created_at=outcome.started_at,
        finished_at=datetime.now(UTC),
        error_code=outcome.error.code if outcome.error else None,
        error_detail=outcome.error.detail if outcome.error else None,
    )
    run.recommendations = [
        RunRecommendation(position=position, **recommendation_dict(advice)) for position, advice in enumerate(outcome.recommendations)
    ]
    session.add(run)
    session.flush()
    after = {"status": run.status, "model": run.model_ref, "driver": run.driver, "source": run.source}
    audit_log.record(session, "runs:run:create", actor=actor, target=Target("run", run.id, run.public_id), change=AuditChange(None, after))
    return run


def find(session: Session, public_id: str) -> Run:
    """The run of this id, for whoever may see all. Raises `NotFound`."""
    run = session.execute(select(Run).where(Run.public_id == public_id)).scalar_one_or_none()
    if run is None:
        raise NotFound(NO_RUN)
    return run


def find_in_project(session: Session, public_id: str, project: str | None) -> Run:
    """The run of this id, if an application of this project asked for it (or none has a project). Raises `NotFound`."""
    run = find(session, public_id)
    if run.project != project:
        raise NotFound(NO_RUN)  # In the same words: whose run it is, is nobody else's business.
    return run


def list_latest(session: Session, limit: int = 10) -> list[Run]:
    """The newest runs."""
    return list(session.execute(select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(limit)).scalars())


def run_document(run: Run) -> dict[str, Any]:
    """A Run as the HTTP API answers it."""
    return {
        "id": run.public_id,
        "status": run.status,
        "model": run.model_ref,
        "provider": run.provider_slug,
        "driver": run.driver,
        "source": run.source,
        "decided_by": run.decided_by,
        "answered_by": run.answered_by,
        "decided_note": run.decided_note,
        "template": run.template,
        "template_version": run.template_version,
        "incident": run.incident,
        "recommendations": [
            {
                "type": advice.type,
                "priority": advice.priority,
                "title": advice.title,
                "description": advice.description,
                "details": advice.details,
                "actions": advice.actions,
            }
            for advice in run.recommendations
        ],
        "usage": run.usage,
        "cost": run.cost,
        "latency_ms": run.latency_ms,
        "attempts": run.attempts,
        "cached": run.cached,
        "cached_from": run.cached_from,
        "error": {"code": run.error_code, "detail": run.error_detail} if run.error_code else None,
        "request_id": run.upstream_request_id,
        "created_at": format_timestamp(run.created_at),
    }
