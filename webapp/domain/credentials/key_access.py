"""Which key answers for a caller, or why none does: decided once, for the page that shows it and for the call that spends it.

The most specific key that the provider allows decides: one's own, then the project's, then the shared one, then a variable of the server's
environment. A key that exists but cannot be used (expired, switched off, used up) is said to be that: it is never passed over for
somebody else's, who would pay without knowing (docs/adr/0012).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from webapp.domain.credentials.environment_keys import BINDINGS_SETTING
from webapp.domain.shared.timestamps import format_timestamp


class AccessState(StrEnum):
    """What a caller may do with a provider."""

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
    """A stored key, as far as the decision needs it. `used` is the number of calls in the present month."""

    id: int
    scope: str
    owner: str = ""
    active: bool = True
    expires_at: datetime | None = None
    monthly_limit: int | None = None
    used: int = 0

    @property
    def source(self) -> str:
        """Which key it is, for records: `shared`, `personal:ann@example.com`, `project:billing`."""
        return f"{self.scope}:{self.owner}" if self.owner else self.scope


@dataclass(frozen=True, slots=True)
class AccessContext:
    """Everything that the decision depends on."""

    provider: str  # Its display name.
    active: bool = True
    needs_key: bool = True
    allow_shared: bool = True
    allow_personal: bool = False
    personal: StoredKey | None = None
    project: StoredKey | None = None
    shared: StoredKey | None = None
    variable: str | None = None  # The environment variable that holds a key.
    unbound_variable: str | None = None  # One that may not be sent to where this provider is.


@dataclass(frozen=True, slots=True)
class Access:
    """The decision, with a sentence that says why and what to do. `key` is the stored key to be used, if it is one."""

    state: AccessState
    reason: str
    key: StoredKey | None = None
    variable: str | None = None

    @property
    def available(self) -> bool:
        return self.state in AVAILABLE

    @property
    def source(self) -> str:
        """Where the key comes from, for records."""
        if self.key is not None:
            return self.key.source
        return f"environment:{self.variable}" if self.variable else "none"


def evaluate_access(facts: AccessContext, now: datetime) -> Access:
    """Whether a caller may use a provider, and with which key."""
    if not facts.active:
        return Access(AccessState.DISABLED, f"{facts.provider} is inactive. Activate it on its page.")
    key = _most_specific_key(facts)
    if key is not None:
        wrong = _key_problem(key, now)
        if wrong:
            return Access(AccessState.NO_ACCESS, f"{_KEY_LABELS[key.scope].capitalize()} for {facts.provider} {wrong}", key)
        return Access(_STATES[key.scope], f"{facts.provider} is asked with {_KEY_LABELS[key.scope]}.", key)
    if facts.variable and facts.allow_shared:
        reason = f"{facts.provider} is asked with {facts.variable} of the server's environment."
        return Access(AccessState.AVAILABLE_ENVIRONMENT, reason, variable=facts.variable)
    if not facts.needs_key:
        return Access(AccessState.AVAILABLE_WITHOUT_KEY, f"{facts.provider} needs no key.")
    way = "Enter one on the provider's page, or choose another model."
    return Access(AccessState.NO_ACCESS, f"{facts.provider} has no key{_caller_note(facts)}.{_unbound_variable_note(facts)} {way}")


def _unbound_variable_note(facts: AccessContext) -> str:
    if facts.unbound_variable is None or not facts.allow_shared:
        return ""
    return (
        f" {facts.unbound_variable} of the server's environment is not sent to its address, "
        f"because {BINDINGS_SETTING} does not say that it may be."
    )


def _most_specific_key(facts: AccessContext) -> StoredKey | None:
    """The most specific key that the provider's flags allow."""
    if facts.personal is not None and facts.allow_personal:
        return facts.personal
    if facts.project is not None:
        return facts.project
    return facts.shared if facts.allow_shared else None


def _key_problem(key: StoredKey, now: datetime) -> str | None:
    if not key.active:
        return "is switched off. Switch it on, or remove it so that another one is used."
    if key.expires_at is not None and key.expires_at <= now:
        return f"expired on {key.expires_at:%Y-%m-%d}. Enter a new one, or remove it so that another one is used."
    if key.monthly_limit is not None and key.used >= key.monthly_limit:
        return describe_limit(key.monthly_limit, now)
    return None


def describe_limit(limit: int, now: datetime) -> str:
    """The rest of the sentence about a key that was used up."""
    again = format_timestamp(next_period(now))
    return f"has reached its limit of {limit:,} calls this month. It works again from {again}, or when an admin raises the limit."


def _caller_note(facts: AccessContext) -> str:
    return " for you" if facts.shared is not None and not facts.allow_shared else ""


def period_of(now: datetime) -> str:
    """The month of a moment in UTC, such as 2026-11."""
    return f"{now:%Y-%m}"


def next_period(now: datetime) -> datetime:
    """When the next month begins."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
