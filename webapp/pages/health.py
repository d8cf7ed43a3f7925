"""Health and metrics endpoints for monitoring."""

from datetime import UTC, datetime

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.accounts.permissions import Permission, scopes_allow
from webapp.domain.catalog.snapshot import DATABASE
from webapp.domain.shared.errors import Forbidden
from webapp.domain.shared.timestamps import format_timestamp
from webapp.extensions import db
from webapp.registry import database_health
from webapp.runtime import container
from webapp.services.jobs import queue_status
from webapp.services.jobs.queue_status import QueueStatus
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
    return (
        advice
        | _job_values()
        | {
            "database": database,
            "revision": snapshot.revision,
            "source": snapshot.source,
            "as_of": format_timestamp(snapshot.as_of),
            "keys": "locked" if container.vault().locked else "unlocked",
        }
    )


def _job_values() -> dict[str, object]:
    """Return the queue of jobs, or nothing while the database cannot be read: readiness does not depend on it."""
    status, now = read_job_queue(), datetime.now(UTC)
    if status is None:
        return {}
    jobs = {"queued": status.queued, "running": status.running, "oldest_queued_seconds": int(status.wait(now).total_seconds())}
    return {"jobs": jobs | {"workers": status.workers}}


def read_job_queue() -> QueueStatus | None:
    """Return the state of the queue, or None while the database cannot be read."""
    if container.database_state() != database_health.OK:
        return None
    try:
        return queue_status.read(db.session(), datetime.now(UTC))
    except SQLAlchemyError:
        return None


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
    if status := read_job_queue():
        gauges |= {
            "modeldesk_jobs_queued": (status.queued, "Jobs that wait for a job worker."),
            "modeldesk_jobs_running": (status.running, "Jobs that a job worker has claimed."),
            "modeldesk_jobs_oldest_seconds": (int(status.wait(datetime.now(UTC)).total_seconds()), "How long the oldest job has waited."),
            "modeldesk_job_workers": (status.workers, "Job workers that reported recently."),
        }
    lines = [f"# HELP {name} {help_text}\n# TYPE {name} gauge\n{name} {value}\n" for name, (value, help_text) in gauges.items()]
    return Response("".join(lines), mimetype="text/plain; version=0.0.4")


def _is_local_request() -> bool:
    """Return whether the request comes directly from this host.

    A proxied request is never local, because a client can spoof the forwarded address.
    """
    is_proxied = any(request.headers.get(name) for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))
    return request.remote_addr in LOOPBACK and not is_proxied
