"""genai-prices as a catalogue: its records as models of ours, with what people decided about names and limits (`genai_rules`).

Only the page of proposals, the command line and the script that builds the constants import this; no request for a cost does.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from genai_prices import data, types

from webapp.price_sources import genai_rules
from webapp.price_sources.genai_rates import JsonObject, price_history
from webapp.price_sources.seed_tables import DEFAULT_MODELS, VENDORS

NAME = "genai-prices"
# Sellers whose slug here is another one. Everybody else keeps the source's id.
SLUGS = {**VENDORS, "github-copilot": "copilot"}


def exact_names(match: object) -> Iterator[str]:
    """The names that the source matches exactly; prefixes, parts and patterns never set a price here."""
    if isinstance(match, types.ClauseEquals):
        yield match.equals
    elif isinstance(match, types.ClauseOr):
        for clause in match.or_:
            yield from exact_names(clause)


def family(name: str) -> str:
    """The name without what tells spellings and dates of one model apart."""
    return re.sub(r"-(latest|\d{4}-\d{2}-\d{2})$", "", name).replace(".", "-")


def names_of(model: types.ModelInfo) -> dict[str, list[str]]:
    """Model id -> aliases: the record itself, and the models of their own that the source files under it."""
    main = genai_rules.RENAMED.get(model.id, model.id)
    spellings = dict.fromkeys(exact_names(model.match))
    found: dict[str, list[str]] = {main: [], **{name: [] for name in spellings if name in genai_rules.OWN_MODELS}}
    heads = {family(name): name for name in reversed(found)}
    for name in spellings:
        head = heads.get(family(name), main)
        if name not in found and is_alias(name, head):
            found[head].append(name)
    return {name: sorted({*aliases, *genai_rules.REVIEWED_NAMES.get(name, ())}) for name, aliases in found.items()}


def is_alias(name: str, head: str) -> bool:
    """A moving name is a dated pointer, so it is never another name of a model that stays."""
    moving = name.endswith("-latest") and not head.endswith("-latest")
    return not moving and name not in genai_rules.NO_ALIASES and not set("/:") & set(name)


DISPLAY_WORDS = {"gpt": "GPT", "chatgpt": "ChatGPT", "tts": "TTS", "hd": "HD", "api": "API", "er": "ER", "o1": "o1", "o3": "o3", "o4": "o4"}


def display_name(model_id: str, given: str | None) -> str:
    if model_id in genai_rules.DISPLAY_NAMES:
        return genai_rules.DISPLAY_NAMES[model_id]
    if given and given[0].isupper() and not given.startswith(("GPT-", "ChatGPT-")):
        return given
    stem, day = re.fullmatch(r"(.+?)(?:-(\d{4}-\d{2}-\d{2}))?", model_id).groups()  # type: ignore[union-attr]  # it matches anything
    text = " ".join(DISPLAY_WORDS.get(word, word[0].upper() + word[1:]) for word in stem.split("-"))
    return re.sub(r"GPT (?=\d)", "GPT-", text) + (f" ({day})" if day else "")


def description(model: types.ModelInfo, model_id: str) -> str:
    parts = []
    if model_id.endswith("-latest"):
        parts.append("A dated pointer: the vendor moves this name to newer models, and the price moves with it.")
    if model.deprecated:
        parts.append("Deprecated by the vendor.")
    return " ".join(parts)


def deprecated_on(model: types.ModelInfo) -> str | None:
    found = re.search(r"[Dd]eprecated (\d{4}-\d{2}-\d{2})", model.price_comments or "")
    return found[1] if found else None


def catalog_entry(provider: str, model_id: str, prices: list[JsonObject], known: Mapping[str, Any]) -> JsonObject:
    """A model of the catalogue, every field in its place."""
    ref = f"{provider}/{model_id}"
    kind = known.get("type") or genai_rules.type_of(model_id)
    return {
        "provider": provider,
        "model_id": model_id,
        "display_name": known["display_name"],
        "type": kind,
        "capabilities": genai_rules.capabilities_of(ref, kind),
        "context_window": known.get("context_window") or genai_rules.CONTEXT_WINDOWS.get(model_id),
        "max_output_tokens": genai_rules.MAX_OUTPUT_TOKENS.get(model_id),
        "aliases": known.get("aliases", []),
        "default": ref in DEFAULT_MODELS,
        "sort_order": 0,
        "released_on": None,
        "deprecated_on": known.get("deprecated_on"),
        "retires_on": None,
        "successor": None,
        "description": known.get("description", ""),
        "prices": prices,
    }


def source_models(vendor: types.Provider) -> Iterator[JsonObject]:
    """The models of one seller. Only where people have looked at the names does a record become several models, or have other names."""
    for model in vendor.models:
        if vendor.id not in VENDORS:
            yield source_model(vendor, model, model.id, [])
        elif not genai_rules.skip_reason(vendor.id, model.id, model.price_comments or ""):
            for name, aliases in names_of(model).items():
                yield source_model(vendor, model, name, aliases)


def source_model(vendor: types.Provider, model: types.ModelInfo, name: str, aliases: list[str]) -> JsonObject:
    main = name == genai_rules.RENAMED.get(model.id, model.id)
    known = {
        "aliases": aliases,
        "display_name": display_name(name, model.name if main else None),
        "context_window": model.context_window if main else None,
        "deprecated_on": deprecated_on(model),
        "description": description(model, name),
    }
    url = vendor.pricing_urls[0] if vendor.pricing_urls else None
    return catalog_entry(slug_of(vendor), name, price_history(model, name, url), known)


def slug_of(vendor: types.Provider) -> str:
    return SLUGS.get(vendor.id) or re.sub(r"[^a-z0-9]+", "-", vendor.id.lower()).strip("-")


def bundled_providers() -> list[types.Provider]:
    """What the installed package holds."""
    return list(data.providers)


def parse_providers(raw: list[Any]) -> list[types.Provider]:
    """The package's own reading of its published JSON. Raises whatever it raises on a file of another shape."""
    return types._providers_from_raw(raw)


def catalog_document(vendors: Iterable[types.Provider]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Providers and models of ours, as `documents.catalog_from` reads them."""
    found = list(vendors)
    providers = [{"slug": slug_of(vendor), "display_name": vendor.name, "website": None} for vendor in found]
    return providers, [model for vendor in found for model in source_models(vendor)]
