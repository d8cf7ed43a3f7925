"""Managing models and their prices. A price is only ever added."""

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from webapp.api.v1.catalog.model_list import MODELS_QUERY, Page, models_page, page_document
from webapp.api.v1.core.encoded_registry import Rendered
from webapp.api.v1.core.json_body import json_object, no_fields
from webapp.api.v1.core.parameters import read
from webapp.api.v1.core.responses import answer, conditional, empty, encode
from webapp.api.v1.core.row_parameters import Rows, changing, fresh, number_of, row_tag, stored, whole
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.input_schemas import MODEL_DEFAULTS, MODEL_REQUIRED
from webapp.domain.catalog.serializers import Document, price_document
from webapp.domain.catalog.snapshot import CONSTANTS
from webapp.domain.pricing.pricing import Price
from webapp.domain.shared.errors import NotFound
from webapp.models import Model
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.pricing import prices
from webapp.web.auth import actor

HERE = "/api/v1/admin/models"
ROWS = Rows("model", models.find)


def list_managed_models() -> Response:
    state, asked = fresh(), read(MODELS_QUERY)
    # The built-in constants are no rows: nothing of them can be managed.
    found = Page((), 0, None) if state.snapshot.source == CONSTANTS else models_page(state, asked)
    return conditional(state.snapshot, state.tag, lambda: page_document(map(state.model, found.rows), found))


def get_managed_model(number: str) -> Response:
    state = fresh()
    model = _model(state, number_of(number, "model"))
    return conditional(state.snapshot, row_tag(model.version, state), state.model(model))


def create_model() -> Response:
    values = json_object()
    with writing() as session:
        number = models.create(session, values, actor=actor()).id
    return _changed(number, 201, {"Location": f"{HERE}/{number}"})


def replace_model(number: str) -> Response:
    return _update(number, whole(json_object(), MODEL_REQUIRED, MODEL_DEFAULTS))


def edit_model(number: str) -> Response:
    return _update(number, json_object())


def _update(number: str, values: dict[str, Any]) -> Response:
    with changing(ROWS, number) as (session, model_id):
        models.update(session, model_id, values, actor=actor())
    return _changed(model_id)


def delete_model(number: str) -> Response:
    with changing(ROWS, number) as (session, model_id):
        models.delete(session, model_id, actor=actor())
    return empty(fresh().snapshot)


def toggle_model(number: str) -> Response:
    no_fields()
    with changing(ROWS, number) as (session, model_id):
        models.set_active(session, model_id, actor=actor())
    return _changed(model_id)


def set_default_model(number: str) -> Response:
    no_fields()
    with changing(ROWS, number) as (session, model_id):
        models.set_default(session, model_id, actor=actor())
    return _changed(model_id)


def list_prices(number: str) -> Response:
    state = fresh()
    model = _model(state, number_of(number, "model"))
    return conditional(state.snapshot, f"{state.tag}.{state.snapshot.source}", encode({"data": _history(model)}))


def add_price(number: str) -> Response:
    values = json_object()
    with changing(ROWS, number) as (session, model_id):
        price_id = prices.add(session, model_id, values, actor=actor()).id
    return _one_price(model_id, price_id, 201, {"Location": f"{HERE}/{model_id}/prices"})


def verify_price(number: str, price: str) -> Response:
    no_fields()
    price_id = number_of(price, "price")
    with changing(ROWS, number) as (session, model_id):
        prices.verify(session, price_id, actor=actor(), of_model=model_id)
    return _one_price(model_id, price_id)


def _one_price(model_id: int, price_id: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    state = fresh()
    document = next(document for document in _history(_model(state, model_id)) if document["id"] == price_id)
    return answer(state.snapshot, encode(document), status, headers)


def _history(model: ModelInfo) -> list[Document]:
    """All prices, corrected ones too. Without the database those that are in force at some time."""

    def read_all(session: Session) -> list[Price] | None:
        row = session.get(Model, model.id)
        return None if row is None else prices.history(session, row)

    found = stored(read_all) or model.prices
    return [document for price in found if (document := price_document(price))]


def _model(state: Rendered, model_id: int) -> ModelInfo:
    model = state.by_id(model_id)
    if model is None:
        raise NotFound("There is no such model.")
    return model


def _changed(model_id: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The model as it is after the change."""
    state = fresh()
    model = _model(state, model_id)
    return answer(state.snapshot, state.model(model), status, {"ETag": f'"{row_tag(model.version, state)}"', **(headers or {})})
