"""Endpoints to manage models and their prices. Prices are append-only."""

from collections.abc import Collection
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from webapp.api.v1.catalog.model_list import MODELS_QUERY, Page, encode_page, paginate_models
from webapp.api.v1.core.encoded_registry import EncodedRegistry
from webapp.api.v1.core.json_body import read_confirmed_object, read_json_object, require_no_fields
from webapp.api.v1.core.parameters import CONFIRM_QUERY, read_query
from webapp.api.v1.core.responses import conditional_response, empty_response, encode, json_response
from webapp.api.v1.core.row_parameters import (
    RowType,
    parse_row_id,
    read_database_or_none,
    refreshed_registry,
    row_tag,
    row_transaction,
    with_defaults,
)
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.input_schemas import MODEL_DEFAULTS, MODEL_REQUIRED
from webapp.domain.catalog.serializers import Document
from webapp.domain.catalog.snapshot import CONSTANTS
from webapp.domain.pricing.pricing import Price
from webapp.domain.pricing.serializers import price_document
from webapp.domain.shared.errors import NotFound
from webapp.models import Model
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.pricing import prices
from webapp.web.auth import actor

BASE_PATH = "/api/v1/admin/models"
MODEL_ROW = RowType("model", models.find)


def list_managed_models() -> Response:
    state, query = refreshed_registry(), read_query(MODELS_QUERY)
    # The built-in constants are not database rows, so there is nothing to manage.
    page = Page((), 0, None) if state.snapshot.source == CONSTANTS else paginate_models(state, query)
    return conditional_response(state.snapshot, state.tag, lambda: encode_page(map(state.encode_model, page.rows), page))


def get_managed_model(number: str) -> Response:
    state = refreshed_registry()
    model = _find_model(state, parse_row_id(number, "model"))
    return conditional_response(state.snapshot, row_tag(model.version, state), state.encode_model(model))


def create_model() -> Response:
    values, confirmed = read_confirmed_object()
    with writing() as session:
        model_id = models.create(session, values, actor=actor(), confirmed=confirmed).id
    return _model_response(model_id, 201, {"Location": f"{BASE_PATH}/{model_id}"})


def replace_model(number: str) -> Response:
    values, confirmed = read_confirmed_object()
    return _update(number, with_defaults(values, MODEL_REQUIRED, MODEL_DEFAULTS), confirmed)


def edit_model(number: str) -> Response:
    return _update(number, *read_confirmed_object())


def _update(row_id: str, values: dict[str, Any], confirmed: Collection[str]) -> Response:
    with row_transaction(MODEL_ROW, row_id) as (session, model_id):
        models.update(session, model_id, values, actor=actor(), confirmed=confirmed)
    return _model_response(model_id)


def delete_model(number: str) -> Response:
    confirmed = read_query(CONFIRM_QUERY).get("confirm", ())
    with row_transaction(MODEL_ROW, number) as (session, model_id):
        models.delete(session, model_id, actor=actor(), confirmed=confirmed)
    return empty_response(refreshed_registry().snapshot)


def toggle_model(number: str) -> Response:
    require_no_fields()
    confirmed = read_query(CONFIRM_QUERY).get("confirm", ())
    with row_transaction(MODEL_ROW, number) as (session, model_id):
        models.set_active(session, model_id, actor=actor(), confirmed=confirmed)
    return _model_response(model_id)


def set_default_model(number: str) -> Response:
    require_no_fields()
    with row_transaction(MODEL_ROW, number) as (session, model_id):
        models.set_default(session, model_id, actor=actor())
    return _model_response(model_id)


def list_prices(number: str) -> Response:
    state = refreshed_registry()
    model = _find_model(state, parse_row_id(number, "model"))
    return conditional_response(state.snapshot, f"{state.tag}.{state.snapshot.source}", encode({"data": _list_price_documents(model)}))


def add_price(number: str) -> Response:
    values = read_json_object()
    with row_transaction(MODEL_ROW, number) as (session, model_id):
        price_id = prices.add(session, model_id, values, actor=actor()).id
    return _price_response(model_id, price_id, 201, {"Location": f"{BASE_PATH}/{model_id}/prices"})


def cancel_price(number: str, price: str) -> Response:
    require_no_fields()
    price_id = parse_row_id(price, "price")
    with row_transaction(MODEL_ROW, number) as (session, model_id):
        cancellation_id = prices.cancel(session, price_id, actor=actor(), model_id=model_id).id
    return _price_response(model_id, cancellation_id, 201, {"Location": f"{BASE_PATH}/{model_id}/prices"})


def verify_price(number: str, price: str) -> Response:
    require_no_fields()
    price_id = parse_row_id(price, "price")
    with row_transaction(MODEL_ROW, number) as (session, model_id):
        prices.verify(session, price_id, actor=actor(), model_id=model_id)
    return _price_response(model_id, price_id)


def _price_response(model_id: int, price_id: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    state = refreshed_registry()
    document = next(document for document in _list_price_documents(_find_model(state, model_id)) if document["id"] == price_id)
    return json_response(state.snapshot, encode(document), status, headers)


def _list_price_documents(model: ModelInfo) -> list[Document]:
    """Return all prices, including corrected ones. Without the database, return only those that are in force at some time."""

    def read_all(session: Session) -> list[Price] | None:
        row = session.get(Model, model.id)
        return None if row is None else prices.history(session, row)

    history = read_database_or_none(read_all) or model.prices
    return [price_document(price) for price in history]


def _find_model(state: EncodedRegistry, model_id: int) -> ModelInfo:
    model = state.get_model_or_none(model_id)
    if model is None:
        raise NotFound("There is no such model.")
    return model


def _model_response(model_id: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the model as it is after the change."""
    state = refreshed_registry()
    model = _find_model(state, model_id)
    return json_response(
        state.snapshot, state.encode_model(model), status, {"ETag": f'"{row_tag(model.version, state)}"', **(headers or {})}
    )
