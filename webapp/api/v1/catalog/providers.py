"""Endpoints to manage providers and their keys. Keys are write-only."""

from collections.abc import Collection
from typing import Any

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.api.v1.catalog.model_list import encode_page, paginate
from webapp.api.v1.core.encoded_registry import EncodedRegistry
from webapp.api.v1.core.json_body import read_confirmed_object, read_json_object, require_no_fields
from webapp.api.v1.core.parameters import CURSOR, LIMIT, SEARCH, read_query
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
from webapp.domain.catalog.input_schemas import PROVIDER_DEFAULTS, PROVIDER_REQUIRED, api_key
from webapp.domain.catalog.serializers import Document, provider_document
from webapp.domain.catalog.snapshot import CONSTANTS
from webapp.domain.shared.errors import NotFound
from webapp.domain.shared.timestamps import format_timestamp
from webapp.domain.shared.validators import validate
from webapp.models import Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import providers
from webapp.services.credentials import credentials
from webapp.web.auth import actor

BASE_PATH = "/api/v1/admin/providers"
PROVIDER_ROW = RowType("provider", providers.find)
PROVIDERS_QUERY = (SEARCH, LIMIT, CURSOR)


def list_managed_providers() -> Response:
    state, query = refreshed_registry(), read_query(PROVIDERS_QUERY)
    search = query.get("q", "").casefold()
    rows = [row for row in _list_documents(state) if search in row["slug"] or search in row["display_name"].casefold()]
    page = paginate(rows, lambda row: (row["sort_order"], row["slug"]), query)
    return conditional_response(state.snapshot, f"{state.tag}.{state.snapshot.source}", lambda: encode_page(map(encode, page.rows), page))


def get_managed_provider(number: str) -> Response:
    state = refreshed_registry()
    document = _find_document(state, parse_row_id(number, "provider"))
    return conditional_response(state.snapshot, row_tag(document["version"], state), encode(document))


def create_provider() -> Response:
    values, _ = read_confirmed_object()  # Only a new slug of an existing provider changes names.
    with writing() as session:
        provider_id = providers.create(session, values, actor=actor(), policy=container.current().outbound).id
    return _provider_response(provider_id, 201, {"Location": f"{BASE_PATH}/{provider_id}"})


def replace_provider(number: str) -> Response:
    values, confirmed = read_confirmed_object()
    return _update(number, with_defaults(values, PROVIDER_REQUIRED, PROVIDER_DEFAULTS), confirmed)


def edit_provider(number: str) -> Response:
    return _update(number, *read_confirmed_object())


def _update(row_id: str, values: dict[str, Any], confirmed: Collection[str]) -> Response:
    with row_transaction(PROVIDER_ROW, row_id) as (session, provider_id):
        providers.update(session, provider_id, values, actor=actor(), policy=container.current().outbound, confirmed=confirmed)
    return _provider_response(provider_id)


def delete_provider(number: str) -> Response:
    with row_transaction(PROVIDER_ROW, number) as (session, provider_id):
        providers.delete(session, provider_id, actor=actor())
    return empty_response(refreshed_registry().snapshot)


def toggle_provider(number: str) -> Response:
    require_no_fields()
    with row_transaction(PROVIDER_ROW, number) as (session, provider_id):
        providers.set_active(session, provider_id, actor=actor())
    return _provider_response(provider_id)


def set_primary_provider(number: str) -> Response:
    require_no_fields()
    with row_transaction(PROVIDER_ROW, number) as (session, provider_id):
        providers.set_primary(session, provider_id, actor=actor())
    return _provider_response(provider_id)


def clear_primary_provider() -> Response:
    with writing() as session:
        providers.clear_primary(session, actor=actor())
    return empty_response(refreshed_registry().snapshot)


def store_credential(number: str) -> Response:
    key = validate(read_json_object(), {"api_key": api_key}, ("api_key",))["api_key"]
    with row_transaction(PROVIDER_ROW, number) as (session, provider_id):
        credentials.store(session, providers.find(session, provider_id), key, vault=container.vault(), actor=actor())
    return _provider_response(provider_id)


def remove_credential(number: str) -> Response:
    with row_transaction(PROVIDER_ROW, number) as (session, provider_id):
        credentials.remove(session, providers.find(session, provider_id), actor=actor())
    return empty_response(refreshed_registry().snapshot)


def _list_documents(state: EncodedRegistry) -> list[Document]:
    """Return all providers in display order. Without the database, return those of the snapshot, which have fewer fields."""

    def read_all(session: Session) -> list[Document]:
        rows = session.execute(select(Provider).order_by(Provider.sort_order, Provider.slug)).scalars()
        return [_row_document(session, row, state) for row in rows]

    documents = read_database_or_none(read_all)
    if documents is not None:
        return documents
    return [] if state.snapshot.source == CONSTANTS else [provider_document(provider) for provider in state.snapshot.providers.values()]


def _find_document(state: EncodedRegistry, provider_id: int) -> Document:
    def read_one(session: Session) -> list[Document]:
        row = session.get(Provider, provider_id)
        return [] if row is None else [_row_document(session, row, state)]

    documents = read_database_or_none(read_one)
    if documents is None:
        documents = [provider_document(provider) for provider in state.snapshot.providers.values() if provider.id == provider_id]
    if not documents:
        raise NotFound("There is no such provider.")
    return documents[0]


def _row_document(session: Session, row: Provider, state: EncodedRegistry) -> Document:
    """Return all fields of the row, so that a client can send the document back with PUT."""
    snapshot_provider = state.snapshot.providers.get(row.slug)
    return {
        "id": row.id,
        **providers.audit_values(row),
        "models": snapshot_provider.models if snapshot_provider else 0,
        "has_key": snapshot_provider.has_key
        if snapshot_provider and snapshot_provider.id == row.id
        else credentials.get_shared_or_none(session, row) is not None,
        "updated_at": format_timestamp(row.updated_at),
        "version": row.version,
    }


def _provider_response(provider_id: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the provider as it is after the change."""
    state = refreshed_registry()
    document = _find_document(state, provider_id)
    return json_response(state.snapshot, encode(document), status, {"ETag": f'"{row_tag(document["version"], state)}"', **(headers or {})})
