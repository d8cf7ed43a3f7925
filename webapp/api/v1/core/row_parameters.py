"""What managing providers and models has in common: ids, the version as a lock, and answers from the newest state."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from flask import request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.api.v1.core.encoded_registry import EncodedRegistry, unscoped_registry
from webapp.domain.catalog.snapshot import LAST_GOOD
from webapp.domain.shared.errors import DatabaseUnreachable, FieldError, Invalid, NotFound, Stale
from webapp.extensions import db
from webapp.registry import revision
from webapp.runtime import container
from webapp.runtime.transaction import writing

T = TypeVar("T")
ID = re.compile(r"[0-9]{1,18}", re.ASCII)
# Our own tags read "v3.<what the row is shown with>". Whoever knows only the version may say "3" or "v3".
ROW_TAG = re.compile(r'"v?([0-9]{1,18})(?:\.[^"]*)?"', re.ASCII)


def parse_row_id(text: str, kind: str) -> int:
    """The id in an address. What is no id is the address of nothing."""
    if ID.fullmatch(text) is None:
        raise NotFound(f"There is no such {kind}.")
    return int(text)


def refreshed_registry() -> EncodedRegistry:
    """The state of the database as it is now: whoever manages rows must not see a copy that another process has just changed."""
    registry = container.registry()
    if registry.snapshot.source != LAST_GOOD:
        registry.refresh()
    return unscoped_registry()


def read_database_or_none(read: Callable[[Session], T]) -> T | None:
    """What the database says beyond the snapshot, or None while it is away: reading goes on with what the snapshot has."""
    if container.registry().snapshot.source == LAST_GOOD:
        return None
    try:
        return read(db.session())
    except (SQLAlchemyError, DatabaseUnreachable):
        return None
    finally:
        db.session.rollback()  # On SQLite an open read keeps every writer waiting.


def row_tag(version: int, shown: EncodedRegistry) -> str:
    """A row's version, and what else its answer depends on: prices and keys are rows of their own."""
    return f"v{version}.{shown.tag}.{shown.snapshot.source}"


class RowType(NamedTuple):
    """One kind of row: what it is called, and what finds and locks one."""

    kind: str
    find: Callable[[Session, int], Any]


@contextmanager
def row_transaction(rows: RowType, number: str) -> Iterator[tuple[Session, int]]:
    """A transaction that changes the row of this id. Raises `Stale` unless its version is one that the request's If-Match names."""
    row_id = parse_row_id(number, rows.kind)
    with writing() as session:
        revision.lock(session)  # Before the row, as every other writer does, so that no two wait for each other.
        asked = request.headers.get("If-Match")
        if asked is not None and rows.find(session, row_id).version not in _if_match_versions(asked) and asked.strip() != "*":
            raise Stale(f"Somebody else changed this {rows.kind} since you read it. Load it again, look at the change, and repeat yours.")
        yield session, row_id


def _if_match_versions(asked: str) -> set[int]:
    """The versions in an If-Match header. Weak tags and other people's match nothing."""
    matches = (ROW_TAG.fullmatch(part.strip()) for part in asked.split(","))
    return {int(match[1]) for match in matches if match}


def with_defaults(values: Mapping[str, Any], required: tuple[str, ...], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A whole entry for PUT: what is left out goes back to its default."""
    if missing := [FieldError(name, "is required") for name in required if name not in values]:
        raise Invalid.of(missing)
    return {**defaults, **values}
