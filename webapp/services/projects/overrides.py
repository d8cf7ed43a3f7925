"""Project overrides: a project's rules about models. A rule sets the default, allows a model, or sets a price; it is ended, not edited."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from webapp.domain.catalog.input_schemas import PriceEntry
from webapp.domain.catalog.project_overrides import DEFAULT, KINDS, PRICE
from webapp.domain.pricing.serializers import rate_document
from webapp.domain.shared import validators
from webapp.domain.shared.errors import Conflict, FieldError, Invalid, NotFound
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import MAX_ID, Model, Project, ProjectOverride, Provider
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.projects import projects

CHECKS: Mapping[str, validators.Check] = {"note": validators.text(2_000)}


@dataclass(frozen=True, slots=True)
class Rule:
    """A requested rule. `price` is set only if `kind` is price. If `ends` is None, the rule is open-ended."""

    kind: str
    ref: str
    starts: datetime
    ends: datetime | None = None
    price: PriceEntry | None = None
    note: str = ""


def list_by_project(session: Session, project: Project) -> list[ProjectOverride]:
    """Return all rules of a project, newest first, including ended ones."""
    query = select(ProjectOverride).where(ProjectOverride.project_id == project.id).options(joinedload(ProjectOverride.model))
    return list(session.execute(query.order_by(ProjectOverride.id.desc())).scalars())


def list_by_model(session: Session, model: Model, at: datetime) -> list[ProjectOverride]:
    """Return the rules about a model that are in force at `at` or later."""
    query = select(ProjectOverride).where(
        ProjectOverride.model_id == model.id, or_(ProjectOverride.ends_at.is_(None), ProjectOverride.ends_at > at)
    )
    return list(session.execute(query.options(joinedload(ProjectOverride.project)).order_by(ProjectOverride.id)).scalars())


def add(session: Session, project_id: int, rule: Rule, *, actor: str) -> ProjectOverride:
    """Add a rule. Raises `Invalid`, or `Conflict` if a rule of the same kind applies at the same time."""
    revision.bump(session)
    project = projects.find(session, project_id)
    model = _find_model(session, rule)
    _require_valid_rule(rule)
    _require_no_overlap(session, project, model, rule)
    row = ProjectOverride(
        project_id=project.id,
        model_id=model.id,
        kind=rule.kind,
        starts_at=rule.starts,
        ends_at=rule.ends,
        price=_price_document(rule) if rule.price else None,
        note=validators.validate({"note": rule.note}, CHECKS)["note"],
        created_by=actor,
    )
    session.add(row)
    session.flush()
    audit_log.record(
        session,
        "registry:project:add_rule",
        actor=actor,
        target=_project_target(project),
        change=AuditChange(None, _override_audit_values(row, model)),
    )
    return row


def end(session: Session, override_id: int, at: datetime, *, actor: str) -> ProjectOverride:
    """End a rule at `at`, or cancel one that has not begun. Raises `Conflict` if it has already ended."""
    revision.bump(session)
    row = session.get(ProjectOverride, override_id, with_for_update=True) if override_id <= MAX_ID else None
    if row is None:
        raise NotFound("There is no such rule.")
    if row.ends_at is not None and row.ends_at <= at:
        raise Conflict("That rule has ended already.", code="ended")
    before = row.ends_at
    row.ends_at = max(at, row.starts_at)
    change = AuditChange({"ends": _timestamp_text(before)}, {"rule": row.id, "model": row.model.ref, "ends": _timestamp_text(row.ends_at)})
    audit_log.record(session, "registry:project:end_rule", actor=actor, target=_project_target(row.project), change=change)
    return row


def _find_model(session: Session, rule: Rule) -> Model:
    if rule.kind not in KINDS:
        raise Invalid.field("kind", f"must be one of {', '.join(KINDS)}")
    model = session.execute(select(Model).join(Provider).where(Provider.slug + "/" + Model.model_id == rule.ref)).scalar_one_or_none()
    if model is None:
        raise Invalid.field("model", "must be chosen from the list, as provider/model")
    return model


def _require_valid_rule(rule: Rule) -> None:
    if (rule.kind == PRICE) != (rule.price is not None):
        raise Invalid.field("rates", "is needed for a price of its own, and for nothing else")
    if rule.ends is not None and rule.ends <= rule.starts:
        raise Invalid.field("ends", "must be later than the start")


def _require_no_overlap(session: Session, project: Project, model: Model, rule: Rule) -> None:
    """Allow only one default of a type, and one price and one allow rule of a model, at any time."""
    override = ProjectOverride
    same_subject = Model.type == model.type if rule.kind == DEFAULT else override.model_id == model.id
    overlaps = or_(override.ends_at.is_(None), override.ends_at > rule.starts)
    query = (
        select(override)
        .join(Model, Model.id == override.model_id)
        .where(override.project_id == project.id, override.kind == rule.kind, same_subject, overlaps)
    )
    if rule.ends is not None:
        query = query.where(override.starts_at < rule.ends)
    # A rule that was canceled before it began never applies.
    conflict = session.execute(query.where(or_(override.ends_at.is_(None), override.ends_at > override.starts_at))).scalars().first()
    if conflict is not None:
        message = f"{conflict.model.ref} has a rule of this kind since {format_timestamp(conflict.starts_at)}: end it first"
        raise Conflict(f"{message}.", [FieldError("starts", message)], code="overlap")


def _price_document(rule: Rule) -> dict[str, Any]:
    """Return the document that `price_from` reads."""
    entry = rule.price
    if entry is None:
        raise Invalid.field("rates", "is needed")
    amounts = {"minimum": entry.minimum, "surcharge_percent": entry.surcharge_percent}
    return {
        "state": entry.state,
        "effective_from": format_timestamp(rule.starts),
        "currency": entry.currency,
        "rates": [rate_document(rate) for rate in entry.rates],
        "media_at_text_rate": entry.media_at_text_rate,
        "source": {"kind": "manual"},
        "note": rule.note,
        **{name: amount if amount is None else format_decimal(amount) for name, amount in amounts.items()},
    }


def _project_target(project: Project) -> Target:
    return Target("project", project.id, project.slug)


def _override_audit_values(row: ProjectOverride, model: Model) -> dict[str, Any]:
    return {
        "rule": row.id,
        "kind": row.kind,
        "model": model.ref,
        "starts": _timestamp_text(row.starts_at),
        "ends": _timestamp_text(row.ends_at),
        "price": row.price,
        "note": row.note,
    }


def _timestamp_text(at: datetime | None) -> str | None:
    return format_timestamp(at) if at else None
