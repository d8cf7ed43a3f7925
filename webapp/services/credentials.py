"""Keys of providers: written, used, removed; never shown. The audit trail holds fingerprints only."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from webapp.domain.entries import api_key
from webapp.domain.errors import NotFound
from webapp.models import Credential, Provider
from webapp.security.urlguard import origin
from webapp.security.vault import Place, Vault
from webapp.services import audit, setup, state
from webapp.services.audit import Target


def store(session: Session, provider: Provider, key: object, *, vault: Vault, actor: str) -> Credential:
    """Stores the shared key of a provider, bound to the origin of its base URL. Raises `Invalid` or `KeysLocked`."""
    clean: str = api_key(key, "api_key")
    state.changing(session)
    setup.ensure_key_check(session, vault)
    found = shared(session, provider)
    before = _facts(found)
    place = place_of(provider)
    credential = found or Credential(provider_id=provider.id, scope="shared", owner="")
    credential.ciphertext = vault.encrypt(clean, place)
    credential.key_id, credential.fingerprint = vault.key_id, vault.fingerprint(clean)
    credential.last_four, credential.origin, credential.is_active = clean[-4:] if len(clean) >= 12 else "", place.origin, True
    credential.created_at = datetime.now(UTC)
    session.add(credential)
    session.flush()
    action = "registry:credential:replace" if found else "registry:credential:create"
    audit.record(session, action, actor=actor, target=_target(provider), change=(before, _facts(credential)))
    return credential


def remove(session: Session, provider: Provider, *, actor: str) -> None:
    """Removes the shared key. Raises `NotFound` if there is none."""
    state.changing(session)
    found = shared(session, provider)
    if found is None:
        raise NotFound(f"{provider.display_name} has no key.")
    _remove(session, provider, found, actor, "removed by hand")


def clear_all(session: Session, provider: Provider, *, actor: str, reason: str) -> int:
    """Removes every key of a provider, and says why in the trail. The number of keys that were removed."""
    found = session.execute(select(Credential).where(Credential.provider_id == provider.id)).scalars().all()
    for credential in found:
        _remove(session, provider, credential, actor, reason)
    return len(found)


def _remove(session: Session, provider: Provider, credential: Credential, actor: str, reason: str) -> None:
    before = _facts(credential)
    session.delete(credential)
    session.flush()
    after = {"api_key": None, "reason": reason}
    audit.record(session, "registry:credential:remove", actor=actor, target=_target(provider), change=(before, after))


def shared(session: Session, provider: Provider) -> Credential | None:
    """The shared key's row, without its ciphertext."""
    query = select(Credential).where(Credential.provider_id == provider.id, Credential.scope == "shared", Credential.owner == "")
    return session.execute(query).scalar_one_or_none()


def reveal(session: Session, provider: Provider, *, vault: Vault) -> str | None:
    """The shared key in clear, for the driver that is about to use it; None if there is none. Raises `KeysLocked`."""
    query = select(Credential).where(
        Credential.provider_id == provider.id, Credential.scope == "shared", Credential.owner == "", Credential.is_active
    )
    found = session.execute(query.options(undefer(Credential.ciphertext)).execution_options(populate_existing=True)).scalar_one_or_none()
    return None if found is None else vault.decrypt(found.ciphertext, place_of(provider))


def place_of(provider: Provider) -> Place:
    return Place(provider.id, origin(provider.base_url) if provider.base_url else "")


def _target(provider: Provider) -> Target:
    return Target("provider", provider.id, provider.slug)


def _facts(credential: Credential | None) -> dict[str, str | None] | None:
    if credential is None:
        return None
    return {"api_key": f"fingerprint {credential.fingerprint}", "origin": credential.origin}
