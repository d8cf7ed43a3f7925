"""Projects: adding, editing and deactivating groups of applications that share keys and rules."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.domain.credentials.key_access import PROJECT
from webapp.domain.shared import validators
from webapp.domain.shared.errors import Conflict, FieldError, InUse, NotFound, Stale
from webapp.models import MAX_ID, ApiToken, Credential, Project, ProjectOverride
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

CHECKS: Mapping[str, validators.Check] = {
    "slug": validators.slug,
    "display_name": validators.line(100, 1),
    "description": validators.text(10_000),
    "active": validators.boolean,
}
REQUIRED = ("slug", "display_name")


def find(session: Session, project_id: int, *, version: int | None = None) -> Project:
    """Return the row, locked for a change. Raises `NotFound`, or `Stale` if `version` is not the current one."""
    project = session.get(Project, project_id, with_for_update=True, populate_existing=True) if project_id <= MAX_ID else None
    if project is None:
        raise NotFound("There is no such project.")
    if version is not None and project.version != version:
        raise Stale("Somebody else changed this project meanwhile. Look at the change, and save again.")
    return project


def list_all(session: Session) -> list[Project]:
    return list(session.execute(select(Project).order_by(Project.slug)).scalars())


def create(session: Session, values: Mapping[str, object], *, actor: str) -> Project:
    """Add a project. Raises `Invalid`, or `Conflict` if the slug is taken."""
    entry = validators.validate(values, CHECKS, REQUIRED)
    revision.bump(session)
    _require_free_slug(session, entry["slug"])
    project = Project(**_columns(entry))
    session.add(project)
    session.flush()
    audit_log.record(
        session,
        "registry:project:create",
        actor=actor,
        target=_project_target(project),
        change=AuditChange(None, project_audit_values(project)),
    )
    return project


def update(session: Session, project_id: int, values: Mapping[str, object], *, actor: str, version: int | None = None) -> Project:
    """Change the named fields. The slug cannot change while tokens or keys name it (`InUse`)."""
    entry = validators.validate(values, CHECKS)
    revision.bump(session)
    project = find(session, project_id, version=version)
    before = project_audit_values(project)
    if entry.get("slug", project.slug) != project.slug:
        _require_free_slug(session, entry["slug"])
        if users := list_references(session, project):
            raise InUse(f"{project.display_name} is named by {', '.join(users)}: its slug must stay.", users)
    for name, value in _columns(entry).items():
        setattr(project, name, value)
    session.flush()
    audit_log.record(
        session,
        "registry:project:update",
        actor=actor,
        target=_project_target(project),
        change=AuditChange(before, project_audit_values(project)),
    )
    return project


def delete(session: Session, project_id: int, *, actor: str) -> None:
    """Delete a project that has no references. Raises `InUse`."""
    revision.bump(session)
    project = find(session, project_id)
    if users := list_references(session, project):
        raise InUse(f"{project.display_name} is named by {', '.join(users)}. Deactivate it instead.", users)
    before, target = project_audit_values(project), _project_target(project)
    session.delete(project)
    session.flush()
    audit_log.record(session, "registry:project:delete", actor=actor, target=target, change=AuditChange(before, None))


def list_references(session: Session, project: Project) -> list[str]:
    """Describe the tokens, keys and rules of a project."""
    token_count = session.execute(select(func.count()).select_from(ApiToken).where(ApiToken.project == project.slug)).scalar_one()
    query = select(func.count()).select_from(Credential).where(Credential.scope == PROJECT, Credential.owner == project.slug)
    key_count = session.execute(query).scalar_one()
    rule_count = session.execute(
        select(func.count()).select_from(ProjectOverride).where(ProjectOverride.project_id == project.id)
    ).scalar_one()
    counts = ((token_count, "token"), (key_count, "key"), (rule_count, "rule"))
    return [f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count]


def _require_free_slug(session: Session, slug: str) -> None:
    if session.execute(select(Project.id).where(Project.slug == slug)).scalar_one_or_none() is not None:
        raise Conflict(f"The slug {slug} is taken.", [FieldError("slug", "is taken by another project")], code="duplicate")


def _columns(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"is_active" if name == "active" else name: value for name, value in entry.items()}


def _project_target(project: Project) -> Target:
    return Target("project", project.id, project.slug)


def project_audit_values(project: Project) -> dict[str, Any]:
    return {"slug": project.slug, "display_name": project.display_name, "description": project.description, "active": project.is_active}
