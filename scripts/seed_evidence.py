"""Evidence for the constants from outside genai-prices: retirement dates, successors, release dates and rates of media.

`collect` reads it from whole catalog files. It is stored next to this script, so that the constants can be generated without the files.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anthropic._data import DEPRECATED_MODELS

from webapp.price_sources import sources
from webapp.price_sources.genai_fields import OUTPUT_MEDIA
from webapp.price_sources.genai_rates import JsonObject

EVIDENCE_FILE = Path(__file__).with_name("seed_evidence.json")
LITELLM, MODELS_DEV, SDK = "LiteLLM", "models.dev", "Anthropic's SDK"
MEDIA_METERS = ("input_audio", "output_audio", "output_image", "output_video")


def load() -> JsonObject:
    evidence: JsonObject = json.loads(EVIDENCE_FILE.read_text(encoding="utf-8"))
    return evidence


def collect(models: Iterable[JsonObject], litellm: bytes, models_dev: bytes) -> JsonObject:
    """Return what the files, and the installed SDK of Anthropic, state about these models."""
    names = {f"{model['provider']}/{name}": ref_of(model) for model in models for name in (*model["aliases"], model["model_id"])}
    stated: dict[str, JsonObject] = {}
    for ref, fields in (*_from_litellm(litellm), *_from_models_dev(models_dev), *_from_sdk()):
        if ref in names:
            found = stated.setdefault(names[ref], {})
            for name, values in fields.items():
                found[name] = {**values, **found.get(name, {})}
    files = {LITELLM: litellm, MODELS_DEV: models_dev}
    digests = {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    return {"sources": digests | {SDK: {"version": version("anthropic")}}, "models": dict(sorted(stated.items()))}


def write(evidence: JsonObject) -> None:
    EVIDENCE_FILE.write_text(json.dumps(evidence, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def ref_of(model: Mapping[str, Any]) -> str:
    return f"{model['provider']}/{model['model_id']}"


def _from_litellm(data: bytes) -> Iterable[tuple[str, JsonObject]]:
    """Yield retirement dates with their addresses, successors, and rates of media next to the rates of text."""
    raw = json.loads(data)
    for model in sources.read_catalog("litellm", data).models:
        keys = (model["model_id"], *model["aliases"], f"{model['provider']}/{model['model_id']}")
        row: Mapping[str, Any] = next((raw[key] for key in keys if key in raw), {})
        fields: JsonObject = {}
        if model["retires_on"]:
            fields["retires_on"] = {LITELLM: model["retires_on"]}
            fields["announcement"] = {LITELLM: row["deprecation_source"]} if row.get("deprecation_source") else {}
        if row.get("successor_model"):
            fields["successor"] = {LITELLM: row["successor_model"].rpartition("/")[2]}
        plain = {rate["meter"]: rate["amount"] for rate in model["prices"][0]["rates"] if _is_standard(rate)}
        if any(meter in plain for meter in MEDIA_METERS):
            fields["rates"] = {LITELLM: plain}
        yield ref_of(model), fields


def _from_models_dev(data: bytes) -> Iterable[tuple[str, JsonObject]]:
    for model in sources.read_catalog("models.dev", data).models:
        yield ref_of(model), {"released_on": {MODELS_DEV: model["released_on"]}} if model.get("released_on") else {}


def _from_sdk() -> Iterable[tuple[str, JsonObject]]:
    """Yield the dates of the table of deprecated models, which are written as `November 30th, 2026`."""
    for name, text in DEPRECATED_MODELS.items():
        day = datetime.strptime(re.sub(r"(?<=\d)[a-z]{2}", "", text), "%B %d, %Y").date()  # noqa: DTZ007 # A date has no time zone.
        yield f"anthropic/{name}", {"retires_on": {SDK: day.isoformat()}}


def _is_standard(rate: JsonObject) -> bool:
    return (rate["above"], rate["service_tier"], rate["window"], rate["when"], rate["per"]) == (None, "standard", None, None, 1_000_000)


# What the evidence says about one model.


def retirement_of(stated: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the date on which a model retires, and a note.

    A date counts if the vendor's SDK states it or two sources agree. Otherwise the note says who announced it.
    """
    dates: Mapping[str, str] = stated.get("retires_on", {})
    if not dates:
        return None, ""
    day = dates.get(SDK) or next((day for day in dates.values() if list(dates.values()).count(day) > 1), None)
    if day:
        return day, f"Retires on {day}, according to {' and '.join(name for name in dates if dates[name] == day)}."
    address = "".join(f" ({url})" for url in stated.get("announcement", {}).values())
    announced = "; ".join(f"on {day} by {name}" for name, day in dates.items())
    return None, f"Retirement announced {announced}{address}. No second source confirms it."


def media_rates(stated: Mapping[str, Any], rates: Iterable[JsonObject], kind: str) -> list[JsonObject]:
    """Return the rates of media of another catalog for a model whose output medium has none, if both catalogs agree on text."""
    own = {rate["meter"]: rate["amount"] for rate in rates if _is_standard(rate)}
    if all(f"output_{medium}" in own for medium in OUTPUT_MEDIA.get(kind, ())):
        return []
    for other in stated.get("rates", {}).values():
        if all(own.get(meter) == other.get(meter) for meter in ("input", "output")) and "input" in own:
            missing = [meter for meter in MEDIA_METERS if meter in other and meter not in own]
            return [plain_rate(meter, other[meter], 1_000_000) for meter in missing]
    return []


def plain_rate(meter: str, amount: str, per: int, when: Mapping[str, str] | None = None) -> JsonObject:
    return {"meter": meter, "amount": amount, "per": per, "above": None, "service_tier": "standard", "window": None, "when": when or None}
