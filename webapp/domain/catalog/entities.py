"""Entities of the registry: providers, models and tokens as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType

from webapp.domain.pricing.pricing import Price, price_at
from webapp.domain.shared.timestamps import start_of_day

MODEL_TYPES = ("text", "image", "embedding", "audio", "speech_to_text", "text_to_speech", "video", "rerank")
NO_VALUES: Mapping[str, object] = MappingProxyType({})

# The known capabilities. They are data, not an enumeration, so a new capability needs no release.
KNOWN_CAPABILITIES = (
    "chat",
    "code",
    "vision",
    "json_mode",
    "tools",
    "streaming",
    "system_prompt",
    "reasoning",
    "image",
    "audio",
    "embedding",
    "speech_to_text",
    "text_to_speech",
    "video",
    "rerank",
)


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """A vendor account or endpoint that staff manage. It never holds keys."""

    slug: str
    display_name: str
    driver: str
    id: int | None = None
    base_url: str | None = None
    active: bool = True
    primary: bool = False
    has_key: bool = False
    models: int = 0
    website: str | None = None
    documentation_url: str | None = None
    description: str = ""
    required_environment: tuple[str, ...] = ()
    sort_order: int = 0
    version: int = 1
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model of one provider, with its whole price history.

    `supported` and `price` are as of the snapshot that holds the model. A model is supported if it is active, its provider is active
    and it has not retired. `unsupported_because` is None, `inactive`, `provider_inactive` or `retired`.
    From `switches_on`, its successor gets its aliases and its place as a default: see `succession`.
    """

    ref: str
    provider: str
    model_id: str
    display_name: str
    type: str
    updated_at: datetime
    id: int | None = None
    capabilities: tuple[str, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None
    active: bool = True
    default: bool = False
    aliases: tuple[str, ...] = ()
    sort_order: int = 0
    released_on: date | None = None
    deprecated_on: date | None = None
    retires_on: date | None = None
    successor: str | None = None
    description: str = ""
    version: int = 1
    prices: tuple[Price, ...] = ()
    quirks: Mapping[str, object] = field(default_factory=lambda: NO_VALUES)
    switches_on: date | None = None
    # Time-dependent fields come last: see `snapshot`.
    supported: bool = True
    unsupported_because: str | None = None
    price: Price | None = None

    def price_at(self, at: datetime) -> Price | None:
        """Return the price in force at `at`, or None before the first."""
        return price_at(self.prices, at)

    def retired_at(self) -> datetime | None:
        """Return the time from which the model counts as retired: the start of `retires_on`, UTC."""
        return start_of_day(self.retires_on) if self.retires_on else None

    @property
    def price_state(self) -> str:
        return self.price.state if self.price else "unknown"


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """An API token: its digest, scopes and expiry. The token itself is not stored."""

    public_id: str
    name: str
    digest: bytes
    scopes: frozenset[str]
    expires_at: datetime | None = None
    id: int | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """One rule of a project for one model, from `starts` to just before `ends` (None: open-ended)."""

    project: str
    kind: str
    ref: str
    starts: datetime
    ends: datetime | None = None
    price: Price | None = None
    id: int | None = None

    def is_effective(self, at: datetime) -> bool:
        return self.starts <= at and (self.ends is None or at < self.ends)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The data that a snapshot is built from.

    `instance` identifies the database, `revision` counts its visible changes, and `key_check` detects a wrong encryption key.
    """

    providers: tuple[ProviderInfo, ...]
    models: tuple[ModelInfo, ...]
    tokens: tuple[TokenInfo, ...] = ()
    patterns: tuple[tuple[str, str], ...] = ()
    instance: str = "constants"
    revision: int = 0
    key_check: str | None = field(default=None, repr=False)
    overrides: tuple[Override, ...] = ()
