"""Access: gathers the facts for `domain.credentials.key_access`, and counts each call of a key before the provider is asked."""

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
    """A key has made all the calls that it may make this month. `retry_after` is in seconds."""

    status = 429
    code = "limit_reached"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Caller:
    """Who wants to use a provider: a member of staff by e-mail, an application by the project of its token, or the operator."""

    email: str | None = None
    project: str | None = None

    @property
    def visibility_group(self) -> str:
        """Who may know of each other's runs: the staff, the applications of one project, or those of none."""
        return "staff" if self.email else f"project {self.project or ''}"


OPERATOR = Caller()  # Whoever sits at the server: has no key of his own and belongs to no project.


def decide_access(session: Session, provider: Provider, caller: Caller, environment: EnvironmentKeys) -> Access:
    """Whether this caller may use this provider, and with which key."""
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
    """The project's key; none while the project is inactive."""
    active = session.execute(select(Project.is_active).where(Project.slug == slug)).scalar_one_or_none()
    return _holder_key(session, provider, Holder(PROJECT, slug), now) if active else None


def _holder_key(session: Session, provider: Provider, holder: Holder, now: datetime) -> StoredKey | None:
    found = credentials.get_or_none(session, provider, holder)
    if found is None:
        return None
    used = count_calls(session, found.id, now)
    return StoredKey(found.id, found.scope, found.owner, found.is_active, found.expires_at, found.monthly_limit, used)


def count_calls(session: Session, credential_id: int, now: datetime | None = None) -> int:
    """How many calls a key has made this month."""
    c = CredentialCounter
    mine = (c.credential_id == credential_id, c.period == period_of(now or datetime.now(UTC)))
    return session.execute(select(c.calls).where(*mine)).scalar_one_or_none() or 0


def consume_call(session: Session, key: StoredKey | None, now: datetime | None = None) -> None:
    """Counts one call of a key, in the transaction of the caller, before the provider is asked. Raises `LimitReached` if none is left.

    One statement counts and checks, so that any number of workers together never make one call too many.
    """
    if key is None:
        return
    moment = now or datetime.now(UTC)
    c = CredentialCounter
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    first = dialect.insert(c).values(credential_id=key.id, period=period_of(moment), calls=0)
    session.execute(first.on_conflict_do_nothing(index_elements=["credential_id", "period"]))
    count = update(c).where(c.credential_id == key.id, c.period == period_of(moment)).values(calls=c.calls + 1)
    limit = session.execute(select(Credential.monthly_limit).where(Credential.id == key.id)).scalar_one_or_none()
    if limit is not None:
        count = count.where(c.calls < limit)
    if session.execute(count.execution_options(synchronize_session=False)).rowcount == 0:  # type: ignore[attr-defined] # an UPDATE counts its rows
        seconds = round((next_period(moment) - moment).total_seconds())
        raise LimitReached(f"This key {describe_limit(limit or 0, moment)}", seconds)
    used = update(Credential).where(Credential.id == key.id).values(last_used_at=moment, updated_at=Credential.updated_at)
    audit_log.update_without_audit(session, used)
