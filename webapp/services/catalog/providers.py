"""Providers: creating, editing, activating, and the primary provider. Each function changes the session and writes the audit event."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.driver_config import request_overrides
from webapp.domain.catalog.input_schemas import validate_provider
from webapp.domain.shared.errors import Conflict, FieldError, Forbidden, InUse, Invalid, NotFound, Stale
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.urls import parse_origin
from webapp.drivers import DRIVERS, driver_names
from webapp.models import MAX_ID, Model, Provider
from webapp.registry import revision
from webapp.security.urlguard import OutboundPolicy
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import model_names
from webapp.services.catalog.registry_batch import Batch, open_batch
from webapp.services.credentials import credentials

STRICT_POLICY = OutboundPolicy()  # Only public addresses over HTTPS.
# Entry fields whose columns have other names.
COLUMNS: Mapping[str, str] = {"active": "is_active"}


def find(session: Session, provider_id: int, *, version: int | None = None) -> Provider:
    """Return the row, locked for a change. Raises `NotFound`, or `Stale` if `version` is not the current one."""
    provider = session.get(Provider, provider_id, with_for_update=True, populate_existing=True) if provider_id <= MAX_ID else None
    if provider is None:
        raise NotFound("There is no such provider.")
    if version is not None and provider.version != version:
        raise Stale("Somebody else changed this provider meanwhile. Look at the change, and save again.")
    return provider


def get_by_slug_or_none(session: Session, slug: str) -> Provider | None:
    return session.execute(select(Provider).where(Provider.slug == slug)).scalar_one_or_none()


def create(session: Session, values: Mapping[str, object], *, actor: str, policy: OutboundPolicy = STRICT_POLICY) -> Provider:
    """Add a provider. `policy` sets the allowed addresses. Raises `Invalid`, or `Conflict` if the slug is taken."""
    entry = validate_provider(values, partial=False)
    _require_known_driver(entry)
    _require_base_url(entry["driver"], entry["base_url"], active=entry["active"])
    _require_allowed_address(entry, None, policy)
    revision.bump(session)
    with open_batch(session) as batch:
        if entry["slug"] in batch.providers:
            raise _slug_conflict(entry["slug"])
        provider = Provider(is_primary=False, **_as_columns(entry))
        if entry["required_environment"]:
            _require_key_permission(session, {}, request_overrides(provider.base_url, provider.config), actor)
        session.add(provider)
        batch.providers[provider.slug] = provider
        change = AuditChange(None, audit_values(provider))
        audit_log.record(session, "registry:provider:create", actor=actor, target=partial(target, provider), change=change)
    return provider


def update(  # noqa: PLR0913 # the usual parameters and the outbound policy
    session: Session,
    provider_id: int,
    values: Mapping[str, object],
    *,
    actor: str,
    version: int | None = None,
    policy: OutboundPolicy = STRICT_POLICY,
    confirmed: Collection[str] = (),
) -> Provider:
    """Change the named fields. A change of the keys' destination deletes the keys, which were entered for the old address.

    Raises `ConfirmationRequired` if a new slug gives names in use another meaning.
    """
    _require_known_driver(validate_provider(values, partial=True))
    revision.bump(session)
    return change(session, find(session, provider_id, version=version), values, actor=actor, policy=policy, confirmed=confirmed)


def change(  # noqa: PLR0913 # the usual parameters and the outbound policy
    session: Session,
    provider: Provider,
    values: Mapping[str, object],
    *,
    actor: str,
    policy: OutboundPolicy = STRICT_POLICY,
    confirmed: Collection[str] = (),
) -> Provider:
    """Change the named fields of a row, like `update`."""
    entry = validate_provider(values, partial=True)
    _require_known_driver(entry)
    revision.bump(session)
    before = audit_values(provider)
    with open_batch(session) as batch:
        _require_valid_edit(session, batch, provider, entry)
        if any(entry.get(name, before[name]) != before[name] for name in ("driver", "base_url", "active")):
            driver, base_url = entry.get("driver", provider.driver), entry.get("base_url", provider.base_url)
            _require_base_url(driver, base_url, active=entry.get("active", provider.is_active))
        _require_allowed_address(entry, provider, policy)
        destination_changed = changes_destination(provider, entry)
        old_overrides, old_variables = request_overrides(provider.base_url, provider.config), set(provider.required_environment)
        changes_names = entry.get("slug", provider.slug) != provider.slug
        with model_names.keep_meanings(session, confirmed, changes_names=changes_names) as confirmations:
            for name, value in _as_columns(entry).items():
                setattr(provider, name, value)
            if changes_names:
                batch.rename_provider(before["slug"], provider)
        if destination_changed:
            credentials.remove_all(session, provider, actor=actor, reason="the base URL now leads elsewhere")
            if "config" not in entry:  # Headers from before were meant for the old address, like the key.
                provider.config = {name: value for name, value in provider.config.items() if name != "extra_headers"}
        if credentials.list_by_provider(session, provider) or provider.required_environment:
            authorized = old_overrides if old_variables >= set(provider.required_environment) else {}
            _require_key_permission(session, authorized, request_overrides(provider.base_url, provider.config), actor)
        after = audit_values(provider) | model_names.confirmed_values(confirmations)
        target_of = partial(target, provider)
        audit_log.record(session, "registry:provider:update", actor=actor, target=target_of, change=AuditChange(before, after))
    return provider


def _require_key_permission(session: Session, before: Mapping[str, Any], after: Mapping[str, Any], actor: str) -> None:
    """Require permission to write keys for a change of the request path or template of a provider with a key.

    Otherwise the change could use the key for any request.
    """
    if after and after != before and not accounts.actor_has_permission(session, actor, Permission.CREDENTIALS_WRITE):
        raise Forbidden(
            "Only admins may say with which path or request template a provider is asked that has a key, or names a variable for one. "
            "Nothing was changed."
        )


def _require_valid_edit(session: Session, batch: Batch, provider: Provider, entry: Mapping[str, Any]) -> None:
    if "slug" in entry and entry["slug"] != provider.slug and entry["slug"] in batch.providers:
        raise _slug_conflict(entry["slug"])
    if entry.get("active") is False:
        _require_no_dependents(session, provider)


def delete(session: Session, provider_id: int, *, actor: str, version: int | None = None) -> None:
    """Delete a provider without models. Raises `InUse` with its models."""
    revision.bump(session)
    provider = find(session, provider_id, version=version)
    models = session.execute(select(Model.model_id).where(Model.provider_id == provider.id).order_by(Model.model_id)).scalars().all()
    if models:
        users = [f"{provider.slug}/{model_id}" for model_id in models]
        raise InUse(f"{provider.display_name} still has {len(users)} model(s). Delete or move them first, or deactivate it.", users)
    if provider.is_primary:
        raise InUse(f"{provider.display_name} is the primary provider. Choose another one, or none, first.", ["primary"])
    credentials.remove_all(session, provider, actor=actor, reason="the provider is deleted")
    before, subject = audit_values(provider), target(provider)
    session.delete(provider)
    session.flush()
    audit_log.record(session, "registry:provider:delete", actor=actor, target=subject, change=AuditChange(before, None))


def set_active(session: Session, provider_id: int, active: bool | None = None, *, actor: str, version: int | None = None) -> Provider:
    """Activate or deactivate a provider, or toggle it if `active` is None. Raises `InUse`."""
    revision.bump(session)
    provider = find(session, provider_id, version=version)
    is_active = not provider.is_active if active is None else active
    if not is_active:
        _require_no_dependents(session, provider)
    _require_base_url(provider.driver, provider.base_url, active=is_active)
    before = audit_values(provider)
    provider.is_active = is_active
    action = "activate" if is_active else "deactivate"
    audit_log.record(
        session, f"registry:provider:{action}", actor=actor, target=target(provider), change=AuditChange(before, audit_values(provider))
    )
    return provider


def set_primary(session: Session, provider_id: int, *, actor: str) -> Provider:
    """Make this the only primary provider. It must be active. It needs no key; runs report a missing one."""
    revision.bump(session)
    return make_primary(session, find(session, provider_id), actor=actor)


def make_primary(session: Session, provider: Provider, *, actor: str) -> Provider:
    """Make this row the only primary provider, like `set_primary`."""
    if not provider.is_active:
        raise Conflict(f"{provider.display_name} is inactive. Activate it before it becomes primary.", code="inactive")
    with open_batch(session) as batch:
        before = {"primary": _primary_slug(session)}
        _unset_primary(session, batch)
        provider.is_primary = True
        change = AuditChange(before, {"primary": provider.slug})
        audit_log.record(session, "registry:provider:set_primary", actor=actor, target=partial(target, provider), change=change)
    return provider


def clear_primary(session: Session, *, actor: str) -> None:
    """Leave no primary provider, so that only the built-in rules analyze incidents."""
    revision.bump(session)
    with open_batch(session) as batch:
        before = {"primary": _primary_slug(session)}
        _unset_primary(session, batch)
    subject = Target("provider", None, before["primary"] or "none")
    audit_log.record(session, "registry:provider:clear_primary", actor=actor, target=subject, change=AuditChange(before, {"primary": None}))


def _primary_slug(session: Session) -> str | None:
    return session.execute(select(Provider.slug).where(Provider.is_primary)).scalar_one_or_none()


def _unset_primary(session: Session, batch: Batch) -> None:
    for provider in session.execute(select(Provider).where(Provider.is_primary)).scalars():
        provider.is_primary = False
    batch.flush()  # Flush before setting another one, because the index allows only one.


def _require_no_dependents(session: Session, provider: Provider) -> None:
    if provider.is_primary:
        raise InUse(f"{provider.display_name} is the primary provider. Choose another one, or none, before deactivating it.", ["primary"])
    defaults = session.execute(select(Model).where(Model.provider_id == provider.id, Model.is_default)).scalars().all()
    if defaults and provider.is_active:
        users = [f"default for {model.type}: {model.ref}" for model in defaults]
        raise InUse(f"{provider.display_name} holds {users[0]}. Choose another default first.", users)


def _require_known_driver(entry: Mapping[str, Any]) -> None:
    if "driver" in entry and entry["driver"] not in driver_names():
        raise Invalid.field("driver", f"must be one of {', '.join(driver_names())}")


def _require_base_url(driver: str, base_url: str | None, *, active: bool) -> None:
    """Require a base URL if the driver has no default one. An inactive provider, such as one from a catalog, can get it later."""
    info = DRIVERS.get(driver)
    if active and not base_url and info and info.needs_base_url and info.base_url is None:
        raise Invalid.field("base_url", f"is required for a provider with the driver {driver}: enter the address of its API")


def _require_allowed_address(entry: Mapping[str, Any], provider: Provider | None, policy: OutboundPolicy) -> None:
    """Reject a base URL that drivers must not connect to, when it is entered. An unchanged one stays valid."""
    base_url, driver = entry.get("base_url"), entry.get("driver", provider and provider.driver)
    default_url = DRIVERS[driver].base_url  # The seed data contains it too. Every address is checked again when it is used.
    if base_url is None or base_url == default_url or (provider is not None and base_url == provider.base_url):
        return
    policy.check_url(base_url)


def changes_destination(provider: Provider, entry: Mapping[str, Any]) -> bool:
    """Return whether keys would go to a different address than before. Without a base URL, the driver's default counts."""
    base_url, driver = entry.get("base_url", provider.base_url), entry.get("driver", provider.driver)
    return _destination(base_url, driver) != _destination(provider.base_url, provider.driver)


