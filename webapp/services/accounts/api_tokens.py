"""API tokens of applications: creating, listing and revoking. The token itself is shown once and is not stored."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.accounts.permissions import SCOPES
from webapp.domain.shared import validators
from webapp.domain.shared.errors import Invalid, NotFound, quote_text
from webapp.models import MAX_ID, ApiToken, Project
from webapp.registry import revision
from webapp.security import tokens
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

MAX_LIFETIME_DAYS = 365


def create(  # noqa: PLR0913 # the usual parameters, the expiry and the project
    session: Session, name: str, scopes: Sequence[str], *, actor: str, expires_at: datetime | None = None, project: str | None = None
) -> tuple[ApiToken, str]:
    """Add a token and return it with its text, which is not stored. It works in every process within a second. Raises `Invalid`."""
    valid_name = validators.line(100, 1)(name, "name")
    if not scopes or (unknown := [scope for scope in scopes if scope not in SCOPES]):
        raise Invalid.field("scopes", f"must be some of {', '.join(SCOPES)}" + (f"; {unknown[0]} is none" if scopes else ""))
    revision.bump(session)
    _require_project(session, project)
    generated = tokens.new_token()
    token = ApiToken(
        name=valid_name,
        public_id=generated.public_id,
        digest=generated.digest,
        scopes=list(dict.fromkeys(scopes)),
        expires_at=expires_at,
        project=project,
        created_by=actor,
    )
    session.add(token)
    session.flush()
    audit_log.record(
        session, "accounts:token:create", actor=actor, target=_token_target(token), change=AuditChange(None, _token_audit_values(token))
    )
    return token, generated.text


def _require_project(session: Session, slug: str | None) -> None:
    if slug is not None and session.execute(select(Project.id).where(Project.slug == slug)).scalar_one_or_none() is None:
        raise Invalid.field("project", f"there is no project with the slug {quote_text(slug, 60)}: add it under Projects first")


def revoke(session: Session, token_id: int, *, actor: str, now: datetime) -> ApiToken:
    """Revoke a token; every process rejects it within a second. Raises `NotFound`."""
    revision.bump(session)
    token = session.get(ApiToken, token_id, with_for_update=True) if token_id <= MAX_ID else None
    if token is None:
        raise NotFound(f"There is no token {token_id}.")
    if token.revoked_at is None:
        token.revoked_at = now
        audit_log.record(
            session,
            "accounts:token:revoke",
            actor=actor,
            target=_token_target(token),
            change=AuditChange({"revoked": False}, {"revoked": True}),
        )
    return token


def list_all(session: Session) -> Sequence[ApiToken]:
    return session.execute(select(ApiToken).order_by(ApiToken.id)).scalars().all()


def expiry_date(days: int | None, *, now: datetime) -> datetime | None:
    """Return the end of a token's lifetime of `days` (1 to 365). Raises `Invalid`."""
    if days is None:
        return None
    if not 1 <= days <= MAX_LIFETIME_DAYS:
        raise Invalid.field("expires_days", f"must be 1 to {MAX_LIFETIME_DAYS}")
    return now + timedelta(days=days)


def _token_target(token: ApiToken) -> Target:
    return Target("token", token.id, token.name)


def _token_audit_values(token: ApiToken) -> dict[str, object]:
    expires_at = token.expires_at.isoformat() if token.expires_at else None
    return {"name": token.name, "scopes": token.scopes, "project": token.project, "expires_at": expires_at}
