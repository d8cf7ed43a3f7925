"""What a known caller asked for and was refused, written into the trail. The refusal is the answer whether or not that can be done."""

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
    """For refusals of changes for want of a right. Other refusals have codes of their own, and of a stranger there is nobody to name."""
    if type(error) is not Forbidden or error.code != Forbidden.code or request.method in SAFE_METHODS:
        return
    try:
        if "token" in g or get_member_or_none() is not None:
            _write(DeniedRequest(actor(), f"{request.method} {request.url_rule}"))
    except (ModeldeskError, SQLAlchemyError) as failed:
        if container.current().registry.outage_log.should_log():
            log.warning("a refusal could not be written into the audit log: %s", type(failed).__name__)


def _write(denied: DeniedRequest) -> None:
    now, session = datetime.now(UTC), db.session()
    session.rollback()
    if denied_requests.remaining_quota(session, denied.actor, now) <= 0:
        return  # Whoever is refused all the time keeps no writer waiting.
    with writing(refresh=False) as writer:
        denied_requests.record_denial(writer, denied, now)
