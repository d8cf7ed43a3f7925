"""Prompt templates. Every change creates a version, one version of each name is current, and runs record the version they used."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.domain.incidents.answer_schema import TEMPLATE_NAME
from webapp.domain.incidents.prompt_templates import BUILT_IN, Template, validate_template_text
from webapp.domain.shared import validators
from webapp.domain.shared.errors import Conflict, FieldError, InUse, Invalid, NotFound, Stale
from webapp.domain.shared.money import format_decimal
from webapp.models import PromptTemplate, Run
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

MAX_TEXT = 50_000
MAX_CACHE_MINUTES = 60 * 24 * 30
SEEDER = "seed"
DECIMAL = validators.regex(re.compile(r"[0-9](\.[0-9]{1,4})?", re.ASCII), "must be a number such as 0.2")


def _check_temperature(value: object, field: str) -> Any:
    text = validators.optional(DECIMAL)(value, field)
    return None if text is None else Decimal(text)


CHECKS: Mapping[str, validators.Check] = {
    "name": validators.slug,
    "title": validators.line(200, 1),
    "category": validators.line(60, 1),
    "system": validators.text(MAX_TEXT, 1),
    "user": validators.text(MAX_TEXT, 1),
    "preferred_model": validators.optional(validators.line(300, 1)),
    "temperature": _check_temperature,
    "max_tokens": validators.optional(validators.integer(1, 1_000_000)),
    "cache_minutes": validators.integer(0, MAX_CACHE_MINUTES),
    "active": validators.boolean,
    "note": validators.text(2_000),
}
REQUIRED = ("name", "title", "category", "system", "user")
VERSIONED_COLUMNS = ("title", "category", "system", "user", "preferred_model", "temperature", "max_tokens", "cache_minutes", "is_active")


def value_of(row: PromptTemplate) -> Template:
    return Template(
        row.name,
        row.version,
        row.title,
        row.category,
        row.system,
        row.user,
        row.preferred_model,
        row.temperature,
        row.max_tokens,
        row.cache_minutes,
        row.is_active,
    )


def find_current(session: Session, name: str | None) -> Template:
    """Return the current version. The built-in template is the default, even without a row.

    Raises `NotFound` for an unknown name, and `Conflict` for an inactive template.
    """
    requested = name or TEMPLATE_NAME
    row = session.execute(select(PromptTemplate).where(PromptTemplate.name == requested, PromptTemplate.is_current)).scalar_one_or_none()
    if row is None and requested == TEMPLATE_NAME:
        return BUILT_IN
    if row is None:
        names = (
            ", ".join(session.execute(select(PromptTemplate.name).where(PromptTemplate.is_current).limit(10)).scalars()) or TEMPLATE_NAME
        )
        raise NotFound(f"There is no template of that name; there is {names}.", code="unknown_template")
    if not row.is_active:
        raise Conflict(f"The template {row.title} is inactive. Activate it, or name another.", code="inactive")
    return value_of(row)


def find(session: Session, name: str, version: int | None = None) -> PromptTemplate:
    """Return a version, or the current one if `version` is None. Raises `NotFound`."""
    condition = PromptTemplate.is_current if version is None else PromptTemplate.version == version
    row = session.execute(select(PromptTemplate).where(PromptTemplate.name == name, condition)).scalar_one_or_none()
    if row is None:
        raise NotFound("There is no such template or version.")
    return row


def list_current(session: Session) -> list[PromptTemplate]:
    """Return the current version of every template, sorted by title."""
    query = select(PromptTemplate).where(PromptTemplate.is_current).order_by(PromptTemplate.title, PromptTemplate.name)
    return list(session.execute(query).scalars())


def list_versions(session: Session, name: str) -> list[PromptTemplate]:
    """Return all versions, newest first."""
    query = select(PromptTemplate).where(PromptTemplate.name == name).order_by(PromptTemplate.version.desc())
    return list(session.execute(query).scalars())


def create(session: Session, values: Mapping[str, object], *, actor: str) -> PromptTemplate:
    """Add a template as version 1. Raises `Invalid`, or `Conflict` if the name is taken."""
    entry = _validate(values, REQUIRED)
    if list_versions(session, entry["name"]):
        raise Conflict(f"The name {entry['name']} is taken.", [FieldError("name", "is taken by another template")], code="duplicate")
    return _add_version(session, entry, 1, actor, "create")


def revise(session: Session, name: str, values: Mapping[str, object], *, actor: str, version: int | None = None) -> PromptTemplate:
    """Add a version and make it current. Raises `Stale` if `version` is no longer the current one."""
    before = find(session, name)
    if version is not None and before.version != version:
        raise Stale("Somebody else saved a newer version meanwhile. Look at the change, and save again.")
    entry = _validate({"name": name, **values}, REQUIRED)
    if all(getattr(before, column) == _column_value(entry, column) for column in VERSIONED_COLUMNS):
        raise Invalid.field("system", "is as it was, and so is everything else: there is nothing to save")
    return _add_version(session, entry, list_versions(session, name)[0].version + 1, actor, "revise")


def restore(session: Session, name: str, version: int, *, actor: str) -> PromptTemplate:
    """Restore an older version as a new version, so that the version recorded by earlier runs stays correct."""
    older = find(session, name, version)
    entry = {column: getattr(older, column) for column in VERSIONED_COLUMNS} | {"name": name, "note": f"Version {version} again"}
    return _add_version(session, entry, list_versions(session, name)[0].version + 1, actor, "restore")


def set_active(session: Session, name: str, active: bool, *, actor: str) -> PromptTemplate:
    """Activate or deactivate a template, as a new version."""
    current = find(session, name)
    if current.is_active == active:
        return current
    entry = {column: getattr(current, column) for column in VERSIONED_COLUMNS} | {"name": name, "is_active": active, "note": ""}
    return _add_version(session, entry, list_versions(session, name)[0].version + 1, actor, "activate" if active else "deactivate")


def delete(session: Session, name: str, *, actor: str) -> None:
    """Delete a template with all its versions. Raises `InUse` if a run used it, and for the built-in template."""
    rows = list_versions(session, name)
    if not rows:
        raise NotFound("There is no such template.")
    run_count = usage(session, name).runs
    if run_count or name == TEMPLATE_NAME:
        reason = f"{run_count:,} runs used it" if run_count else "it is the built-in one"
        raise InUse(f"{rows[0].title} cannot be deleted: {reason}. Deactivate it instead.", [reason])
    before, target = template_audit_values(rows[0]), Target("template", rows[0].id, name)
    for row in rows:
        session.delete(row)
    session.flush()
    audit_log.record(session, "prompts:template:delete", actor=actor, target=target, change=AuditChange(before, None))


class TemplateUsage(NamedTuple):
    """The number of runs of a template, and the time of the last one."""

    runs: int
    last: Any


def usage(session: Session, name: str) -> TemplateUsage:
    """Return how many runs used a template, in any version."""
    return TemplateUsage(*session.execute(select(func.count(), func.max(Run.created_at)).where(Run.template == name)).one())


def seed(session: Session) -> bool:
    """Add the built-in template if its name is free, and return whether it was added."""
    if list_versions(session, BUILT_IN.name):
        return False
    entry = {name: getattr(BUILT_IN, name) for name in ("name", "title", "category", "system", "user", "cache_minutes")}
    _add_version(session, entry | {"note": "Comes with Modeldesk"}, 1, SEEDER, "create")
    return True


def _validate(values: Mapping[str, object], required: tuple[str, ...]) -> dict[str, Any]:
    entry = validators.validate(values, CHECKS, required)
    errors: list[FieldError] = []
    for field, needs_incident in (("system", False), ("user", True)):
        try:
            validate_template_text(entry[field], field, needs_incident=needs_incident)
        except Invalid as error:
            errors.extend(error.errors)
    if errors:
        raise Invalid.of(errors)
    return entry


def _column_value(entry: Mapping[str, Any], column: str) -> Any:
    defaults = {"cache_minutes": 0, "is_active": True}
    return entry.get("active" if column == "is_active" and "is_active" not in entry else column, defaults.get(column))


def _add_version(session: Session, entry: Mapping[str, Any], version: int, actor: str, action: str) -> PromptTemplate:
    current = session.execute(
        select(PromptTemplate).where(PromptTemplate.name == entry["name"], PromptTemplate.is_current)
    ).scalar_one_or_none()
    before = template_audit_values(current) if current else None
    if current is not None:
        current.is_current = False
        session.flush()  # The index allows one current version, so this write must come first.
    values = {column: _column_value(entry, column) for column in VERSIONED_COLUMNS}
    row = PromptTemplate(name=entry["name"], version=version, note=entry.get("note", ""), created_by=actor, is_current=True, **values)
    session.add(row)
    session.flush()
    target = Target("template", row.id, row.name)
    audit_log.record(
        session, f"prompts:template:{action}", actor=actor, target=target, change=AuditChange(before, template_audit_values(row))
    )
    return row


def template_audit_values(row: PromptTemplate) -> dict[str, Any]:
    """Return the values of a version for the audit log."""
    temperature = None if row.temperature is None else format_decimal(row.temperature)
    return {column: getattr(row, column) for column in VERSIONED_COLUMNS} | {
        "name": row.name,
        "version": row.version,
        "temperature": temperature,
    }
