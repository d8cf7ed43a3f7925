"""People of the identity provider who are users here: linked once, then known by issuer and subject; and ways back that work once."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.domain.accounts.openid import MAX_SUBJECT, IdentityClaims, OpenId, highest_role
from webapp.domain.shared.errors import Conflict, Forbidden, Invalid, NotFound
from webapp.models import Identity, UsedAuthorization, User
from webapp.security import tokens
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

PROVIDER_ACTOR = "identity provider"  # Who acts where somebody is linked or created by what the provider says.
DEFAULT_ROLE = "viewer"


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """One sign-in under way: its secret, and until when it may come back."""

    secret: str
    expires_at: datetime


def mark_used(session: Session, way: PendingAuthorization, *, now: datetime) -> None:
    """Uses it up. Raises `Conflict` if it was used before; two at once meet at the unique digest."""
    session.execute(delete(UsedAuthorization).where(UsedAuthorization.expires_at <= now))
    digest = tokens.digest_of(way.secret)
    if (
        way.expires_at <= now
        or session.execute(select(UsedAuthorization.id).where(UsedAuthorization.digest == digest)).scalar_one_or_none() is not None
    ):
        raise Conflict("This sign-in was used already, or took too long.", code="spent")
    session.add(UsedAuthorization(digest=digest, expires_at=way.expires_at))
    session.flush()


def resolve_user(session: Session, person: IdentityClaims, settings: OpenId) -> User:
    """The user who this person is, linked or created on the way if that is allowed. Raises `Forbidden`, the same for whoever may not.

    Whether an account exists, is switched off, or belongs to somebody else there, a stranger does not learn.
    """
    known = (Identity.issuer == settings.issuer, Identity.subject == person.subject)
    user = session.execute(select(User).join(Identity).where(*known)).scalar_one_or_none()
    if user is None:
        user = _link_or_create(session, person, settings)
    if not user.is_active:
        raise Forbidden("The account is switched off.", code="inactive")
    return user


def _link_or_create(session: Session, person: IdentityClaims, settings: OpenId) -> User:
    if person.email is None:
        raise Forbidden("The provider does not vouch for the e-mail address.", code="unverified")
    user = session.execute(select(User).where(User.email == accounts.normalize_email(person.email))).scalar_one_or_none()
    if user is None:
        role = highest_role(person.groups, settings.roles) if settings.role_claim else DEFAULT_ROLE
        if not settings.create or role is None:
            raise Forbidden("There is no such user.", code="unknown")
        user = accounts.create(session, person.email, role, actor=PROVIDER_ACTOR)
    elif not user.is_active:
        raise Forbidden("The account is switched off.", code="inactive")
    elif get_identity_or_none(session, user.id, settings.issuer) is not None:
        raise Forbidden("The account belongs to another person there.", code="linked_to_another")
    link(session, user, settings.issuer, person.subject, actor=PROVIDER_ACTOR)
    return user


def get_identity_or_none(session: Session, user_id: int, issuer: str) -> Identity | None:
    return session.execute(select(Identity).where(Identity.user_id == user_id, Identity.issuer == issuer)).scalar_one_or_none()


def is_linked(session: Session, user_id: int) -> bool:
    return session.execute(select(Identity.id).where(Identity.user_id == user_id).limit(1)).scalar_one_or_none() is not None


def is_linked_to(session: Session, person: IdentityClaims, issuer: str, user_id: int) -> bool:
    """Whether this person is linked to exactly this user."""
    found = get_identity_or_none(session, user_id, issuer)
    return found is not None and found.subject == person.subject


def link(session: Session, user: User, issuer: str, subject: str, *, actor: str) -> None:
    """Raises `Invalid`, or `Conflict` if either is linked to somebody else."""
    if not subject.isprintable() or not 0 < len(subject) <= MAX_SUBJECT:
        raise Invalid.field("subject", f"must be 1 to {MAX_SUBJECT} printable characters")
    taken = select(Identity.id).where(Identity.issuer == issuer, (Identity.subject == subject) | (Identity.user_id == user.id))
    if session.execute(taken.limit(1)).scalar_one_or_none() is not None:
        raise Conflict("This user or this person is linked to somebody already. Unlink first.", code="duplicate")
    session.add(Identity(issuer=issuer, subject=subject, user_id=user.id))
    audit_log.record(
        session,
        "accounts:identity:link",
        actor=actor,
        target=Target("user", user.id, user.email),
        change=AuditChange(None, {"issuer": issuer, "subject": subject}),
    )


def unlink(session: Session, user: User, *, actor: str) -> None:
    """Forgets who this user is at any provider, and ends the sessions. Raises `NotFound` if nothing is known."""
    rows = session.execute(select(Identity).where(Identity.user_id == user.id)).scalars().all()
    if not rows:
        raise NotFound(f"{user.email} is not linked to an identity provider.")
    before = {"issuer": ", ".join(row.issuer for row in rows), "subject": ", ".join(row.subject for row in rows)}
    for row in rows:
        session.delete(row)
    accounts.end_sessions(session, user)
    audit_log.record(
        session, "accounts:identity:unlink", actor=actor, target=Target("user", user.id, user.email), change=AuditChange(before, None)
    )
