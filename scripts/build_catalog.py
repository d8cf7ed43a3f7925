"""Build webapp/domain/catalog/data/catalog.json, the constants of the registry, from genai-prices and the design documents.

Deterministic: the same package and date produce the same bytes. Rates that the price model cannot express are omitted, with the reason in
the price's note. They are never approximated.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # The script can run from any folder.

from genai_prices import data

from webapp.price_sources import genai_rules, seed_tables
from webapp.price_sources.cost_fields import ReadLog
from webapp.price_sources.genai import catalog_entry, source_models
from webapp.price_sources.genai_rates import JsonObject, Origin, price_entry

TARGET = Path(__file__).parent.parent / "webapp" / "domain" / "catalog" / "data" / "catalog.json"
GENERATED_ON = "2026-11-21"
NOTICES = ["genai-prices, MIT, Copyright (c) Pydantic Services Inc. 2025 to present", "LiteLLM, MIT, Copyright (c) 2023 Berri AI"]


def document_models() -> Iterator[JsonObject]:
    for provider, model_id, display, kind, amounts, note in seed_tables.DOCUMENT_MODELS:
        rates = [
            {"meter": meter, "amount": amount, "per": per, "above": None, "service_tier": "standard", "window": None, "when": None}
            for meter, amount, per in amounts
        ]
        prices = [price_entry(genai_rules.EPOCH, rates, Origin("design documents", is_free=not rates), note)]
        yield catalog_entry(provider, model_id, prices, {"type": kind, "display_name": display})


def ordered(models: Iterable[JsonObject]) -> list[JsonObject]:
    refs: dict[str, JsonObject] = {}
    for model in models:
        refs.setdefault(f"{model['provider']}/{model['model_id']}", model)
    first = {ref: refs.pop(ref) for ref in seed_tables.FIRST_MODELS}
    return [{**model, "sort_order": position} for position, model in enumerate([*first.values(), *refs.values()])]


def provider(position: int, values: tuple[Any, ...]) -> JsonObject:
    return {**dict(zip(seed_tables.PROVIDER_FIELDS, values, strict=True)), "sort_order": position, "config": {}}


def catalog(generated_on: str) -> JsonObject:
    vendors = {vendor.id: vendor for vendor in data.providers}
    models = [*document_models(), *(model for vendor in seed_tables.VENDORS for model in source_models(vendors[vendor], ReadLog()))]
    digest = hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest()
    return {
        "source": {
            "name": "genai-prices",
            "version": version("genai-prices"),
            "sha256": digest,
            "generated_on": generated_on,
            "notices": NOTICES,
        },
        "providers": [provider(position, values) for position, values in enumerate(seed_tables.PROVIDERS)],
        "models": ordered(models),
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
