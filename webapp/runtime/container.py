"""The only reader of current_app: the parts of the running application."""

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
# Where the identity provider sends people back to; it has to be registered there in exactly this form.
OPENID_CALLBACK_PATH = "/login/openid/callback"


@dataclass(frozen=True, slots=True)
class Container:
    """What one application consists of."""

    settings: Settings
    registry: ModelRegistry
    refresher: Refresher
    vault: Vault
    outbound: OutboundPolicy
    last_good: LastGoodFile
    process_report: ProcessReport
    source: DatabaseSource
    database_watch: DatabaseHealth
    call_limiter: CallLimiter


def attach(app: Flask, container: Container) -> None:
    app.extensions[KEY] = container


def current() -> Container:
    found: Container = current_app.extensions[KEY]
    return found


def application() -> Flask:
    """The application itself, for threads that outlive the request."""
    found: Flask = current_app._get_current_object()  # type: ignore[attr-defined] # what the proxy stands for
    return found


def is_served_over_tls() -> bool:
    """Whether people open this desk over TLS; a proxy may have ended it before the request arrives here."""
    return settings().base_url.startswith("https://")


def registry() -> ModelRegistry:
    """The application's registry, loaded and kept fresh from the first use on."""
    parts = current()
    parts.refresher.ensure_running()
    return parts.registry


def vault() -> Vault:
    """The vault, checked against the database that it is to serve: with a wrong key it is locked."""
    check = registry().snapshot.catalog.key_check
    if check is not None:
        current().vault.verify_key_check(check)
    return current().vault


def database_state() -> str:
    """The state of the database, by name, as it was found last; nobody waits for it."""
    found = current().database_watch.state
    away = found == database_health.OK and registry().snapshot.source == LAST_GOOD  # Noticed just now, and not looked into yet.
    return database_health.UNREACHABLE if away else found


def settings() -> Settings:
    return current().settings


def identity_provider() -> "IdentityProvider | None":
    """Whom people may sign in through; made when first needed, because what it imports would slow the start."""
    chosen = settings()
    if chosen.openid is None:
        return None
    if IDENTITY not in current_app.extensions:
        from webapp.drivers.identity_provider.client import IdentityProvider

        made = IdentityProvider(chosen.openid, current().outbound, chosen.base_url + OPENID_CALLBACK_PATH)
        current_app.extensions.setdefault(IDENTITY, made)
    found: IdentityProvider = current_app.extensions[IDENTITY]
    return found
