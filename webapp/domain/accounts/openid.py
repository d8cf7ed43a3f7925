"""Who an identity provider says somebody is, and when that is enough: rules over the claims of a token that was validated already."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from webapp.domain.accounts.permissions import ROLES
from webapp.domain.shared.errors import Invalid, ModeldeskError

MAX_SUBJECT = 255  # What the specification allows.
CLOCK_SKEW = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class OpenId:
    """The identity provider that people may sign in through (OpenID Connect). `roles` gives a role to a value of `role_claim`."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str = "single sign-on"
    create: bool = False
    role_claim: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


class TokenRefused(ModeldeskError):
    """The token says something else than it must. `code` is for the log: which claim, or which kind of error."""

    status = 403


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one sign-in sends along and expects back."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """Somebody at the provider. `email` only if the provider vouches for it; `groups` are the values of the claim that gives roles."""

    subject: str
    email: str | None
    groups: tuple[str, ...]
    auth_time: int | None  # When the password (or whatever it is) was last asked for there.


def parse_claims(claims: Mapping[str, object], role_claim: str | None = None) -> IdentityClaims:
    """Raises `Invalid` if the token names nobody."""
    subject, proved_at = claims.get("sub"), claims.get("auth_time")
    if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= MAX_SUBJECT:
        raise Invalid("The identity provider does not say who it is about.")
    groups = claims.get(role_claim) if role_claim else None
    return IdentityClaims(
        subject=subject,
        email=_verified_email(claims),
        groups=tuple(str(group) for group in (groups if isinstance(groups, list) else [groups] if groups else [])),
        auth_time=int(proved_at) if isinstance(proved_at, int | float) and not isinstance(proved_at, bool) else None,
    )


def _verified_email(claims: Mapping[str, object]) -> str | None:
    """In ASCII only: letters that merely look or fold alike must not lead into the account of somebody else."""
    email = claims.get("email")
    return email if claims.get("email_verified") is True and isinstance(email, str) and email.isascii() and len(email) <= 254 else None


def highest_role(groups: tuple[str, ...], roles: Mapping[str, str]) -> str | None:
    """The strongest role that one of these groups gives."""
    given = {roles[group] for group in groups if group in roles}
    return next((role for role in reversed(list(ROLES)) if role in given), None)


def is_authenticated_since(person: IdentityClaims, begun: datetime, now: datetime) -> bool:
    """Whether the provider asked this person who it is after this moment, and says so. A provider that says nothing proves nothing."""
    earliest, latest = (begun - CLOCK_SKEW).timestamp(), (now + CLOCK_SKEW).timestamp()
    return person.auth_time is not None and earliest <= person.auth_time <= latest
