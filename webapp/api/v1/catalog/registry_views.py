"""Read endpoints for applications: models, defaults, providers, the snapshot and explanations. They always read the snapshot."""

from datetime import UTC, datetime
from typing import Any

from flask import Response

from webapp.api.v1.catalog.model_list import MODELS_QUERY, encode_page, paginate_models
from webapp.api.v1.core.encoded_registry import EncodedRegistry, request_registry
from webapp.api.v1.core.parameters import AT, MODEL, read_query
from webapp.api.v1.core.responses import conditional_response, encode
from webapp.domain.catalog.entities import MODEL_TYPES, ModelInfo
from webapp.domain.catalog.explanation import Explanation, explain
from webapp.domain.catalog.resolution import resolve, trace_resolution
from webapp.domain.catalog.serializers import provider_document
from webapp.domain.pricing.serializers import price_document
from webapp.domain.shared.errors import NotFound, quote_text
from webapp.domain.shared.timestamps import format_timestamp

SUPPORTED_QUERY = (MODEL,)
EXPLAIN_QUERY = (MODEL, AT)


def resolve_model(state: EncodedRegistry, ref: str) -> ModelInfo:
    """Return the model that the ref names. Raises `UnknownModel` or `AmbiguousModel`."""
    return state.snapshot.by_name.get(ref) or resolve(state.snapshot.names, ref)


def utc_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def list_models() -> Response:
    state = request_registry()
    page = paginate_models(state, read_query(MODELS_QUERY))
    return conditional_response(state.snapshot, state.tag, lambda: encode_page(map(state.encode_model, page.rows), page))


def get_model(ref: str) -> Response:
    state = request_registry()
    return conditional_response(state.snapshot, state.tag, state.encode_model(resolve_model(state, ref)))


def get_supported() -> Response:
    state, ref = request_registry(), str(read_query(SUPPORTED_QUERY)[MODEL.name])
    matches, _ = trace_resolution(state.snapshot.names, ref)
    model = matches[0] if len(matches) == 1 else None
    document = {
        "model": ref,
        "ref": model.ref if model else None,
        "supported": model is not None and model.supported,
        "reason": model.unsupported_because if model else "ambiguous" if matches else "unknown",
        "successor": model.successor if model else None,
    }
    return conditional_response(state.snapshot, state.tag, encode(document))


def list_defaults() -> Response:
    state = request_registry()
    pairs = (b"%b:%b" % (encode(model_type), state.encode_model(model)) for model_type, model in sorted(state.snapshot.defaults.items()))
    return conditional_response(state.snapshot, state.tag, b'{"data":{%b}}' % b",".join(pairs))


def get_default(model_type: str) -> Response:
    state = request_registry()
    if model_type not in MODEL_TYPES:
        raise NotFound(f"{quote_text(model_type)} is not a type of models; types are {', '.join(MODEL_TYPES)}.")
    model = state.snapshot.defaults.get(model_type)
    if model is None:
        raise NotFound(f"No model is the default for {model_type}. An editor can choose one.", code="no_default")
    return conditional_response(state.snapshot, state.tag, state.encode_model(model))


def list_providers() -> Response:
    state = request_registry()
    documents = [provider_document(provider) for provider in state.snapshot.providers.values()]
    return conditional_response(state.snapshot, state.tag, lambda: encode({"data": documents}))


def get_provider(slug: str) -> Response:
    state = request_registry()
    provider = state.snapshot.providers.get(slug)
    if provider is None:
        raise NotFound(f"No provider has the slug {quote_text(slug)}.")
    return conditional_response(state.snapshot, state.tag, encode(provider_document(provider)))


def get_snapshot() -> Response:
    state = request_registry()
    return conditional_response(state.snapshot, state.tag, state.encode_snapshot)


def get_explanation() -> Response:
    state, query = request_registry(), read_query(EXPLAIN_QUERY)
    explanation = explain(state.snapshot.names, query["model"], query.get("at") or utc_now())
    tag = f"{state.tag}.{format_timestamp(explanation.at)}"
    return conditional_response(state.snapshot, tag, lambda: encode(_explanation_document(state, explanation)))


def _explanation_document(state: EncodedRegistry, explanation: Explanation) -> dict[str, Any]:
    return {
        "ref": explanation.ref,
        "at": format_timestamp(explanation.at),
        "supported": explanation.supported,
        "reason": explanation.reason,
        "steps": [{"step": step.name, "looked_for": step.query, "found": list(step.refs)} for step in explanation.steps],
        "model": state.model_document(explanation.model) if explanation.model else None,
        "price": price_document(explanation.price),
        "candidates": list(explanation.candidates),
        "suggestions": list(explanation.suggestions),
    }
