"""The container of an application's services. It is the only module that reads `current_app`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Flask, current_app

from webapp.config.settings import Settings
from webapp.domain.catalog.snapshot import LAST_GOOD
from webapp.registry import database_health
from webapp.registry.database_health import DatabaseHealth
from webapp.registry.last_good import LastGoodFile
from webapp.registry.loader import DatabaseSource
from webapp.registry.refresher import ProcessReport, Refresher
from webapp.registry.registry import ModelRegistry
from webapp.runtime.call_limiter import CallLimiter
from webapp.security.urlguard import OutboundPolicy
from webapp.security.vault import Vault

if TYPE_CHECKING:
    from webapp.drivers.identity_provider.client import IdentityProvider

KEY, IDENTITY = "modeldesk", "modeldesk-identity"
# The path of the redirect URI. It must be registered at the identity provider in exactly this form.
OPENID_CALLBACK_PATH = "/login/openid/callback"


@dataclass(frozen=True, slots=True)
class Container:
    """The services and settings of one application."""

    settings: Settings
    registry: ModelRegistry
    refresher: Refresher
    vault: Vault
    outbound: OutboundPolicy
    last_good: LastGoodFile
    process_report: ProcessReport
    source: DatabaseSource
    database_health: DatabaseHealth
    call_limiter: CallLimiter


def attach(app: Flask, container: Container) -> None:
    app.extensions[KEY] = container


def current() -> Container:
    container: Container = current_app.extensions[KEY]
    return container


def application() -> Flask:
    """Return the application itself, for threads that outlive the request."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined] # The proxy's target.
    return app


def is_served_over_tls() -> bool:
    """Return whether users reach Modeldesk over TLS. A proxy can terminate TLS before the request arrives here."""
    return settings().base_url.startswith("https://")


def registry() -> ModelRegistry:
    """Return the application's registry, which is loaded on first use and then refreshed in the background."""
    container = current()
    container.refresher.ensure_running()
    return container.registry


def vault() -> Vault:
    """Return the vault, checked against the database's key check. With an incorrect key, the vault is locked."""
    check = registry().snapshot.catalog.key_check
    if check is not None:
        current().vault.verify_key_check(check)
    return current().vault


def database_state() -> str:
    """Return the name of the last known database state, without waiting for a check."""
    state = current().database_health.state
    unreachable = state == database_health.OK and registry().snapshot.source == LAST_GOOD  # No health check has detected it yet.
    return database_health.UNREACHABLE if unreachable else state


def settings() -> Settings:
    return current().settings


def identity_provider() -> "IdentityProvider | None":
    """Return the identity provider for sign-in, or None without one. It is created on first use: its imports would slow the start."""
    config = settings()
    if config.openid is None:
        return None
    if IDENTITY not in current_app.extensions:
        from webapp.drivers.identity_provider.client import IdentityProvider

        created = IdentityProvider(config.openid, current().outbound, config.base_url + OPENID_CALLBACK_PATH)
        current_app.extensions.setdefault(IDENTITY, created)
    provider: IdentityProvider = current_app.extensions[IDENTITY]
    return provider
