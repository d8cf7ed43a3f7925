"""Shared code to manage providers and models: row ids, optimistic locking by version, and responses from the newest state."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from flask import request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.api.v1.core.encoded_registry import EncodedRegistry, unscoped_registry
from webapp.domain.catalog.snapshot import LAST_GOOD
from webapp.domain.shared.errors import FieldError, Invalid, NotFound, Stale, Unavailable
from webapp.extensions import db
from webapp.registry import revision
from webapp.runtime import container
from webapp.runtime.transaction import writing

T = TypeVar("T")
ID = re.compile(r"[0-9]{1,18}", re.ASCII)
# Generated tags read "v3.<registry state>". A client that knows only the version can send "3" or "v3".
ROW_TAG = re.compile(r'"v?([0-9]{1,18})(?:\.[^"]*)?"', re.ASCII)


def parse_row_id(text: str, kind: str) -> int:
    """Parse the row id in a URL. Raises `NotFound` if the text is not an id."""
    if ID.fullmatch(text) is None:
        raise NotFound(f"There is no such {kind}.")
    return int(text)


def refreshed_registry() -> EncodedRegistry:
    """Return the current state of the database. To manage rows, clients must see changes by other processes immediately."""
    registry = container.registry()
    if registry.snapshot.source != LAST_GOOD:
        registry.refresh()
    return unscoped_registry()


def read_database_or_none(read: Callable[[Session], T]) -> T | None:
    """Return the result of `read`, or None if the database is unavailable. The caller then reads from the snapshot."""
    if container.registry().snapshot.source == LAST_GOOD:
        return None
    try:
        return read(db.session())
    except (SQLAlchemyError, Unavailable):
        return None
    finally:
        db.session.rollback()  # On SQLite an open read blocks every writer.


def row_tag(version: int, state: EncodedRegistry) -> str:
    """Return the tag of a row: its version and the registry state. The state counts because prices and keys are separate rows."""
    return f"v{version}.{state.tag}.{state.snapshot.source}"


class RowType(NamedTuple):
    """One kind of row: its name, and the function that finds and locks a row."""

    kind: str
    find: Callable[[Session, int], Any]


@contextmanager
def row_transaction(row_type: RowType, raw_id: str) -> Iterator[tuple[Session, int]]:
    """Open a transaction that changes the row with this id. Raises `Stale` if the request's If-Match names another version."""
    row_id = parse_row_id(raw_id, row_type.kind)
    with writing() as session:
        revision.lock(session)  # Before the row, in the order of all other writers, to avoid deadlocks.
        if_match = request.headers.get("If-Match")
        if if_match is not None and row_type.find(session, row_id).version not in _if_match_versions(if_match) and if_match.strip() != "*":
            raise Stale(
                f"Somebody else changed this {row_type.kind} since you read it. Load it again, look at the change, and repeat yours."
            )
        yield session, row_id


def _if_match_versions(if_match: str) -> set[int]:
    """Return the versions in an If-Match header. Weak tags and foreign tags match nothing."""
    matches = (ROW_TAG.fullmatch(part.strip()) for part in if_match.split(","))
    return {int(match[1]) for match in matches if match}


def with_defaults(values: Mapping[str, Any], required: tuple[str, ...], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return complete values for PUT: omitted fields get their defaults. Raises `Invalid` if a required field is missing."""
    if missing := [FieldError(name, "is required") for name in required if name not in values]:
        raise Invalid.of(missing)
    return {**defaults, **values}
