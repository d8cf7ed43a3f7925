"""Parts of the entries that catalog readers return: providers under one slug per vendor, names, limits and dates."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from webapp.domain.shared import validators
from webapp.domain.shared.errors import Invalid
from webapp.price_sources.cost_fields import ReadLog

Entry = dict[str, Any]
# The slug in Modeldesk for a seller's name in other catalogs, in lower case and with `-` for other punctuation.
PROVIDER_SLUGS = {
    "amazon-bedrock": "aws",
    "azure-text": "azure",
    "bedrock": "aws",
    "bedrock-converse": "aws",
    "bedrock-mantle": "aws",
    "cohere-chat": "cohere",
    "fireworks-ai": "fireworks",
    "gemini": "google",
    "github-copilot": "copilot",
    "gmicloud": "gmi",
    "google-vertex": "vertex-ai",
    "jina-ai": "jina",
    "lambda-ai": "lambda",
    "llama": "meta",
    "meta-llama": "meta",
    "moonshot": "moonshotai",
    "novita-ai": "novita",
    "text-completion-codestral": "codestral",
    "text-completion-inception": "inception",
    "text-completion-openai": "openai",
    "together-ai": "together",
    "togetherai": "together",
    "vercel-ai-gateway": "vercel",
    "voyage": "voyageai",
    "x-ai": "xai",
}
# A seller's name that begins like this is a part of one seller's catalog, such as `vertex_ai-language-models`.
PROVIDER_PREFIXES = {"vertex-ai-": "vertex-ai", "google-vertex-": "vertex-ai", "fireworks-ai-": "fireworks"}
# A name that can be an alias and is no pattern.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+\-]{0,199}", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def provider_slug(seller: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", seller.lower()).strip("-")
    prefixed = next((slug for prefix, slug in PROVIDER_PREFIXES.items() if name.startswith(prefix)), name)
    return PROVIDER_SLUGS.get(prefixed, prefixed)


def model_entry(provider: str, model_id: str, price: Entry, attributes: Mapping[str, Any]) -> Entry:
    blank = dict.fromkeys(("context_window", "max_output_tokens", "released_on", "deprecated_on", "retires_on", "successor"))
    return {
        "provider": provider,
        "model_id": model_id,
        "display_name": model_id,
        "capabilities": [],
        "aliases": [],
        "description": "",
        **blank,
        **{name: value for name, value in attributes.items() if value is not None},
        "prices": [price],
    }


def provider_entries(entries: Iterable[Entry], names: Mapping[str, str]) -> list[Entry]:
    """Return the providers of the entries. `names` are display names by the seller's name; the first of a vendor counts."""
    display_names: dict[str, str] = {}
    for seller, name in names.items():
        display_names.setdefault(provider_slug(seller), name)
    slugs = dict.fromkeys(entry["provider"] for entry in entries)
    return [{"slug": slug, "display_name": display_names.get(slug, slug)} for slug in slugs]


def unify(entries: Iterable[tuple[str, Entry]], log: ReadLog) -> list[Entry]:
    """Return one entry per model, with the source's own key as an alias if it is neither the model id nor the ref.

    A second record of a model is a problem if its price differs.
    """
    models: dict[str, Entry] = {}
    names: dict[str, str] = {}
    for key, entry in entries:
        ref = f"{entry['provider']}/{entry['model_id']}"
        first = models.setdefault(ref, entry)
        names[key] = ref
        if first["prices"][0]["rates"] != entry["prices"][0]["rates"]:
            log.leave_out(f"{key}: is left out, because an earlier record of {ref} has other rates")
    for key, ref in names.items():
        model_id = models[ref]["model_id"]
        if key not in models and key != model_id and _PLAIN_NAME.fullmatch(key) and len(models[ref]["aliases"]) < 50:
            models[ref]["aliases"].append(key)
    return list(models.values())


def as_object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def as_count(value: object) -> int | None:
    """Return a whole number above 0, which a source can write as `256000.0`."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 < value < 10**9 or value != int(value):
        return None
    return int(value)


def as_url(value: object, location: str, log: ReadLog) -> str | None:
    """Return an address that a price can link to, or None. An address that cannot be stored is reported; a sentence is no address."""
    text = (as_text(value) or "").replace("'", "%27")
    if not text.startswith(("https://", "http://")):
        return None
    try:
        validators.url(text, "source")
    except Invalid:
        log.problems.append(f"{location} is no address that a price can link to: the record is read without it")
        return None
    return text


def as_date(value: object, location: str, log: ReadLog) -> str | None:
    """Return a full ISO date, or None. A month is no day; anything else that is no date is reported."""
    if value is None or value == "" or (isinstance(value, str) and _MONTH.fullmatch(value)):
        return None
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    log.problems.append(f"{location} is {str(value)[:40]}, which is no date: the record is read without it")
    return None
