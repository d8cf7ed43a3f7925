"""Parts of the entries that catalog readers return: providers under one slug per vendor, names, limits and dates."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from webapp.domain.shared import validators
from webapp.domain.shared.errors import Invalid
from webapp.price_sources.cost_fields import ReadLog

Entry = dict[str, Any]
MAX_ALIASES = 50
# xAI bills the higher rate of a context tier from its number of tokens on, others above it.
INCLUSIVE_SELLER = "xai"
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


def threshold_of(seller: str, tokens: int) -> int | None:
    """Return the number of input tokens above which a seller bills the rate of a context tier, or None for every call."""
    return max(tokens - (seller == INCLUSIVE_SELLER), 0) or None


def provider_entries(entries: Iterable[Entry], names: Mapping[str, str]) -> list[Entry]:
    """Return the providers of the entries. `names` are display names by the seller's name; the first of a vendor counts."""
    display_names: dict[str, str] = {}
    for seller, name in names.items():
        display_names.setdefault(provider_slug(seller), name)
    slugs = dict.fromkeys(entry["provider"] for entry in entries)
    return [{"slug": slug, "display_name": display_names.get(slug, slug)} for slug in slugs]


def unify(entries: Iterable[tuple[str, Entry]], log: ReadLog) -> list[Entry]:
    """Return one entry per model, with the source's own key as an alias if it is neither the model id nor the ref.

    Of several records of a model, one with a price counts, then the one whose key is the plain model id, then the first. Another record is
    a problem if it states another price.
    """
    records: dict[str, dict[str, Entry]] = {}
    for key, entry in entries:
        records.setdefault(f"{entry['provider']}/{entry['model_id']}", {})[key] = entry
    models: list[Entry] = []
    for ref, of_model in records.items():
        chosen = min(of_model, key=lambda key: (not _has_price(of_model[key]), key != of_model[key]["model_id"]))
        others = [key for key, entry in of_model.items() if _has_price(entry) and _stated_price(entry) != _stated_price(of_model[chosen])]
        for key in others:
            log.leave_out(f"{key}: is left out, because the record {chosen} of {ref} has another price")
        names = [key for key in of_model if key not in (*others, *records, of_model[chosen]["model_id"]) and _PLAIN_NAME.fullmatch(key)]
        models.append(of_model[chosen] | {"aliases": names[:MAX_ALIASES]})
    return models


def _has_price(entry: Entry) -> bool:
    return any(price["state"] != "unknown" for price in entry["prices"])


def _stated_price(entry: Entry) -> frozenset[str]:
    """Return the rates as a set, and the fields that are not read: two records can state one price in another order."""
    price = entry["prices"][0]
    return frozenset((price["note"], *(json.dumps(rate, sort_keys=True) for rate in price["rates"])))


def is_free_name(name: str) -> bool:
    """Return whether the name marks a model as free, as OpenRouter's names do."""
    return name.endswith(":free")


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
