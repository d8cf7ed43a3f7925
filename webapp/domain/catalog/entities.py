"""What the registry knows: providers, models and tokens as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType

from webapp.domain.pricing.pricing import Price, price_at
from webapp.domain.shared.timestamps import start_of_day

MODEL_TYPES = ("text", "image", "embedding", "audio", "speech_to_text", "text_to_speech", "video", "rerank")
NO_VALUES: Mapping[str, object] = MappingProxyType({})

# What models can do, as far as we have met it. Data, not an enumeration: a new capability needs no release.
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
    """A vendor account or endpoint that staff manage; never its keys."""

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

    `supported` and `price` are as of the snapshot that holds the model: whether it is an active model of an active provider that
    has not retired, and the price in force. `unsupported_because` is None, `inactive`, `provider_inactive` or `retired`.
    From `switches_on` on, its place as a default and its other names belong to its successor: see `switching`.
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
    # What depends on the moment comes last: see `snapshot`.
    supported: bool = True
    unsupported_because: str | None = None
    price: Price | None = None

    def price_at(self, at: datetime) -> Price | None:
        """The price in force at that moment, or None before the first."""
        return price_at(self.prices, at)

    def retired_at(self) -> datetime | None:
        """The moment from which the model counts as retired: the start of that day, UTC."""
        return start_of_day(self.retires_on) if self.retires_on else None

    @property
    def price_state(self) -> str:
        return self.price.state if self.price else "unknown"


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """An application's token, as digest only; what it may do and until when."""

    public_id: str
    name: str
    digest: bytes
    scopes: frozenset[str]
    expires_at: datetime | None = None
    id: int | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """One rule of a project about one model, from `starts` to just before `ends` (None: open)."""

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
    """Everything a snapshot is built from. `instance` tells one database from another, `revision` counts its visible
    changes, and `key_check` is what recognises a wrong encryption key."""

    providers: tuple[ProviderInfo, ...]
    models: tuple[ModelInfo, ...]
    tokens: tuple[TokenInfo, ...] = ()
    patterns: tuple[tuple[str, str], ...] = ()
    instance: str = "constants"
    revision: int = 0
    key_check: str | None = field(default=None, repr=False)
    overrides: tuple[Override, ...] = ()
