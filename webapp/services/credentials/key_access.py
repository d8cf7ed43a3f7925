"""Access to keys: collects the inputs of `domain.credentials.key_access`, and counts each call before the provider request."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.domain.credentials.environment_keys import EnvironmentKeys
from webapp.domain.credentials.key_access import (
    PERSONAL,
    PROJECT,
    Access,
    AccessContext,
    StoredKey,
    describe_limit,
    evaluate_access,
    next_period,
    period_of,
)
from webapp.domain.shared.errors import ModeldeskError
from webapp.drivers import needs_key
from webapp.models import Credential, CredentialCounter, Project, Provider
from webapp.services.audit import audit_log
from webapp.services.credentials import credentials, endpoints
from webapp.services.credentials.credentials import Holder


class LimitReached(ModeldeskError):
    """A key has used all its calls for this month. `retry_after` is in seconds."""

    status = 429
    code = "limit_reached"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a provider: staff by email, an application by the project of its token, or the operator."""

    email: str | None = None
    project: str | None = None

    @property
    def visibility_group(self) -> str:
        """The group that sees each other's runs: the staff, the applications of one project, or those without a project."""
        return "staff" if self.email else f"project {self.project or ''}"


OPERATOR = Caller()  # A person with access to the server, without a personal key or a project.


def decide_access(session: Session, provider: Provider, caller: Caller, environment: EnvironmentKeys) -> Access:
    """Return whether this caller can use this provider, and with which key."""
    now = datetime.now(UTC)
    return evaluate_access(_access_inputs(session, provider, caller, environment, now), now)


def _access_inputs(session: Session, provider: Provider, caller: Caller, environment: EnvironmentKeys, now: datetime) -> AccessContext:
    return AccessContext(
        provider=provider.display_name,
        active=provider.is_active,
        needs_key=needs_key(provider.driver, provider.required_environment),
        allow_shared=provider.allow_shared_key,
        allow_personal=provider.allow_personal_keys,
        personal=_holder_key(session, provider, Holder(PERSONAL, caller.email), now) if caller.email else None,
        project=_project_key(session, provider, caller.project, now) if caller.project else None,
        shared=_holder_key(session, provider, credentials.SHARED_HOLDER, now),
        variable=endpoints.key_variable(provider, environment),
        unbound_variable=endpoints.blocked_key_variable(provider, environment),
    )


def _project_key(session: Session, provider: Provider, slug: str, now: datetime) -> StoredKey | None:
    """Return the project's key, or None while the project is inactive."""
    active = session.execute(select(Project.is_active).where(Project.slug == slug)).scalar_one_or_none()
    return _holder_key(session, provider, Holder(PROJECT, slug), now) if active else None


def _holder_key(session: Session, provider: Provider, holder: Holder, now: datetime) -> StoredKey | None:
    credential = credentials.get_or_none(session, provider, holder)
    if credential is None:
        return None
    calls = count_calls(session, credential.id, now)
    return StoredKey(
        credential.id, credential.scope, credential.owner, credential.is_active, credential.expires_at, credential.monthly_limit, calls
    )


def count_calls(session: Session, credential_id: int, now: datetime | None = None) -> int:
    """Return the number of calls of a key in the current month."""
    counter = CredentialCounter
    this_month = (counter.credential_id == credential_id, counter.period == period_of(now or datetime.now(UTC)))
    return session.execute(select(counter.calls).where(*this_month)).scalar_one_or_none() or 0


def consume_call(session: Session, key: StoredKey | None, now: datetime | None = None) -> None:
    """Count one call of a key, in the caller's transaction, before the provider request. Raises `LimitReached` if none is left.

    One statement counts and checks, so that concurrent workers never exceed the limit.
    """
    if key is None:
        return
    at = now or datetime.now(UTC)
    counter = CredentialCounter
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = dialect.insert(counter).values(credential_id=key.id, period=period_of(at), calls=0)
    session.execute(insert.on_conflict_do_nothing(index_elements=["credential_id", "period"]))
    increment = update(counter).where(counter.credential_id == key.id, counter.period == period_of(at)).values(calls=counter.calls + 1)
    limit = session.execute(select(Credential.monthly_limit).where(Credential.id == key.id)).scalar_one_or_none()
    if limit is not None:
        increment = increment.where(counter.calls < limit)
    if session.execute(increment.execution_options(synchronize_session=False)).rowcount == 0:  # type: ignore[attr-defined] # an UPDATE counts its rows
        seconds = round((next_period(at) - at).total_seconds())
        raise LimitReached(f"This key {describe_limit(limit or 0, at)}", seconds)
    last_use = update(Credential).where(Credential.id == key.id).values(last_used_at=at, updated_at=Credential.updated_at)
    audit_log.update_without_audit(session, last_use)
