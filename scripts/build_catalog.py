"""Builds webapp/domain/data/catalog.json, the constants of the registry, out of genai-prices and the design documents.

Deterministic: the same package and the same date give the same bytes. What our price model cannot say is left out, with the reason in
the price's note, and never approximated.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import catalog_rules as rules
from catalog_prices import Rate, history, price
from genai_prices import data, types

TARGET = Path(__file__).parent.parent / "webapp" / "domain" / "data" / "catalog.json"
GENERATED_ON = "2026-11-21"
NOTICES = ["genai-prices, MIT, Copyright (c) Pydantic Services Inc. 2025 to present", "LiteLLM, MIT, Copyright (c) 2023 Berri AI"]


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
    main = rules.RENAMED.get(model.id, model.id)
    spellings = dict.fromkeys(exact_names(model.match))
    found: dict[str, list[str]] = {main: [], **{name: [] for name in spellings if name in rules.OWN_MODELS}}
    heads = {family(name): name for name in reversed(found)}
    for name in spellings:
        head = heads.get(family(name), main)
        if name not in found and is_alias(name, head):
            found[head].append(name)
    return {name: sorted({*aliases, *rules.REVIEWED_NAMES.get(name, ())}) for name, aliases in found.items()}


def is_alias(name: str, head: str) -> bool:
    """A moving name is a dated pointer, so it is never another name of a model that stays."""
    moving = name.endswith("-latest") and not head.endswith("-latest")
    return not moving and name not in rules.NO_ALIASES and not set("/:") & set(name)


WORDS = {"gpt": "GPT", "chatgpt": "ChatGPT", "tts": "TTS", "hd": "HD", "api": "API", "er": "ER", "o1": "o1", "o3": "o3", "o4": "o4"}


def display_name(model_id: str, given: str | None) -> str:
    if model_id in rules.DISPLAY_NAMES:
        return rules.DISPLAY_NAMES[model_id]
    if given and given[0].isupper() and not given.startswith(("GPT-", "ChatGPT-")):
        return given
    stem, day = re.fullmatch(r"(.+?)(?:-(\d{4}-\d{2}-\d{2}))?", model_id).groups()  # type: ignore[union-attr]  # it matches anything
    text = " ".join(WORDS.get(word, word[0].upper() + word[1:]) for word in stem.split("-"))
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


def entry(provider: str, model_id: str, prices: list[Rate], known: Mapping[str, Any]) -> Rate:
    """A model of the catalogue, every field in its place."""
    ref = f"{provider}/{model_id}"
    kind = known.get("type") or rules.type_of(model_id)
    return {
        "provider": provider, "model_id": model_id, "display_name": known["display_name"], "type": kind,
        "capabilities": rules.capabilities_of(ref, kind), "context_window": known.get("context_window") or rules.CONTEXT.get(model_id),
        "max_output_tokens": rules.MOST_OUTPUT.get(model_id), "aliases": known.get("aliases", []), "default": ref in rules.DEFAULTS,
        "sort_order": 0, "released_on": None, "deprecated_on": known.get("deprecated_on"), "retires_on": None, "successor": None,
        "description": known.get("description", ""), "prices": prices,
    }  # fmt: skip


def source_models(vendor: types.Provider) -> Iterator[Rate]:
    for model in vendor.models:
        if not rules.skipped_because(vendor.id, model.id, model.price_comments or ""):
            for name, aliases in names_of(model).items():
                yield source_model(vendor, model, name, aliases)


def source_model(vendor: types.Provider, model: types.ModelInfo, name: str, aliases: list[str]) -> Rate:
    main = name == rules.RENAMED.get(model.id, model.id)
    known = {
        "aliases": aliases,
        "display_name": display_name(name, model.name if main else None),
        "context_window": model.context_window if main else None,
        "deprecated_on": deprecated_on(model),
        "description": description(model, name),
    }
    url = vendor.pricing_urls[0] if vendor.pricing_urls else None
    return entry(rules.VENDORS[vendor.id], name, history(model, name, url), known)


def document_models() -> Iterator[Rate]:
    for provider, model_id, display, kind, amounts, note in rules.DOCUMENT_MODELS:
        rates = [
            {"meter": meter, "amount": amount, "per": per, "above": None, "service_tier": "standard", "window": None}
            for meter, amount, per in amounts
        ]
        prices = [price("priced" if rates else "free", rules.EPOCH, rates, ("design documents", None), note)]
        yield entry(provider, model_id, prices, {"type": kind, "display_name": display})


def ordered(models: Iterable[Rate]) -> list[Rate]:
    refs = {f"{model['provider']}/{model['model_id']}": model for model in models}
    first = {ref: refs.pop(ref) for ref in rules.FIRST}
    return [{**model, "sort_order": number} for number, model in enumerate([*first.values(), *refs.values()])]


def provider(number: int, values: tuple[Any, ...]) -> Rate:
    return {**dict(zip(rules.PROVIDER_FIELDS, values, strict=True)), "sort_order": number, "config": {}}


def catalog(generated_on: str) -> Rate:
    vendors = {vendor.id: vendor for vendor in data.providers}
    models = [*document_models(), *(model for vendor in rules.VENDORS for model in source_models(vendors[vendor]))]
    digest = hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest()
    return {
        "source": {
            "name": "genai-prices", "version": version("genai-prices"), "sha256": digest, "generated_on": generated_on, "notices": NOTICES,
        },
        "providers": [provider(number, values) for number, values in enumerate(rules.PROVIDERS)],
        "models": ordered(models),
    }  # fmt: skip


def written(document: Rate) -> str:
    """JSON with one line per provider and model, so that a change of one reads as a change of one line."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            lines = ",\n".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value)
            parts.append(f'"{key}": [\n{lines}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value, ensure_ascii=False, indent=1)}')
    return "{" + ",\n".join(parts) + "}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generated-on", default=GENERATED_ON, help="the day written into the document (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=TARGET)
    arguments = parser.parse_args()
    document = catalog(arguments.generated_on)
    arguments.output.write_text(written(document), encoding="utf-8")
    print(f"{len(document['providers'])} providers and {len(document['models'])} models in {arguments.output}")


if __name__ == "__main__":
    main()
