"""Serializers of the contract's shapes (section 4.1) as plain documents, and parsers for copies of the registry.

Amounts are exact decimal strings and times are RFC 3339 in UTC. A document parses back to an equal value.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from webapp.domain.catalog.entities import NO_VALUES, Catalog, ModelInfo, ProviderInfo, TokenInfo
from webapp.domain.pricing.pricing import timeline
from webapp.domain.pricing.serializers import price_document, price_from
from webapp.domain.shared.timestamps import EPOCH, format_timestamp

Document = dict[str, Any]


def model_document(model: ModelInfo) -> Document:
    """Return a model in the shape of the HTTP API."""
    return {
        "id": model.id,
        "ref": model.ref,
        "provider": model.provider,
        "model_id": model.model_id,
        "display_name": model.display_name,
        "type": model.type,
        "capabilities": list(model.capabilities),
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "active": model.active,
        "default": model.default,
        "supported": model.supported,
        "aliases": list(model.aliases),
        "sort_order": model.sort_order,
        "released_on": _day(model.released_on),
        "deprecated_on": _day(model.deprecated_on),
        "retires_on": _day(model.retires_on),
        "successor": model.successor,
        "description": model.description,
        "quirks": dict(model.quirks),
        "price": price_document(model.price),
        "updated_at": format_timestamp(model.updated_at),
        "version": model.version,
    }


def model_from(document: Mapping[str, Any], updated_at: datetime = EPOCH) -> ModelInfo:
    """Return a model from a copy of the registry, where `prices` holds its whole history."""
    return ModelInfo(
        ref=f"{document['provider']}/{document['model_id']}",
        provider=document["provider"],
        model_id=document["model_id"],
        display_name=document["display_name"],
        type=document["type"],
        updated_at=_timestamp_from(document.get("updated_at")) or updated_at,
        id=document.get("id"),
        capabilities=tuple(document["capabilities"]),
        context_window=document.get("context_window"),
        max_output_tokens=document.get("max_output_tokens"),
        active=document.get("active", True),
        default=document.get("default", False),
        aliases=tuple(document["aliases"]),
        sort_order=document.get("sort_order", 0),
        released_on=_day_from(document.get("released_on")),
        deprecated_on=_day_from(document.get("deprecated_on")),
        retires_on=_day_from(document.get("retires_on")),
        successor=document.get("successor"),
        description=document.get("description") or "",
        version=document.get("version", 1),
        prices=timeline(price_from(price) for price in document["prices"]),
        quirks=document.get("quirks") or NO_VALUES,
        switches_on=_day_from(document.get("switches_on")),
    )


def provider_document(provider: ProviderInfo) -> Document:
    """Return a provider in the shape of the HTTP API, without any key."""
    return {
        "id": provider.id,
        "slug": provider.slug,
        "display_name": provider.display_name,
        "driver": provider.driver,
        "base_url": provider.base_url,
        "active": provider.active,
        "primary": provider.primary,
        "models": provider.models,
        "has_key": provider.has_key,
        "required_environment": list(provider.required_environment),
        "website": provider.website,
        "documentation_url": provider.documentation_url,
        "description": provider.description,
        "sort_order": provider.sort_order,
        "updated_at": _timestamp(provider.updated_at),
        "version": provider.version,
    }


def provider_from(document: Mapping[str, Any]) -> ProviderInfo:
    return ProviderInfo(
        slug=document["slug"],
        display_name=document["display_name"],
        driver=document["driver"],
        id=document.get("id"),
        base_url=document.get("base_url"),
        active=document.get("active", True),
        primary=document.get("primary", False),
        has_key=document.get("has_key", False),
        website=document.get("website"),
        documentation_url=document.get("documentation_url"),
        description=document.get("description") or "",
        required_environment=tuple(document.get("required_environment") or ()),
        sort_order=document.get("sort_order", 0),
        version=document.get("version", 1),
        updated_at=_timestamp_from(document.get("updated_at")),
    )


def snapshot_document(catalog: Catalog, models: tuple[ModelInfo, ...], providers: tuple[ProviderInfo, ...]) -> Document:
    """Return the whole registry with price histories, for clients that compute locally. It has no tokens and no keys."""
    return {
        "instance": catalog.instance,
        "revision": catalog.revision,
        "providers": [provider_document(provider) for provider in providers],
        "models": [_model_with_prices(model) for model in models],
        "patterns": [list(pattern) for pattern in catalog.patterns],
    }


def _model_with_prices(model: ModelInfo) -> Document:
    switch = {"switches_on": _day(model.switches_on)} if model.switches_on else {}
    return model_document(model) | switch | {"prices": [price_document(price) for price in model.prices]}


def catalog_from(document: Mapping[str, Any], tokens: tuple[TokenInfo, ...] = (), updated_at: datetime = EPOCH) -> Catalog:
    """Return the registry from a `snapshot_document` or from the packaged constants."""
    return Catalog(
        providers=tuple(provider_from(provider) for provider in document["providers"]),
        models=tuple(model_from(model, updated_at) for model in document["models"]),
        tokens=tokens,
        patterns=tuple((pattern, ref) for pattern, ref in document.get("patterns", ())),
        instance=document.get("instance", "constants"),
        revision=document.get("revision", 0),
    )


def token_document(token: TokenInfo) -> Document:
    """Return a token for the last-good copy: its digest, from which the token cannot be derived."""
    return {
        "public_id": token.public_id,
        "name": token.name,
        "digest": token.digest.hex(),
        "scopes": sorted(token.scopes),
        "expires_at": _timestamp(token.expires_at),
        "id": token.id,
        "project": token.project,
    }


def token_from(document: Mapping[str, Any]) -> TokenInfo:
    expires_at = _timestamp_from(document["expires_at"])
    digest = bytes.fromhex(document["digest"])
    scopes = frozenset(document["scopes"])
    return TokenInfo(document["public_id"], document["name"], digest, scopes, expires_at, document["id"], document.get("project"))


def _timestamp(at: datetime | None) -> str | None:
    return None if at is None else format_timestamp(at)


def _timestamp_from(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _day_from(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
