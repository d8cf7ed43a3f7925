"""Links between users and their identities at the identity provider (issuer and subject), and authorizations, which work once."""

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

PROVIDER_ACTOR = "identity provider"  # The actor when a user is linked or created from the provider's claims.
DEFAULT_ROLE = "viewer"


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """An OpenID Connect sign-in in progress: its secret, and the time until which it is accepted."""

    secret: str
    expires_at: datetime


def consume_authorization(session: Session, authorization: PendingAuthorization, *, now: datetime) -> None:
    """Use up an authorization. Raises `Conflict` if it was used before or has expired.

    The unique digest rejects the second of two concurrent uses.
    """
    session.execute(delete(UsedAuthorization).where(UsedAuthorization.expires_at <= now))
    digest = tokens.digest_of(authorization.secret)
    if (
        authorization.expires_at <= now
        or session.execute(select(UsedAuthorization.id).where(UsedAuthorization.digest == digest)).scalar_one_or_none() is not None
    ):
        raise Conflict("This sign-in was used already, or took too long.", code="spent")
    session.add(UsedAuthorization(digest=digest, expires_at=authorization.expires_at))
    session.flush()


def resolve_user(session: Session, claims: IdentityClaims, settings: OpenId) -> User:
    """Return the user of an identity, and link or create the user if that is allowed. Raises `Forbidden`.

    The client gets the same response for every reason. It must not reveal whether an account exists, is disabled, or is linked to another
    identity.
    """
    by_identity = (Identity.issuer == settings.issuer, Identity.subject == claims.subject)
    user = session.execute(select(User).join(Identity).where(*by_identity)).scalar_one_or_none()
    if user is None:
        user = _link_or_create(session, claims, settings)
    if not user.is_active:
        raise Forbidden("The account is switched off.", code="inactive")
    return user


def _link_or_create(session: Session, claims: IdentityClaims, settings: OpenId) -> User:
    if claims.email is None:
        raise Forbidden("The provider does not vouch for the e-mail address.", code="unverified")
    user = session.execute(select(User).where(User.email == accounts.normalize_email(claims.email))).scalar_one_or_none()
    if user is None:
        role = highest_role(claims.groups, settings.roles) if settings.role_claim else DEFAULT_ROLE
        if not settings.create or role is None:
            raise Forbidden("There is no such user.", code="unknown")
        user = accounts.create(session, claims.email, role, actor=PROVIDER_ACTOR)
    elif not user.is_active:
        raise Forbidden("The account is switched off.", code="inactive")
    elif get_identity_or_none(session, user.id, settings.issuer) is not None:
        raise Forbidden("The account belongs to another person there.", code="linked_to_another")
    link(session, user, settings.issuer, claims.subject, actor=PROVIDER_ACTOR)
    return user


def get_identity_or_none(session: Session, user_id: int, issuer: str) -> Identity | None:
    return session.execute(select(Identity).where(Identity.user_id == user_id, Identity.issuer == issuer)).scalar_one_or_none()


def is_linked(session: Session, user_id: int) -> bool:
    return session.execute(select(Identity.id).where(Identity.user_id == user_id).limit(1)).scalar_one_or_none() is not None


def is_linked_to(session: Session, claims: IdentityClaims, issuer: str, user_id: int) -> bool:
    """Return whether this identity is linked to exactly this user."""
    identity = get_identity_or_none(session, user_id, issuer)
    return identity is not None and identity.subject == claims.subject


def link(session: Session, user: User, issuer: str, subject: str, *, actor: str) -> None:
    """Link a user to an identity. Raises `Invalid`, or `Conflict` if either is already linked."""
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
    """Remove all identities of a user and end the sessions. Raises `NotFound` if there are none."""
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
