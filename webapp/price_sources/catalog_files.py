"""Readers of uploaded files of genai-prices and of Modeldesk."""

from typing import Any

import yaml

from webapp.domain.shared.errors import Invalid
from webapp.price_sources import genai
from webapp.price_sources.bounded_yaml import Loader, events
from webapp.price_sources.catalog_entries import as_list
from webapp.price_sources.cost_fields import ReadLog
from webapp.price_sources.exact_json import CatalogEntries, parse_json, storable


def read_genai_json(data: bytes, log: ReadLog) -> CatalogEntries:
    raw = parse_json(data)
    if not isinstance(raw, list):
        raise Invalid.field("file", "must be a list of providers, as genai-prices publishes it")
    return genai.catalog_document(genai.parse_providers(raw, log), log)


def read_modeldesk(data: bytes, log: ReadLog) -> CatalogEntries:
    raw = parse_json(data) if data.lstrip()[:1] == b"{" else _load_yaml(data)
    if not isinstance(raw, dict) or not isinstance(raw.get("models"), list):
        raise Invalid.field("file", "holds no list of models: it is no export of a Modeldesk")
    for position, row in enumerate(raw["models"]):
        if not isinstance(row, dict):
            log.leave_out(f"models[{position}]: is left out, because it is no object")
    models = [dict(row) for row in raw["models"] if isinstance(row, dict)]
    prices = (price for row in models for price in as_list(row.get("prices")) if isinstance(price, dict))
    log.fields_read += sum(len(as_list(price.get("rates"))) for price in prices)
    return [row for row in as_list(raw.get("providers")) if isinstance(row, dict)], models


def _load_yaml(data: bytes) -> Any:
    for _ in events(data):  # Check the limits first: deep nesting would crash this process.
        pass
    try:
        return storable(yaml.load(data, Loader=Loader))  # noqa: S506 # `Loader` is a safe loader; the linter cannot see that.
    except (yaml.YAMLError, ValueError) as error:  # A date such as 2026-02-30 raises ValueError.
        raise Invalid.field("file", f"is neither JSON nor YAML: {str(error)[:200]}") from None