def _destination(base_url: str | None, driver: str) -> str:
    return parse_origin(base_url) if base_url else f"the address of the driver {driver}"


def _slug_conflict(slug: str) -> Conflict:
    return Conflict(f"The slug {slug} is taken.", [FieldError("slug", "is taken by another provider")], code="duplicate")


def _as_columns(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {COLUMNS.get(name, name): value for name, value in entry.items()}


def target(provider: Provider) -> Target:
    return Target("provider", provider.id, provider.slug)


def audit_values(provider: Provider) -> dict[str, Any]:
    """Return a provider's values for the audit log, never a key."""
    temperature = provider.default_temperature
    return {
        "slug": provider.slug,
        "display_name": provider.display_name,
        "driver": provider.driver,
        "base_url": provider.base_url,
        "active": provider.is_active,
        "primary": provider.is_primary,
        "default_temperature": None if temperature is None else format_decimal(temperature),
        "default_max_tokens": provider.default_max_tokens,
        "timeout_seconds": provider.timeout_seconds,
        "config": provider.config,
        "required_environment": provider.required_environment,
        "allow_shared_key": provider.allow_shared_key,
        "allow_personal_keys": provider.allow_personal_keys,
        "sort_order": provider.sort_order,
        "website": provider.website,
        "documentation_url": provider.documentation_url,
        "description": provider.description,
    }
