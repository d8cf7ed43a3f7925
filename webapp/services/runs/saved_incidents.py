"""Saved incidents, for repeated use in runs and evaluations."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.incidents.incidents import Incident, incident_document
from webapp.domain.shared.errors import Conflict, FieldError, NotFound
from webapp.domain.shared.validators import line
from webapp.models import MAX_ID, SavedIncident
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

NAME = line(200, 1)


def list_all(session: Session) -> list[SavedIncident]:
    return list(session.execute(select(SavedIncident).order_by(SavedIncident.name)).scalars())


def save(session: Session, name: str, incident: Incident, *, actor: str) -> SavedIncident:
    """Save an incident under a name. Raises `Invalid`, or `Conflict` if the name is taken."""
    valid_name = NAME(name, "name")
    if session.execute(select(SavedIncident.id).where(SavedIncident.name == valid_name)).scalar_one_or_none() is not None:
        raise Conflict(f"There is an incident named {valid_name}.", [FieldError("name", "is taken by another incident")], code="duplicate")
    row = SavedIncident(name=valid_name, incident=incident_document(incident), created_by=actor)
    session.add(row)
    session.flush()
    audit_log.record(
        session,
        "runs:incident:create",
        actor=actor,
        target=_incident_target(row),
        change=AuditChange(None, {"name": valid_name, "title": incident.title}),
    )
    return row


def find(session: Session, row_id: int) -> SavedIncident:
    """Return the saved incident. Raises `NotFound`."""
    row = session.get(SavedIncident, row_id) if row_id <= MAX_ID else None
    if row is None:
        raise NotFound("There is no such incident. It may have been deleted meanwhile.")
    return row


def delete(session: Session, row_id: int, *, actor: str) -> SavedIncident:
    """Delete a saved incident. Runs and evaluations that used it have their own copies."""
    row = find(session, row_id)
    before = {"name": row.name, "incident": row.incident}
    audit_log.record(session, "runs:incident:delete", actor=actor, target=_incident_target(row), change=AuditChange(before, None))
    session.delete(row)
    return row


def _incident_target(row: SavedIncident) -> Target:
    return Target("incident", row.id, row.name)
