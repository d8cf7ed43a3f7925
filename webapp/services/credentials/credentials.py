"""Provider keys: storing, using and removing. Keys are never shown; the audit log contains only fingerprints."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from webapp.domain.catalog.input_schemas import api_key
from webapp.domain.credentials.key_access import PERSONAL, PROJECT, SHARED
from webapp.domain.shared import validators
from webapp.domain.shared.errors import Conflict, Invalid, KeysLocked, NotFound
from webapp.domain.shared.timestamps import format_timestamp
from webapp.domain.shared.urls import parse_origin
from webapp.models import Credential, Project, Provider, User
from webapp.observability.log_limits import OncePerProcess
from webapp.registry import revision
from webapp.security.vault import SecretContext, Vault
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.credentials import key_check

log = logging.getLogger(__name__)
unreadable_keys_logged = OncePerProcess()
MAX_CALLS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a key: `shared` has no owner, `personal` a user (by email), `project` a project (by slug)."""

    scope: str = SHARED
    owner: str = ""

    def __str__(self) -> str:
        return f"{self.scope}:{self.owner}" if self.owner else self.scope


SHARED_HOLDER = Holder()


def store(session: Session, provider: Provider, key: object, *, vault: Vault, actor: str, holder: Holder = SHARED_HOLDER) -> Credential:  # noqa: PLR0913 # the usual parameters and the holder
    """Store a provider key, bound to the origin of its base URL and to its holder. Raises `Invalid`, `Conflict` or `KeysLocked`."""
    plaintext: str = api_key(key, "api_key")
    revision.bump(session)
    _require_valid_holder(session, provider, holder)
    key_check.ensure_key_check(session, vault)
    existing = get_or_none(session, provider, holder)
    before = _key_audit_values(existing)
    context = secret_context(provider, holder)
    credential = existing or Credential(provider_id=provider.id, scope=holder.scope, owner=holder.owner)
    credential.ciphertext = vault.encrypt(plaintext, context)
    credential.key_id, credential.fingerprint = vault.key_id, vault.fingerprint(plaintext)
    credential.last_four, credential.origin, credential.is_active = plaintext[-4:] if len(plaintext) >= 12 else "", context.origin, True
    credential.created_at = datetime.now(UTC)
    session.add(credential)
    session.flush()
    action = "registry:credential:replace" if existing else "registry:credential:create"
    audit_log.record(
        session, action, actor=actor, target=_provider_target(provider), change=AuditChange(before, _key_audit_values(credential))
    )
    return credential


def _require_valid_holder(session: Session, provider: Provider, holder: Holder) -> None:
    if holder.scope == PERSONAL:
        if not provider.allow_personal_keys:
            raise Conflict(f"{provider.display_name} allows no keys of one's own. An editor can allow them on the provider's page.")
        if session.execute(select(User.id).where(User.email == holder.owner)).scalar_one_or_none() is None:
            raise Invalid.field("owner", "is no member of staff")
    if holder.scope == PROJECT and session.execute(select(Project.id).where(Project.slug == holder.owner)).scalar_one_or_none() is None:
        raise Invalid.field("owner", "is no project: add it under Projects first")


LIMIT_CHECKS: dict[str, validators.Check] = {
    "monthly_limit": validators.optional(validators.integer(1, MAX_CALLS)),
    "expires_at": validators.optional(validators.timestamp),
    "active": validators.boolean,
}


def set_limits(session: Session, credential: Credential, values: dict[str, object], *, actor: str) -> Credential:
    """Set the monthly call limit, the expiry and the active state of a key. Raises `Invalid`."""
    limits: dict[str, Any] = validators.validate(values, LIMIT_CHECKS)
    revision.bump(session)
    before = _limit_audit_values(credential)
    for name, value in limits.items():
        setattr(credential, "is_active" if name == "active" else name, value)
    session.flush()
    target = _provider_target(credential.provider)
    audit_log.record(
        session, "registry:credential:limit", actor=actor, target=target, change=AuditChange(before, _limit_audit_values(credential))
    )
    return credential


