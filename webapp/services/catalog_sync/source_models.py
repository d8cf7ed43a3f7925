"""Models of a catalog that was read: each record becomes a model of the registry's kind, or a problem."""

from collections.abc import Mapping
from typing import Any

from webapp.domain.catalog.catalog_diff import COMPARED_FIELDS
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.input_schemas import PRICE_REQUIRED, validate_model, validate_new_names, validate_price
from webapp.domain.catalog.serializers import model_from
from webapp.domain.shared.errors import Invalid
from webapp.price_sources.sources import SourceCatalog

USED_FIELDS = ("provider", "model_id", "aliases", *COMPARED_FIELDS)


def models_by_ref(source_catalog: SourceCatalog, problems: list[str]) -> Mapping[str, ModelInfo]:
    """Return the models of the catalog. A record that cannot be read is left out and added to `problems`."""
    models: dict[str, ModelInfo] = {}
    for record in source_catalog.models:
        name = f"{record.get('provider')}/{record.get('model_id')}"
        try:
            model = _read_record(record)
        except Invalid as error:
            problems.append(f"{name[:300]}: {error.detail}")
            continue
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            problems.append(f"{name[:300]}: cannot be read: {_reason(error)}")
            continue
        if model.ref in models:
            problems.append(f"{name}: is left out, because an earlier record has the same name")
        models.setdefault(model.ref, model)
    return models


def _read_record(record: Mapping[str, Any]) -> ModelInfo:
    """Return the model. Raises `Invalid` for a value that a comparison cannot use, and other errors for a record in another format."""
    model = model_from(record)
    validate_new_names(validate_model({name: record[name] for name in USED_FIELDS if record.get(name) is not None}, partial=True))
    for document in record["prices"]:
        validate_price({name: document[name] for name in PRICE_REQUIRED})
    return model


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)[:200]
