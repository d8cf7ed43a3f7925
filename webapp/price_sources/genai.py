"""The genai-prices package as a catalog, with the reviewed names and limits of `genai_rules`.

Only the proposals page, the command line and the script that builds the constants import this module. Cost requests never do.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from genai_prices import data, types

from webapp.price_sources import genai_rules
from webapp.price_sources.genai_rates import JsonObject, price_history
from webapp.price_sources.seed_tables import DEFAULT_MODELS, VENDORS

NAME = "genai-prices"
# Sellers whose slug differs from the source's id. All other sellers keep the id.
SLUGS = {**VENDORS, "github-copilot": "copilot"}


def exact_names(match: object) -> Iterator[str]:
    """Yield the names that the source matches exactly. Prefix, substring and pattern matches never set a price."""
    if isinstance(match, types.ClauseEquals):
        yield match.equals
    elif isinstance(match, types.ClauseOr):
        for clause in match.or_:
            yield from exact_names(clause)


def family_name(name: str) -> str:
    """Return the name without its date suffix and with normalized punctuation, to group spellings of one model."""
    return re.sub(r"-(latest|\d{4}-\d{2}-\d{2})$", "", name).replace(".", "-")


def names_of(model: types.ModelInfo) -> dict[str, list[str]]:
    """Return the aliases by model id: for the record itself, and for separate models that the source lists under it."""
    main = genai_rules.RENAMED.get(model.id, model.id)
    spellings = dict.fromkeys(exact_names(model.match))
    names: dict[str, list[str]] = {main: [], **{model_id: [] for model_id in spellings if model_id in genai_rules.OWN_MODELS}}
    heads = {family_name(model_id): model_id for model_id in reversed(names)}
    for model_id in spellings:
        head = heads.get(family_name(model_id), main)
        if model_id not in names and is_alias(model_id, head):
            names[head].append(model_id)
    return {model_id: sorted({*aliases, *genai_rules.REVIEWED_NAMES.get(model_id, ())}) for model_id, aliases in names.items()}


def is_alias(name: str, head: str) -> bool:
    """Return whether `name` can be an alias of `head`. A `-latest` name moves to newer models, so it is never an alias of a fixed one."""
    moving = name.endswith("-latest") and not head.endswith("-latest")
    return not moving and name not in genai_rules.NO_ALIASES and not set("/:") & set(name)


DISPLAY_WORDS = {"gpt": "GPT", "chatgpt": "ChatGPT", "tts": "TTS", "hd": "HD", "api": "API", "er": "ER", "o1": "o1", "o3": "o3", "o4": "o4"}


def display_name(model_id: str, source_name: str | None) -> str:
    if model_id in genai_rules.DISPLAY_NAMES:
        return genai_rules.DISPLAY_NAMES[model_id]
    if source_name and source_name[0].isupper() and not source_name.startswith(("GPT-", "ChatGPT-")):
        return source_name
    stem, day = re.fullmatch(r"(.+?)(?:-(\d{4}-\d{2}-\d{2}))?", model_id).groups()  # type: ignore[union-attr]  # The pattern always matches.
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
    match = re.search(r"[Dd]eprecated (\d{4}-\d{2}-\d{2})", model.price_comments or "")
    return match[1] if match else None


def catalog_entry(provider: str, model_id: str, prices: list[JsonObject], attributes: Mapping[str, Any]) -> JsonObject:
    """Return the catalog entry of a model, with every field."""
    ref = f"{provider}/{model_id}"
    kind = attributes.get("type") or genai_rules.type_of(model_id)
    return {
        "provider": provider,
        "model_id": model_id,
        "display_name": attributes["display_name"],
        "type": kind,
        "capabilities": genai_rules.capabilities_of(ref, kind),
        "context_window": attributes.get("context_window") or genai_rules.CONTEXT_WINDOWS.get(model_id),
        "max_output_tokens": genai_rules.MAX_OUTPUT_TOKENS.get(model_id),
        "aliases": attributes.get("aliases", []),
        "default": ref in DEFAULT_MODELS,
        "sort_order": 0,
        "released_on": None,
        "deprecated_on": attributes.get("deprecated_on"),
        "retires_on": None,
        "successor": None,
        "description": attributes.get("description", ""),
        "prices": prices,
    }


def source_models(vendor: types.Provider) -> Iterator[JsonObject]:
    """Yield the models of one seller. Only reviewed vendors get aliases or several models per record."""
    for model in vendor.models:
        if vendor.id not in VENDORS:
            yield source_model(vendor, model, model.id, [])
        elif not genai_rules.skip_reason(vendor.id, model.id, model.price_comments or ""):
            for name, aliases in names_of(model).items():
                yield source_model(vendor, model, name, aliases)


def source_model(vendor: types.Provider, model: types.ModelInfo, name: str, aliases: list[str]) -> JsonObject:
    main = name == genai_rules.RENAMED.get(model.id, model.id)
    attributes = {
        "aliases": aliases,
        "display_name": display_name(name, model.name if main else None),
        "context_window": model.context_window if main else None,
        "deprecated_on": deprecated_on(model),
        "description": description(model, name),
    }
    url = vendor.pricing_urls[0] if vendor.pricing_urls else None
    return catalog_entry(slug_of(vendor), name, price_history(model, name, url), attributes)


def slug_of(vendor: types.Provider) -> str:
    return SLUGS.get(vendor.id) or re.sub(r"[^a-z0-9]+", "-", vendor.id.lower()).strip("-")


def bundled_providers() -> list[types.Provider]:
    """Return the providers of the installed package."""
    return list(data.providers)


def parse_providers(raw: list[Any]) -> list[types.Provider]:
    """Parse the published JSON with the package's own parser. Propagates its exceptions if the file has another format."""
    return types._providers_from_raw(raw)


def catalog_document(vendors: Iterable[types.Provider]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return providers and models in the format that `domain.catalog.serializers.catalog_from` reads."""
    sellers = list(vendors)
    providers = [{"slug": slug_of(vendor), "display_name": vendor.name, "website": None} for vendor in sellers]
    return providers, [model for vendor in sellers for model in source_models(vendor)]
