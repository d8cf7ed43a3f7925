"""Runs: recording the outcome of a model or of the built-in rules for an incident, and finding it again."""

import secrets
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.incidents.incidents import incident_document, recommendation_document
from webapp.domain.pricing.serializers import cost_document
from webapp.domain.pricing.spend import DEFAULT_CURRENCY, KNOWN
from webapp.domain.shared.errors import NotFound
from webapp.domain.shared.money import EXACT, format_decimal
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import Run, RunRecommendation
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.runs.execution import RunOutcome
from webapp.services.runs.planning import RunPlan

NO_RUN = "There is no such run."


def record(session: Session, planned: RunPlan, outcome: RunOutcome, *, actor: str, evaluation_public_id: str | None = None) -> Run:
    """Store a run and its recommendations. `evaluation_public_id` names the evaluation that it belongs to."""
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
        incident=incident_document(planned.incident),
        model_ref=choice.model.ref if choice.model else None,
        provider_slug=choice.provider,
        driver=choice.driver,
        source=planned.source,
        decided_by=choice.decided_by,
        answered_by=outcome.answered_by,
        usage=outcome.usage.document() if outcome.usage else None,
        cost=cost_document(cost) if cost else None,
        cost_total=cost.total if cost else None,
        currency=cost.currency if cost else None,
        price_id=cost.price_id if cost else None,
        latency_ms=outcome.latency_ms,
        attempts=outcome.attempts,
        upstream_request_id=outcome.request_id,
        sent=outcome.sent,
        served_model=outcome.served_model,
        reported_cost=outcome.reported_cost,
        reported_currency=DEFAULT_CURRENCY if outcome.reported_cost is not None else None,
        created_at=outcome.started_at,
        finished_at=datetime.now(UTC),
        error_code=outcome.error.code if outcome.error else None,
        error_detail=outcome.error.detail if outcome.error else None,
    )
    run.recommendations = [
        RunRecommendation(position=position, **recommendation_document(recommendation))
        for position, recommendation in enumerate(outcome.recommendations)
    ]
    session.add(run)
    session.flush()
    after = {"status": run.status, "model": run.model_ref, "driver": run.driver, "source": run.source}
    audit_log.record(session, "runs:run:create", actor=actor, target=Target("run", run.id, run.public_id), change=AuditChange(None, after))
    return run


def find(session: Session, public_id: str) -> Run:
    """Return the run with this id, from any project. Raises `NotFound`."""
    run = session.execute(select(Run).where(Run.public_id == public_id)).scalar_one_or_none()
    if run is None:
        raise NotFound(NO_RUN)
    return run


def find_in_project(session: Session, public_id: str, project: str | None) -> Run:
    """Return the run with this id if it belongs to this project. None matches runs without a project. Raises `NotFound`."""
    run = find(session, public_id)
    if run.project != project:
        raise NotFound(NO_RUN)  # The same message, so that it does not reveal runs of other projects.
    return run


def list_latest(session: Session, limit: int = 10) -> list[Run]:
    """Return the newest runs."""
    return list(session.execute(select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(limit)).scalars())


def reported_cost_of(run: Run) -> dict[str, str] | None:
    """Return the amount that the provider reported, or None if it reported none, which is not zero."""
    if run.reported_cost is None or run.reported_currency is None:
        return None
    return {"amount": format_decimal(run.reported_cost), "currency": run.reported_currency}


def reported_difference(run: Run) -> Decimal | None:
    """Return by how much the reported cost exceeds the calculated one. None unless both are known, in one currency."""
    cost = run.call_cost
    if run.reported_cost is None or cost.amount is None or cost.state != KNOWN or run.reported_currency != cost.currency:
        return None
    return EXACT.subtract(run.reported_cost, cost.amount)


def run_document(run: Run) -> dict[str, Any]:
    """Return a run as the HTTP API represents it."""
    return {
        "id": run.public_id,
        "status": run.status,
        "model": run.model_ref,
        "served_model": run.served_model,
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
                "type": recommendation.type,
                "priority": recommendation.priority,
                "title": recommendation.title,
                "description": recommendation.description,
                "details": recommendation.details,
                "actions": recommendation.actions,
            }
            for recommendation in run.recommendations
        ],
        "usage": run.usage,
        "cost": run.cost,
        "cost_state": run.call_cost.state,
        "reported_cost": reported_cost_of(run),
        "reported_difference": None if (difference := reported_difference(run)) is None else format_decimal(difference),
        "latency_ms": run.latency_ms,
        "attempts": run.attempts,
        "cached": run.cached,
        "cached_from": run.cached_from,
        "error": {"code": run.error_code, "detail": run.error_detail} if run.error_code else None,
        "request_id": run.upstream_request_id,
        "created_at": format_timestamp(run.created_at),
    }
