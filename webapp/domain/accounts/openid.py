"""Rules over the claims of an OpenID token whose signature was already validated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from webapp.domain.accounts.permissions import ROLES
from webapp.domain.shared.errors import Invalid, ModeldeskError

MAX_SUBJECT = 255  # The maximum in the OpenID Connect specification.
CLOCK_SKEW = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class OpenId:
    """Settings of the OpenID Connect provider that users can sign in through. `roles` maps values of `role_claim` to roles."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str = "single sign-on"
    create: bool = False
    role_claim: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


class TokenRefused(ModeldeskError):
    """The token has an unexpected claim or is invalid. `code` is for the log: the claim or the kind of error."""

    status = 403


@dataclass(frozen=True, slots=True)
class Challenge:
    """The values that one sign-in sends and expects back."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """The identity of a user at the provider.

    `email` is set only if the provider has verified it. `groups` holds the values of the role claim.
    """

    subject: str
    email: str | None
    groups: tuple[str, ...]
    auth_time: int | None  # When the user last authenticated at the provider.


def parse_claims(claims: Mapping[str, object], role_claim: str | None = None) -> IdentityClaims:
    """Return the identity in a token's claims. Raises `Invalid` if the token has no valid subject."""
    subject, auth_time = claims.get("sub"), claims.get("auth_time")
    if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= MAX_SUBJECT:
        raise Invalid("The identity provider does not say who it is about.")
    groups = claims.get(role_claim) if role_claim else None
    return IdentityClaims(
        subject=subject,
        email=_verified_email(claims),
        groups=tuple(str(group) for group in (groups if isinstance(groups, list) else [groups] if groups else [])),
        auth_time=int(auth_time) if isinstance(auth_time, int | float) and not isinstance(auth_time, bool) else None,
    )


def _verified_email(claims: Mapping[str, object]) -> str | None:
    """Return the email if it is verified and ASCII. Look-alike or case-folded letters must not open another user's account."""
    email = claims.get("email")
    return email if claims.get("email_verified") is True and isinstance(email, str) and email.isascii() and len(email) <= 254 else None


def highest_role(groups: tuple[str, ...], roles: Mapping[str, str]) -> str | None:
    """Return the most powerful role that any of these groups grants."""
    granted = {roles[group] for group in groups if group in roles}
    return next((role for role in reversed(list(ROLES)) if role in granted), None)


def is_authenticated_since(identity: IdentityClaims, started_at: datetime, now: datetime) -> bool:
    """Return whether the provider states that the user authenticated after `started_at`. Without `auth_time` the result is false."""
    earliest, latest = (started_at - CLOCK_SKEW).timestamp(), (now + CLOCK_SKEW).timestamp()
    return identity.auth_time is not None and earliest <= identity.auth_time <= latest
