"""API keys in the server's environment: the known variables, and the only origins to which each can be sent.

A provider names its variables, and staff without permission for keys can edit providers. So a name alone gives no access: a variable is
sent only to the origins in the table below or in the operator's `MODELDESK_KEY_VARIABLES`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.urls import parse_base_url

# Each vendor's key and origins. A test checks that drivers and the seeded catalog match
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
# Other environment variables that runs of incidents read.
RUN_VARIABLES = frozenset({"OPENAI_MODEL", "OPENAI_MAX_TOKENS", "OLLAMA_HOST"})
BINDINGS_SETTING = "MODELDESK_KEY_VARIABLES"
VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,79}", re.ASCII)
_RESERVED_NAMES = re.compile(r"MODELDESK_.*|DATABASE_URL|PG[A-Z]+", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class EnvironmentKeys:
    """The part of the environment that Modeldesk keeps. `origins` is by variable; variables without an entry are not kept."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    origins: Mapping[str, frozenset[str]] = field(default_factory=lambda: VENDOR_ORIGINS)

    def value_of(self, name: str) -> str:
        """Return the value of a variable without surrounding space, or an empty string."""
        return self.values.get(name, "").strip()

    def first_usable(self, names: Iterable[str], origin: str | None) -> str | None:
        """Return the first of these variables that holds a key bound to this origin."""
        return next((name for name in names if self.value_of(name) and self._is_bound(name, origin)), None)

    def first_unbound(self, names: Iterable[str], origin: str | None) -> str | None:
        """Return the first of these variables that is not bound to this origin. It does not reveal whether the variable is set."""
        return next((name for name in names if not self._is_bound(name, origin)), None)

    def _is_bound(self, name: str, origin: str | None) -> bool:
        return origin is not None and origin in self.origins.get(name, ())


def read_environment_keys(environment: Mapping[str, str], more: Mapping[str, frozenset[str]]) -> EnvironmentKeys:
    """Return the keys to keep from an environment. A variable in `more` is bound only to its origins there, not to the vendor's."""
    origins = {**VENDOR_ORIGINS, **more}
    return EnvironmentKeys({name: environment[name] for name in (*origins, *RUN_VARIABLES) if name in environment}, origins)


def is_reserved(name: str) -> bool:
    """Return whether a variable configures Modeldesk or its database. Such a variable is never used as a vendor's key."""
    return _RESERVED_NAMES.fullmatch(name) is not None


def parse_bindings(text: str) -> dict[str, frozenset[str]]:
    """Return the bindings in the setting, such as `ACME_API_KEY=https://llm.acme.example`.

    Raises `ValueError` with the rest of a sentence.
    """
    bindings: dict[str, frozenset[str]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, address = (part.strip() for part in entry.partition("="))
        origin = _parse_bare_origin(address)
        if not VARIABLE_NAME.fullmatch(name) or origin is None:
            raise ValueError("must be pairs such as ACME_API_KEY=https://llm.acme.example, separated by commas; an address has no path")
        if is_reserved(name):
            raise ValueError("names a setting of Modeldesk itself, which is never sent to anybody")
        bindings[name] = bindings.get(name, frozenset()) | {origin}
    return bindings


def _parse_bare_origin(address: str) -> str | None:
    """Return the origin if the address is an origin without a path, else None."""
    try:
        base = parse_base_url(address)
    except Invalid:
        return None
    return base.origin if base.path in ("", "/") else None
