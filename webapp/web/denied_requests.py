"""Auditing of denied requests from identified callers. The denial is returned even if it cannot be recorded."""

import logging
from datetime import UTC, datetime

from flask import g, request
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.shared.errors import Forbidden, ModeldeskError
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.audit import denied_requests
from webapp.services.audit.denied_requests import DeniedRequest
from webapp.web.auth import actor, get_member_or_none
from webapp.web.requests import SAFE_METHODS

log = logging.getLogger(__name__)


def record_denial(error: ModeldeskError) -> None:
    """Record a change that was denied because of a missing permission.

    Other denials have their own codes. Anonymous clients are not recorded, because there is no actor to name.
    """
    if type(error) is not Forbidden or error.code != Forbidden.code or request.method in SAFE_METHODS:
        return
    try:
        if "token" in g or get_member_or_none() is not None:
            _write(DeniedRequest(actor(), f"{request.method} {request.url_rule}"))
    except (ModeldeskError, SQLAlchemyError) as failure:
        if container.current().registry.outage_log.should_log():
            log.warning("a refusal could not be written into the audit log: %s", type(failure).__name__)


def _write(denied: DeniedRequest) -> None:
    now, session = datetime.now(UTC), db.session()
    session.rollback()
    if denied_requests.remaining_quota(session, denied.actor, now) <= 0:
        return  # Repeated denials do not take the write lock.
    with writing(refresh=False) as writer:
        denied_requests.record_denial(writer, denied, now)
