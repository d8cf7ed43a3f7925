"""Keys in the server's environment: which variables there are, and the only addresses that each may be sent to.

A provider names the variables it looks in, and staff who may not touch keys edit providers. So a name alone opens nothing: a variable is
sent to the origins it is bound to, by the table below or by the operator's `MODELDESK_KEY_VARIABLES`, and to no other one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.urls import parse_base_url

# Each vendor's own key and the vendor's own origins; drivers and the seeded catalog agree with it
# (tests/domain/credentials/test_environment_keys.py).
VENDOR_ORIGINS: Mapping[str, frozenset[str]] = {
    "OPENAI_API_KEY": frozenset({"https://api.openai.com"}),
    "ANTHROPIC_API_KEY": frozenset({"https://api.anthropic.com"}),
    "GEMINI_API_KEY": frozenset({"https://generativelanguage.googleapis.com"}),
    "MISTRAL_API_KEY": frozenset({"https://api.mistral.ai"}),
    "XAI_API_KEY": frozenset({"https://api.x.ai"}),
    "DEEPSEEK_API_KEY": frozenset({"https://api.deepseek.com"}),
    "RUNWARE_API_KEY": frozenset({"https://api.runware.ai"}),
    "GITHUB_TOKEN": frozenset({"https://api.githubcopilot.com", "https://models.github.ai"}),
}
# What else of the environment is asked for while incidents run.
RUN_VARIABLES = frozenset({"OPENAI_MODEL", "OPENAI_MAX_TOKENS", "OLLAMA_HOST"})
BINDINGS_SETTING = "MODELDESK_KEY_VARIABLES"
VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,79}", re.ASCII)
_RESERVED_NAMES = re.compile(r"MODELDESK_.*|DATABASE_URL|PG[A-Z]+", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class EnvironmentKeys:
    """What Modeldesk keeps of the environment. `origins` is by variable; a variable that is not in it is not even remembered."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    origins: Mapping[str, frozenset[str]] = field(default_factory=lambda: VENDOR_ORIGINS)

    def value_of(self, name: str) -> str:
        """The value of a variable without the space around it, or an empty text."""
        return self.values.get(name, "").strip()

    def first_usable(self, names: Iterable[str], origin: str | None) -> str | None:
        """The first of these variables that holds a key which may be sent to this origin."""
        return next((name for name in names if self.value_of(name) and self._is_bound(name, origin)), None)

    def first_unbound(self, names: Iterable[str], origin: str | None) -> str | None:
        """The first of these variables that may not be sent to this origin, whether it is set or not: that stays the operator's secret."""
        return next((name for name in names if not self._is_bound(name, origin)), None)

    def _is_bound(self, name: str, origin: str | None) -> bool:
        return origin is not None and origin in self.origins.get(name, ())


def read_environment_keys(environment: Mapping[str, str], more: Mapping[str, frozenset[str]]) -> EnvironmentKeys:
    """What to keep of an environment. A variable that `more` names is bound to just what stands there, not to its vendor as well."""
    origins = {**VENDOR_ORIGINS, **more}
    return EnvironmentKeys({name: environment[name] for name in (*origins, *RUN_VARIABLES) if name in environment}, origins)


def is_reserved(name: str) -> bool:
    """Whether a variable sets up Modeldesk or its database: no key of a vendor, whatever somebody says."""
    return _RESERVED_NAMES.fullmatch(name) is not None


def parse_bindings(text: str) -> dict[str, frozenset[str]]:
    """What the setting says, such as `ACME_API_KEY=https://llm.acme.example`. Raises `ValueError` with the rest of a sentence."""
    found: dict[str, frozenset[str]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, address = (part.strip() for part in entry.partition("="))
        origin = _parse_bare_origin(address)
        if not VARIABLE_NAME.fullmatch(name) or origin is None:
            raise ValueError("must be pairs such as ACME_API_KEY=https://llm.acme.example, separated by commas; an address has no path")
        if is_reserved(name):
            raise ValueError("names a setting of Modeldesk itself, which is never sent to anybody")
        found[name] = found.get(name, frozenset()) | {origin}
    return found


def _parse_bare_origin(address: str) -> str | None:
    """The origin that an address is, if it is nothing more than one."""
    try:
        base = parse_base_url(address)
    except Invalid:
        return None
    return base.origin if base.path in ("", "/") else None
