"""Build webapp/domain/catalog/data/catalog.json, the constants of the registry, from genai-prices, the evidence and the design documents.

Deterministic: the same package, evidence and date produce the same bytes. Rates that the price model cannot express are omitted, with the
reason in the price's note. They are never approximated. With the files of LiteLLM and models.dev, the evidence is collected again first.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # The script can run from any folder.

import seed_evidence
from genai_prices import data

from webapp.domain.catalog.catalog_guards import GuardLimits
from webapp.domain.catalog.price_diff import PriceSides, price_lines
from webapp.domain.pricing.serializers import price_from
from webapp.price_sources import genai_rules, seed_tables
from webapp.price_sources.cost_fields import ReadLog
from webapp.price_sources.genai import catalog_entry, source_models
from webapp.price_sources.genai_rates import JsonObject, Origin, price_entry

TARGET = Path(__file__).parent.parent / "webapp" / "domain" / "catalog" / "data" / "catalog.json"
GENERATED_ON = "2026-12-01"
NOTICES = [
    "genai-prices, MIT, Copyright (c) Pydantic Services Inc. 2025 to present",
    "LiteLLM, MIT, Copyright (c) 2023 Berri AI",
    "models.dev, MIT, Copyright (c) 2025 opencode",
]


def document_models() -> Iterator[JsonObject]:
    for provider, model_id, display, kind, amounts, note in seed_tables.DOCUMENT_MODELS:
        rates = [seed_evidence.plain_rate(*amount) for amount in amounts]
        prices = [price_entry(genai_rules.EPOCH, rates, Origin("design documents", is_free=not rates), note)]
        yield catalog_entry(provider, model_id, prices, {"type": kind, "display_name": display})


def with_evidence(model: JsonObject, stated: Mapping[str, Any], known: Mapping[str, JsonObject]) -> JsonObject:
    """Return the model with its retirement and release dates, its successor, rates per image, and media rates that genai-prices lacks."""
    retires_on, note = seed_evidence.retirement_of(stated)
    images = [seed_evidence.plain_rate("image", amount, 1, when) for amount, when in seed_tables.IMAGES.get(model["model_id"], ())]
    media = [seed_evidence.media_rates(stated, price["rates"], model["type"]) for price in model["prices"]]
    return {
        **model,
        "released_on": next(iter(stated.get("released_on", {}).values()), None),
        "retires_on": retires_on,
        "successor": successor_of(model, stated, known),
        "description": " ".join(filter(None, (model["description"], note))),
        "prices": [with_rates(price, [*rates, *images]) for price, rates in zip(model["prices"], media, strict=True)],
    }


def with_rates(price: JsonObject, rates: list[JsonObject]) -> JsonObject:
    """Return the price with more rates, and with a note about where they come from."""
    if not rates:
        return price
    note = seed_tables.IMAGES_NOTE if rates[-1]["meter"] == "image" else f"Rates of media: {seed_evidence.LITELLM}."
    is_stated = {f"output_{medium}" for medium in ("audio", "image", "video")} & {rate["meter"] for rate in rates}
    at_text_rate = price["media_at_text_rate"] or bool(is_stated)
    return {
        **price,
        "rates": [*price["rates"], *rates],
        "media_at_text_rate": at_text_rate,
        "note": " ".join(filter(None, (price["note"], note))),
    }


def successor_of(model: JsonObject, stated: Mapping[str, Any], known: Mapping[str, JsonObject]) -> str | None:
    """Return the ref of the successor that a catalog names, if it is one of these models."""
    names = (f"{model['provider']}/{name}" for name in stated.get("successor", {}).values())
    return next((name for name in names if name in known and name != seed_evidence.ref_of(model)), None)


def ordered(models: Iterable[JsonObject]) -> list[JsonObject]:
    refs: dict[str, JsonObject] = {}
    for model in models:
        refs.setdefault(seed_evidence.ref_of(model), model)
    first = {ref: refs.pop(ref) for ref in seed_tables.FIRST_MODELS}
    return [{**model, "sort_order": position} for position, model in enumerate([*first.values(), *refs.values()])]


def provider(position: int, values: tuple[Any, ...]) -> JsonObject:
    return {**dict(zip(seed_tables.PROVIDER_FIELDS, values, strict=True)), "sort_order": position, "config": {}}


def base_models() -> list[JsonObject]:
    vendors = {vendor.id: vendor for vendor in data.providers}
    listed = (model for vendor in seed_tables.VENDORS for model in source_models(vendors[vendor], ReadLog()))
    return ordered([*document_models(), *listed])


def catalog(generated_on: str, evidence: JsonObject) -> JsonObject:
    models = {seed_evidence.ref_of(model): model for model in base_models()}
    digest = hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest()
    return {
        "source": {
            "name": "genai-prices",
            "version": version("genai-prices"),
            "sha256": digest,
            "generated_on": generated_on,
            "evidence": evidence["sources"],
            "notices": NOTICES,
        },
        "providers": [provider(position, values) for position, values in enumerate(seed_tables.PROVIDERS)],
        "models": [with_evidence(model, evidence["models"].get(ref, {}), models) for ref, model in models.items()],
    }


def written(document: JsonObject) -> str:
    """Format the document as JSON with one line per provider and model, so that diffs stay small."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            lines = ",\n".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value)
            parts.append(f'"{key}": [\n{lines}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value, ensure_ascii=False, indent=1)}')
    return "{" + ",\n".join(parts) + "}\n"


def changes(before: JsonObject, after: JsonObject) -> Iterator[str]:
    """Yield a line for each difference between two versions of the constants: models, fields of models and current prices."""
    old, new = ({seed_evidence.ref_of(model): model for model in document["models"]} for document in (before, after))
    yield from (f"removed  {ref}" for ref in old if ref not in new)
    yield from (f"added    {ref}" for ref in new if ref not in old)
    for ref in old.keys() & new.keys():
        fields = [name for name in new[ref] if name != "prices" and old[ref].get(name) != new[ref][name]]
        yield from (f"changed  {ref}: {name}: {old[ref].get(name)} -> {new[ref][name]}" for name in fields)
        sides = PriceSides(*(price_from(model["prices"][-1]) for model in (old[ref], new[ref])))
        for line in price_lines(sides, "", GuardLimits()):
            yield f"changed  {ref}: {line.field}: {line.before or '-'} -> {line.after or '-'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generated-on", default=GENERATED_ON, help="the day written into the document (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=TARGET)
    parser.add_argument("--litellm", type=Path, help="LiteLLM's model_prices_and_context_window.json")
    parser.add_argument("--models-dev", type=Path, help="models.dev's api.json")
    arguments = parser.parse_args()
    if arguments.litellm and arguments.models_dev:
        seed_evidence.write(seed_evidence.collect(base_models(), arguments.litellm.read_bytes(), arguments.models_dev.read_bytes()))
    before = json.loads(TARGET.read_text(encoding="utf-8"))
    document = catalog(arguments.generated_on, seed_evidence.load())
    arguments.output.write_text(written(document), encoding="utf-8")
    lines = sorted(changes(before, document))
    print("\n".join([*lines, f"{len(lines)} changes. {len(document['providers'])} providers and {len(document['models'])} models."]))


if __name__ == "__main__":
    main()
