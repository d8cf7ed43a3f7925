"""Schemas of the input for a provider, a model and a price: fields, checks and defaults."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from webapp.domain.catalog.driver_config import validate_config
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.catalog.rate_schemas import validate_rates
from webapp.domain.credentials.environment_keys import VARIABLE_NAME, is_reserved
from webapp.domain.pricing.pricing import PRICE_STATES, Price, Rate
from webapp.domain.shared import validators as checks
from webapp.domain.shared.errors import FieldError, Invalid
from webapp.domain.shared.validators import Check, nested, validate

MAX_TOKENS = 10**9
MAX_SURCHARGE_PERCENT = 1_000
_capability = checks.regex(re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII), "must be a lower-case word such as json_mode")
_alias = checks.regex(
    re.compile(r"[A-Za-z0-9*?@/~][A-Za-z0-9._:@/+*?~\-]{0,199}", re.ASCII),
    "must be 1 to 200 letters, digits and . _ : @ / + ~ - (* and ? make a pattern)",
)

MODEL_CHECKS: Mapping[str, Check] = {
    "provider": checks.slug,
    "model_id": checks.model_id,
    "display_name": checks.line(200, 1),
    "type": checks.choice(MODEL_TYPES),
    "capabilities": checks.list_of(_capability, 40),
    "context_window": checks.optional(checks.integer(1, MAX_TOKENS)),
    "max_output_tokens": checks.optional(checks.integer(1, MAX_TOKENS)),
    "active": checks.boolean,
    "default": checks.boolean,
    "aliases": checks.list_of(_alias, 50),
    "sort_order": checks.integer(-1_000_000, 1_000_000),
    "released_on": checks.optional(checks.date),
    "deprecated_on": checks.optional(checks.date),
    "retires_on": checks.optional(checks.date),
    "successor": checks.optional(checks.line(300, 1)),
    "description": checks.text(10_000),
    "quirks": checks.small_object(20),
}
MODEL_REQUIRED = ("provider", "model_id", "display_name", "type")
MODEL_DEFAULTS: Mapping[str, Any] = {
    "capabilities": [],
    "context_window": None,
    "max_output_tokens": None,
    "active": True,
    "default": False,
    "aliases": [],
    "sort_order": 0,
    "released_on": None,
    "deprecated_on": None,
    "retires_on": None,
    "successor": None,
    "description": "",
    "quirks": {},
}

PROVIDER_CHECKS: Mapping[str, Check] = {
    "slug": checks.slug,
    "display_name": checks.line(100, 1),
    # The service checks the name against the drivers' registry.
    "driver": checks.regex(checks.SLUG, "must be the name of a driver: choose one"),
    "base_url": checks.optional(checks.base_url),
    "active": checks.boolean,
    "default_temperature": checks.optional(checks.amount),
    "default_max_tokens": checks.optional(checks.integer(1, MAX_TOKENS)),
    "timeout_seconds": checks.optional(checks.integer(1, 300)),
    "config": validate_config,
    "required_environment": checks.list_of(lambda value, field: _validate_key_variable(value, field), 10),
    "allow_shared_key": checks.boolean,
    "allow_personal_keys": checks.boolean,
    "sort_order": checks.integer(-1_000_000, 1_000_000),
    "website": checks.optional(checks.url),
    "documentation_url": checks.optional(checks.url),
    "description": checks.text(10_000),
}
PROVIDER_REQUIRED = ("slug", "display_name", "driver")
PROVIDER_DEFAULTS: Mapping[str, Any] = {
    "base_url": None,
    "active": True,
    "default_temperature": None,
    "default_max_tokens": None,
    "timeout_seconds": None,
    "config": {},
    "required_environment": [],
    "allow_shared_key": True,
    "allow_personal_keys": False,
    "sort_order": 0,
    "website": None,
    "documentation_url": None,
    "description": "",
}

_currency = checks.regex(re.compile(r"[A-Z]{3}", re.ASCII), "must be a currency code such as USD")
PRICE_CHECKS: Mapping[str, Check] = {
    "state": checks.choice(PRICE_STATES),
    "effective_from": checks.timestamp,
    "currency": _currency,
    "rates": validate_rates,
    "source": lambda value, field: nested(value, field, SOURCE_CHECKS),
    "media_at_text_rate": checks.boolean,
    "minimum": checks.optional(checks.amount),
    "surcharge_percent": checks.optional(lambda value, field: _validate_surcharge(value, field)),
    "note": checks.text(2_000),
    "corrects": checks.optional(checks.integer(1, 2**53)),
}
PRICE_REQUIRED = ("state", "effective_from", "currency", "rates")
SOURCE_CHECKS: Mapping[str, Check] = {
    "kind": checks.choice(("manual", "import")),
    "name": checks.optional(checks.line(200, 1)),
    "url": checks.optional(checks.url),
    "verified_at": checks.optional(checks.timestamp),
}

api_key = checks.regex(
    re.compile(r"[\x21-\x7e]{4,4096}"), "must be 4 to 4,096 visible characters without spaces or line breaks, as the vendor gave it"
)


class PriceEntry(NamedTuple):
    """A validated price, ready to be stored."""

    state: str
    effective_from: datetime
    currency: str
    rates: tuple[Rate, ...]
    source: Mapping[str, Any]
    note: str
    corrects: int | None
    cancels: bool = False  # Only `prices.cancel` and imports set it.
    media_at_text_rate: bool = False
    minimum: Decimal | None = None
    surcharge_percent: Decimal | None = None


def validate_model(values: Mapping[str, object], *, partial: bool) -> dict[str, Any]:
    """Return the clean values of a model. Unless `partial`, missing fields get their defaults. Raises `Invalid`."""
    clean = validate(values, MODEL_CHECKS, () if partial else MODEL_REQUIRED)
    entry = clean if partial else {**MODEL_DEFAULTS, **clean}
    if entry.get("default") and not entry.get("active", True):
        raise Invalid.field("default", "an inactive model cannot be the default; activate it first")
    return entry


def validate_new_names(entry: Mapping[str, Any], stored: Collection[str] = ()) -> None:
    """Raise `Invalid` for an id or alias that does not survive in a URL. Names that are stored already stay valid."""
    names = {"model_id": entry.get("model_id")} | {f"aliases[{index}]": alias for index, alias in enumerate(entry.get("aliases", ()))}
    errors: list[FieldError] = []
    for field, name in names.items():
        try:
            if name is not None and name not in stored:
                checks.require_stable_in_urls(name, field)
        except Invalid as error:
            errors.extend(error.errors)
    if errors:
        raise Invalid.of(errors)


def validate_provider(values: Mapping[str, object], *, partial: bool) -> dict[str, Any]:
    """Return the clean values of a provider. Unless `partial`, missing fields get their defaults. Raises `Invalid`."""
    clean = validate(values, PROVIDER_CHECKS, () if partial else PROVIDER_REQUIRED)
    return clean if partial else {**PROVIDER_DEFAULTS, **clean}


def entry_from(price: Price, source: Mapping[str, Any], note: str = "", corrects: int | None = None) -> PriceEntry:
    """Return the entry that stores the same costs as a valid price."""
    return PriceEntry(
        state=price.state,
        effective_from=price.effective_from,
        currency=price.currency,
        rates=price.rates,
        source=source,
        note=note,
        corrects=corrects,
        media_at_text_rate=price.media_at_text_rate,
        minimum=price.minimum,
        surcharge_percent=price.surcharge_percent,
    )


def validate_price(values: Mapping[str, object]) -> PriceEntry:
    """Return a clean price. Raises `Invalid` naming each invalid field, rates by their index: `rates[0].amount`."""
    clean = validate(values, PRICE_CHECKS, PRICE_REQUIRED)
    if clean["state"] == "priced" and not clean["rates"]:
        raise Invalid.field("rates", "a price needs at least one rate; use the state free or unknown for a price without any")
    if clean["state"] != "priced" and clean["rates"]:
        raise Invalid.field("rates", f"a price that is {clean['state']} has no rates")
    source = clean.get("source", {"kind": "manual"})
    return PriceEntry(
        state=clean["state"],
        effective_from=clean["effective_from"],
        currency=clean["currency"],
        rates=clean["rates"],
        source=source,
        note=clean.get("note", ""),
        corrects=clean.get("corrects"),
        media_at_text_rate=clean.get("media_at_text_rate", False),
        minimum=clean.get("minimum"),
        surcharge_percent=clean.get("surcharge_percent"),
    )


_variable_name = checks.regex(VARIABLE_NAME, "must be a name such as ACME_API_KEY")


def _validate_key_variable(value: object, field: str) -> str:
    """Return the name of an environment variable that can hold a vendor's key."""
    name: str = _variable_name(value, field)
    if is_reserved(name):
        raise Invalid.field(field, f"names {name}, a setting of Modeldesk itself, which is never sent to anybody")
    return name


def _validate_surcharge(value: object, field: str) -> Decimal:
    percent: Decimal = checks.amount(value, field)
    if percent > MAX_SURCHARGE_PERCENT or percent != round(percent, 3):
        raise Invalid.field(field, f"must be at most {MAX_SURCHARGE_PERCENT:,} percent, with up to three decimals")
    return percent
