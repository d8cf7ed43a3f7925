"""Selection of the key for a call, or the reason why there is none. The page that shows it and the call that uses it share this code.

The most specific key that the provider allows is selected: personal, project, shared, then a variable of the server's environment.
A key that exists but is unusable (expired, inactive, limit reached) is reported. It is never skipped in favor of another owner's key,
because that owner would pay without knowing (docs/adr/0012).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from webapp.domain.credentials.environment_keys import BINDINGS_SETTING
from webapp.domain.shared.timestamps import format_timestamp


class AccessState(StrEnum):
    """The access of a caller to a provider."""

    AVAILABLE_PERSONAL = "AVAILABLE_PERSONAL"
    AVAILABLE_PROJECT = "AVAILABLE_PROJECT"
    AVAILABLE_SHARED = "AVAILABLE_SHARED"
    AVAILABLE_ENVIRONMENT = "AVAILABLE_ENVIRONMENT"
    AVAILABLE_WITHOUT_KEY = "AVAILABLE_WITHOUT_KEY"
    NO_ACCESS = "NO_ACCESS"
    DISABLED = "DISABLED"


AVAILABLE = frozenset(state for state in AccessState if state.startswith("AVAILABLE"))
PERSONAL, PROJECT, SHARED = "personal", "project", "shared"
SCOPES = (PERSONAL, PROJECT, SHARED)
_STATES = {PERSONAL: AccessState.AVAILABLE_PERSONAL, PROJECT: AccessState.AVAILABLE_PROJECT, SHARED: AccessState.AVAILABLE_SHARED}
_KEY_LABELS = {PERSONAL: "your own key", PROJECT: "the project's key", SHARED: "the shared key"}


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The fields of a stored key that the decision needs. `used` is the number of calls in the current month."""

    id: int
    scope: str
    owner: str = ""
    active: bool = True
    expires_at: datetime | None = None
    monthly_limit: int | None = None
    used: int = 0

    @property
    def source(self) -> str:
        """The source of the key for records: `shared`, `personal:ann@example.com`, `project:billing`."""
        return f"{self.scope}:{self.owner}" if self.owner else self.scope


@dataclass(frozen=True, slots=True)
class AccessContext:
    """The inputs of the decision."""

    provider: str  # The display name.
    active: bool = True
    needs_key: bool = True
    allow_shared: bool = True
    allow_personal: bool = False
    personal: StoredKey | None = None
    project: StoredKey | None = None
    shared: StoredKey | None = None
    variable: str | None = None  # The environment variable that holds a key.
    unbound_variable: str | None = None  # A variable that is not bound to this provider's origin.


@dataclass(frozen=True, slots=True)
class Access:
    """The decision, and a sentence with the reason and the next step. `key` is the stored key to use, if any."""

    state: AccessState
    reason: str
    key: StoredKey | None = None
    variable: str | None = None

    @property
    def available(self) -> bool:
        return self.state in AVAILABLE

    @property
    def source(self) -> str:
        """The source of the key for records."""
        if self.key is not None:
            return self.key.source
        return f"environment:{self.variable}" if self.variable else "none"


def evaluate_access(context: AccessContext, now: datetime) -> Access:
    """Return whether a caller can use a provider, and with which key."""
    if not context.active:
        return Access(AccessState.DISABLED, f"{context.provider} is inactive. Activate it on its page.")
    key = _most_specific_key(context)
    if key is not None:
        problem = _key_problem(key, now)
        if problem:
            return Access(AccessState.NO_ACCESS, f"{_KEY_LABELS[key.scope].capitalize()} for {context.provider} {problem}", key)
        return Access(_STATES[key.scope], f"{context.provider} is asked with {_KEY_LABELS[key.scope]}.", key)
    if context.variable and context.allow_shared:
        reason = f"{context.provider} is asked with {context.variable} of the server's environment."
        return Access(AccessState.AVAILABLE_ENVIRONMENT, reason, variable=context.variable)
    if not context.needs_key:
        return Access(AccessState.AVAILABLE_WITHOUT_KEY, f"{context.provider} needs no key.")
    next_step = "Enter one on the provider's page, or choose another model."
    return Access(
        AccessState.NO_ACCESS, f"{context.provider} has no key{_caller_note(context)}.{_unbound_variable_note(context)} {next_step}"
    )


def _unbound_variable_note(context: AccessContext) -> str:
    if context.unbound_variable is None or not context.allow_shared:
        return ""
    return (
        f" {context.unbound_variable} of the server's environment is not sent to its address, "
        f"because {BINDINGS_SETTING} does not say that it may be."
    )


def _most_specific_key(context: AccessContext) -> StoredKey | None:
    """Return the most specific key that the provider's flags allow."""
    if context.personal is not None and context.allow_personal:
        return context.personal
    if context.project is not None:
        return context.project
    return context.shared if context.allow_shared else None


def _key_problem(key: StoredKey, now: datetime) -> str | None:
    if not key.active:
        return "is switched off. Switch it on, or remove it so that another one is used."
    if key.expires_at is not None and key.expires_at <= now:
        return f"expired on {key.expires_at:%Y-%m-%d}. Enter a new one, or remove it so that another one is used."
    if key.monthly_limit is not None and key.used >= key.monthly_limit:
        return describe_limit(key.monthly_limit, now)
    return None


def describe_limit(limit: int, now: datetime) -> str:
    """Return the rest of the sentence about a key that has reached its limit."""
    resets_at = format_timestamp(next_period(now))
    return f"has reached its limit of {limit:,} calls this month. It works again from {resets_at}, or when an admin raises the limit."


def _caller_note(context: AccessContext) -> str:
    return " for you" if context.shared is not None and not context.allow_shared else ""


def period_of(now: datetime) -> str:
    """Return the UTC month of `now`, such as 2026-11."""
    return f"{now:%Y-%m}"


def next_period(now: datetime) -> datetime:
    """Return the start of the next month."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
