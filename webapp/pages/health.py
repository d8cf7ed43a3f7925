"""Health and metrics endpoints for monitoring."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from webapp.domain.accounts.permissions import Permission, scopes_allow
from webapp.domain.catalog.snapshot import DATABASE
from webapp.domain.shared.errors import Forbidden
from webapp.domain.shared.timestamps import format_timestamp
from webapp.registry import database_health
from webapp.runtime import container
from webapp.web.auth import token_from_request

blueprint = Blueprint("health", __name__)
LOOPBACK = ("127.0.0.1", "::1")


@blueprint.get("/healthz")
def alive() -> ResponseReturnValue:
    return {"status": "ok"}


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    """Report readiness. A worker stays ready without the database, because it responds from its snapshot."""
    snapshot = container.registry().snapshot
    database = container.database_state()
    advice = {"detail": database_health.ADVICE[database]} if database in database_health.ADVICE else {}
    return advice | {
        "database": database,
        "revision": snapshot.revision,
        "source": snapshot.source,
        "as_of": format_timestamp(snapshot.as_of),
        "keys": "locked" if container.vault().locked else "unlocked",
    }


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Return metrics for Prometheus. Allowed from this host, or with a token that can read the registry."""
    token = token_from_request()
    if not _is_local_request() and not (token and scopes_allow(token.scopes, Permission.REGISTRY_READ)):
        raise Forbidden("Metrics are served to this machine, or with a token that may read the registry.")
    snapshot = container.registry().snapshot
    workers_current, workers_total = container.current().process_report.count_current(snapshot.revision)
    gauges = {
        "modeldesk_registry_revision": (snapshot.revision, "Revision of the registry that this process serves."),
        "modeldesk_registry_models": (len(snapshot.models), "Models in the registry, inactive ones included."),
        "modeldesk_registry_providers": (len(snapshot.providers), "Providers in the registry."),
        "modeldesk_registry_from_database": (int(snapshot.source == DATABASE), "1 while answers come from the database's present state."),
        "modeldesk_registry_as_of_seconds": (int(snapshot.as_of.timestamp()), "When the registry was read, in seconds since 1970."),
        "modeldesk_workers": (workers_total, "Processes heard of lately."),
        "modeldesk_workers_current": (workers_current, "Processes that serve this revision or a newer one."),
        "modeldesk_keys_locked": (int(container.vault().locked), "1 while no key can be decrypted."),
    }
    lines = [f"# HELP {name} {help_text}\n# TYPE {name} gauge\n{name} {value}\n" for name, (value, help_text) in gauges.items()]
    return Response("".join(lines), mimetype="text/plain; version=0.0.4")


def _is_local_request() -> bool:
    """Return whether the request comes directly from this host.

    A proxied request is never local, because a client can spoof the forwarded address.
    """
    is_proxied = any(request.headers.get(name) for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))
    return request.remote_addr in LOOPBACK and not is_proxied
