"""Managing providers and their keys. A key goes in and never comes out."""

from typing import Any

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.api.v1.catalog.model_list import encode_page, paginate
from webapp.api.v1.core.encoded_registry import EncodedRegistry
from webapp.api.v1.core.json_body import read_json_object, require_no_fields
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
    shown, asked = refreshed_registry(), read_query(PROVIDERS_QUERY)
    wanted = asked.get("q", "").casefold()
    kept = [row for row in _list_documents(shown) if wanted in row["slug"] or wanted in row["display_name"].casefold()]
    found = paginate(kept, lambda row: (row["sort_order"], row["slug"]), asked)
    return conditional_response(shown.snapshot, f"{shown.tag}.{shown.snapshot.source}", lambda: encode_page(map(encode, found.rows), found))


def get_managed_provider(number: str) -> Response:
    shown = refreshed_registry()
    document = _find_document(shown, parse_row_id(number, "provider"))
    return conditional_response(shown.snapshot, row_tag(document["version"], shown), encode(document))


def create_provider() -> Response:
    values = read_json_object()
    with writing() as session:
        number = providers.create(session, values, actor=actor(), policy=container.current().outbound).id
    return _provider_response(number, 201, {"Location": f"{BASE_PATH}/{number}"})


def replace_provider(number: str) -> Response:
    return _update(number, with_defaults(read_json_object(), PROVIDER_REQUIRED, PROVIDER_DEFAULTS))


def edit_provider(number: str) -> Response:
    return _update(number, read_json_object())


def _update(number: str, values: dict[str, Any]) -> Response:
    with row_transaction(PROVIDER_ROW, number) as (session, provider_id):
        providers.update(session, provider_id, values, actor=actor(), policy=container.current().outbound)
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


def _list_documents(shown: EncodedRegistry) -> list[Document]:
    """All providers by display order; from the snapshot, with less to tell, while the database is away."""

    def read_all(session: Session) -> list[Document]:
        rows = session.execute(select(Provider).order_by(Provider.sort_order, Provider.slug)).scalars()
        return [_row_document(session, row, shown) for row in rows]

    found = read_database_or_none(read_all)
    if found is not None:
        return found
    return [] if shown.snapshot.source == CONSTANTS else [provider_document(known) for known in shown.snapshot.providers.values()]


def _find_document(shown: EncodedRegistry, provider_id: int) -> Document:
    def read_one(session: Session) -> list[Document]:
        row = session.get(Provider, provider_id)
        return [] if row is None else [_row_document(session, row, shown)]

    found = read_database_or_none(read_one)
    if found is None:
        found = [provider_document(known) for known in shown.snapshot.providers.values() if known.id == provider_id]
    if not found:
        raise NotFound("There is no such provider.")
    return found[0]


def _row_document(session: Session, row: Provider, shown: EncodedRegistry) -> Document:
    """The whole row: what is read here can be entered again with PUT."""
    known = shown.snapshot.providers.get(row.slug)
    return {
        "id": row.id,
        **providers.audit_values(row),
        "models": known.models if known else 0,
        "has_key": known.has_key if known and known.id == row.id else credentials.get_shared_or_none(session, row) is not None,
        "updated_at": format_timestamp(row.updated_at),
        "version": row.version,
    }


def _provider_response(provider_id: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The provider as it is after the change."""
    shown = refreshed_registry()
    document = _find_document(shown, provider_id)
    return json_response(shown.snapshot, encode(document), status, {"ETag": f'"{row_tag(document["version"], shown)}"', **(headers or {})})
