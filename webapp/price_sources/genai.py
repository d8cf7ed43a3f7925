"""The genai-prices package as a catalog, with the reviewed names and limits of `genai_rules`.

Only the proposals page, the command line and the script that builds the constants import this module. Cost requests never do.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from genai_prices import data, types

from webapp.price_sources import genai_rules
from webapp.price_sources.catalog_entries import provider_slug
from webapp.price_sources.cost_fields import ReadLog
from webapp.price_sources.genai_rates import JsonObject, price_history
from webapp.price_sources.seed_tables import DEFAULT_MODELS, VENDORS

NAME = "genai-prices"
# What the package's parser, and the arithmetic on what it returns, raise for a record in another format.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, AssertionError)


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


def source_models(vendor: types.Provider, log: ReadLog) -> Iterator[JsonObject]:
    """Yield the models of one seller. Only reviewed vendors get aliases or several models per record.

    A record that is left out is a problem with its reason.
    """
    for model in vendor.models:
        reason = genai_rules.skip_reason(vendor.id, model.id, model.price_comments or "") if vendor.id in VENDORS else None
        if reason:
            log.leave_out(f"{vendor.id}/{model.id}: is left out: {reason}")
            continue
        names = names_of(model) if vendor.id in VENDORS else {model.id: []}
        try:
            models = [source_model(vendor, model, (name, *aliases), log) for name, aliases in names.items()]
        except UNREADABLE as error:
            log.leave_out(f"{vendor.id}/{model.id}: cannot be read: {str(error)[:200]}")
            continue
        yield from models


def source_model(vendor: types.Provider, model: types.ModelInfo, names: Sequence[str], log: ReadLog) -> JsonObject:
    """Return the entry of a model. `names` are its id and its aliases."""
    name, *aliases = names
    main = name == genai_rules.RENAMED.get(model.id, model.id)
    attributes = {
        "aliases": aliases,
        "display_name": display_name(name, model.name if main else None),
        "context_window": model.context_window if main else None,
        "deprecated_on": deprecated_on(model),
        "description": description(model, name),
    }
    url = vendor.pricing_urls[0] if vendor.pricing_urls else None
    return catalog_entry(slug_of(vendor), name, price_history(model, name, url, log), attributes)


def slug_of(vendor: types.Provider) -> str:
    return provider_slug(vendor.id)


def bundled_providers() -> list[types.Provider]:
    """Return the providers of the installed package."""
    return list(data.providers)


def parse_providers(raw: list[Any], log: ReadLog) -> list[types.Provider]:
    """Parse the published JSON with the package's own parser. Providers and models that it rejects are problems."""
    try:
        return types._providers_from_raw(raw)
    except UNREADABLE:
        parsed = (_parse_provider(provider, position, log) for position, provider in enumerate(raw))
        return [provider for provider in parsed if provider]


def _parse_provider(raw: Any, position: int, log: ReadLog) -> types.Provider | None:
    """Return the provider with those of its models that can be read."""
    fields = raw if isinstance(raw, dict) else {}
    name = str(fields.get("id", f"[{position}]"))[:100]
    models = fields.get("models")
    if not isinstance(models, list):
        log.leave_out(f"{name}: cannot be read, because it has no list of models")
        return None
    provider = _parse_or_report({**fields, "models": []}, name, log, len(models))
    if provider is None:
        return None
    for number, model in enumerate(models):
        model_name = str(model.get("id", f"[{number}]"))[:200] if isinstance(model, dict) else f"[{number}]"
        parsed = _parse_or_report({**fields, "models": [model]}, f"{name}/{model_name}", log)
        provider.models.extend(parsed.models if parsed else [])
    return provider


def _parse_or_report(raw: JsonObject, name: str, log: ReadLog, records: int = 1) -> types.Provider | None:
    try:
        return types._providers_from_raw([raw])[0]
    except UNREADABLE as error:
        log.leave_out(f"{name}: cannot be read by the installed genai-prices: {' '.join(str(error).split())[:200]}", records)
        return None


def catalog_document(vendors: Iterable[types.Provider], log: ReadLog) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return providers and models in the format that `domain.catalog.serializers.catalog_from` reads."""
    sellers = list(vendors)
    providers = {slug_of(vendor): vendor.name for vendor in reversed(sellers)}
    entries = [{"slug": slug, "display_name": name, "website": None} for slug, name in reversed(providers.items())]
    return entries, [model for vendor in sellers for model in source_models(vendor, log)]