def remove(session: Session, provider: Provider, *, actor: str, holder: Holder = SHARED_HOLDER) -> None:
    """Remove a key. Raises `NotFound` if there is none."""
    revision.bump(session)
    credential = get_or_none(session, provider, holder)
    if credential is None:
        raise NotFound(f"{provider.display_name} has no key.")
    _delete_credential(session, provider, credential, actor, "removed by hand")


def remove_all(session: Session, provider: Provider, *, actor: str, reason: str) -> int:
    """Remove every key of a provider, audit the reason, and return the number of removed keys."""
    stored = list_by_provider(session, provider)
    for credential in stored:
        _delete_credential(session, provider, credential, actor, reason)
    return len(stored)


def _delete_credential(session: Session, provider: Provider, credential: Credential, actor: str, reason: str) -> None:
    before = _key_audit_values(credential)
    session.delete(credential)
    session.flush()
    after = {"api_key": None, "reason": reason}
    audit_log.record(
        session, "registry:credential:remove", actor=actor, target=_provider_target(provider), change=AuditChange(before, after)
    )


def list_by_provider(session: Session, provider: Provider) -> Sequence[Credential]:
    """Return all keys of a provider, the shared one first, without ciphertexts."""
    query = select(Credential).where(Credential.provider_id == provider.id)
    return sorted(session.execute(query).scalars(), key=lambda credential: (credential.scope != SHARED, credential.scope, credential.owner))


def list_personal(session: Session, email: str) -> Sequence[Credential]:
    """Return the personal keys of a user."""
    query = select(Credential).where(Credential.scope == PERSONAL, Credential.owner == email)
    return session.execute(query).scalars().all()


def get_or_none(session: Session, provider: Provider, holder: Holder = SHARED_HOLDER) -> Credential | None:
    """Return a key's row, without its ciphertext."""
    query = select(Credential).where(
        Credential.provider_id == provider.id, Credential.scope == holder.scope, Credential.owner == holder.owner
    )
    return session.execute(query).scalar_one_or_none()


def get_shared_or_none(session: Session, provider: Provider) -> Credential | None:
    """Return the shared key's row, without its ciphertext."""
    return get_or_none(session, provider)


def reveal(session: Session, provider: Provider, *, vault: Vault, holder: Holder = SHARED_HOLDER) -> str | None:
    """Return the plaintext key for the driver that is about to use it, or None if there is none. Raises `KeysLocked`."""
    query = select(Credential).where(
        Credential.provider_id == provider.id, Credential.scope == holder.scope, Credential.owner == holder.owner, Credential.is_active
    )
    credential = session.execute(
        query.options(undefer(Credential.ciphertext)).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if credential is None:
        return None
    try:
        return vault.decrypt(credential.ciphertext, secret_context(provider, holder))
    except KeysLocked as error:
        # Moved from another row, tampered with, or encrypted with a lost key. Reading writes no audit event, so a log entry reports it.
        if not vault.locked and unreadable_keys_logged.should_log((credential.id, credential.ciphertext)):
            log.warning("key %d (%s of %s) cannot be used: %s", credential.id, holder.scope, provider.slug, error.detail)
        raise


def secret_context(provider: Provider, holder: Holder = SHARED_HOLDER) -> SecretContext:
    """Return the encryption context of a key. With another provider, origin or holder, its ciphertext cannot be decrypted."""
    field = "api_key" if holder == SHARED_HOLDER else f"api_key:{holder}"
    return SecretContext(provider.id, parse_origin(provider.base_url) if provider.base_url else "", field)


def _provider_target(provider: Provider) -> Target:
    return Target("provider", provider.id, provider.slug)


def _key_audit_values(credential: Credential | None) -> dict[str, str | None] | None:
    if credential is None:
        return None
    values: dict[str, str | None] = {"api_key": f"fingerprint {credential.fingerprint}", "origin": credential.origin}
    return values if credential.scope == SHARED else values | {"scope": credential.scope, "owner": credential.owner}


def _limit_audit_values(credential: Credential) -> dict[str, Any]:
    return {
        "holder": str(Holder(credential.scope, credential.owner)),
        "monthly_limit": credential.monthly_limit,
        "expires_at": format_timestamp(credential.expires_at) if credential.expires_at else None,
        "active": credential.is_active,
    }
