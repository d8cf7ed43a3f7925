"""Managing providers and their keys. A key goes in and never comes out."""

from typing import Any

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.api.v1.catalog.model_list import page, page_document
from webapp.api.v1.core.encoded_registry import Rendered
from webapp.api.v1.core.json_body import json_object, no_fields
from webapp.api.v1.core.parameters import CURSOR, LIMIT, SEARCH, read
from webapp.api.v1.core.responses import answer, conditional, empty, encode
from webapp.api.v1.core.row_parameters import Rows, changing, fresh, number_of, row_tag, stored, whole
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

HERE = "/api/v1/admin/providers"
ROWS = Rows("provider", providers.find)
PROVIDERS_QUERY = (SEARCH, LIMIT, CURSOR)


def list_managed_providers() -> Response:
    shown, asked = fresh(), read(PROVIDERS_QUERY)
    wanted = asked.get("q", "").casefold()
    kept = [row for row in _documents(shown) if wanted in row["slug"] or wanted in row["display_name"].casefold()]
    found = page(kept, lambda row: (row["sort_order"], row["slug"]), asked)
    return conditional(shown.snapshot, f"{shown.tag}.{shown.snapshot.source}", lambda: page_document(map(encode, found.rows), found))


def get_managed_provider(number: str) -> Response:
    shown = fresh()
    document = _document(shown, number_of(number, "provider"))
    return conditional(shown.snapshot, row_tag(document["version"], shown), encode(document))


def create_provider() -> Response:
    values = json_object()
    with writing() as session:
        number = providers.create(session, values, actor=actor(), policy=container.current().outbound).id
    return _changed(number, 201, {"Location": f"{HERE}/{number}"})


def replace_provider(number: str) -> Response:
    return _update(number, whole(json_object(), PROVIDER_REQUIRED, PROVIDER_DEFAULTS))


def edit_provider(number: str) -> Response:
    return _update(number, json_object())


def _update(number: str, values: dict[str, Any]) -> Response:
    with changing(ROWS, number) as (session, provider_id):
        providers.update(session, provider_id, values, actor=actor(), policy=container.current().outbound)
    return _changed(provider_id)


def delete_provider(number: str) -> Response:
    with changing(ROWS, number) as (session, provider_id):
        providers.delete(session, provider_id, actor=actor())
    return empty(fresh().snapshot)


def toggle_provider(number: str) -> Response:
    no_fields()
    with changing(ROWS, number) as (session, provider_id):
        providers.set_active(session, provider_id, actor=actor())
    return _changed(provider_id)


def set_primary_provider(number: str) -> Response:
    no_fields()
    with changing(ROWS, number) as (session, provider_id):
        providers.set_primary(session, provider_id, actor=actor())
    return _changed(provider_id)


def clear_primary_provider() -> Response:
    with writing() as session:
        providers.clear_primary(session, actor=actor())
    return empty(fresh().snapshot)


def store_credential(number: str) -> Response:
    key = validate(json_object(), {"api_key": api_key}, ("api_key",))["api_key"]
    with changing(ROWS, number) as (session, provider_id):
        credentials.store(session, providers.find(session, provider_id), key, vault=container.vault(), actor=actor())
    return _changed(provider_id)


def remove_credential(number: str) -> Response:
    with changing(ROWS, number) as (session, provider_id):
        credentials.remove(session, providers.find(session, provider_id), actor=actor())
    return empty(fresh().snapshot)


def _documents(shown: Rendered) -> list[Document]:
    """All providers by display order; from the snapshot, with less to tell, while the database is away."""

    def read_all(session: Session) -> list[Document]:
        rows = session.execute(select(Provider).order_by(Provider.sort_order, Provider.slug)).scalars()
        return [_row_document(session, row, shown) for row in rows]

    found = stored(read_all)
    if found is not None:
        return found
    return [] if shown.snapshot.source == CONSTANTS else [provider_document(known) for known in shown.snapshot.providers.values()]


def _document(shown: Rendered, provider_id: int) -> Document:
    def read_one(session: Session) -> list[Document]:
        row = session.get(Provider, provider_id)
        return [] if row is None else [_row_document(session, row, shown)]

    found = stored(read_one)
    if found is None:
        found = [provider_document(known) for known in shown.snapshot.providers.values() if known.id == provider_id]
    if not found:
        raise NotFound("There is no such provider.")
    return found[0]


def _row_document(session: Session, row: Provider, shown: Rendered) -> Document:
    """The whole row: what is read here can be entered again with PUT."""
    known = shown.snapshot.providers.get(row.slug)
    return {
        "id": row.id,
        **providers.facts(row),
        "models": known.models if known else 0,
        "has_key": known.has_key if known and known.id == row.id else credentials.shared(session, row) is not None,
        "updated_at": format_timestamp(row.updated_at),
        "version": row.version,
    }


def _changed(provider_id: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The provider as it is after the change."""
    shown = fresh()
    document = _document(shown, provider_id)
    return answer(shown.snapshot, encode(document), status, {"ETag": f'"{row_tag(document["version"], shown)}"', **(headers or {})})
