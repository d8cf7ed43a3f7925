"""Reading many rows in blocks, so that no read transaction stays open while Python computes.

On SQLite with a rollback journal, an open read keeps every writer from committing. With a write-ahead log and on PostgreSQL, it only
keeps old row versions from being removed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.orm import QueryableAttribute, Session

from webapp.extensions.engine import WRITING

BLOCK_SIZE = 10_000
Key = QueryableAttribute[Any]


def read_in_blocks(
    session: Session, query: Select[*tuple[Any, ...]], *keys: Key, newest_first: bool = False, block_size: int = BLOCK_SIZE
) -> Iterator[Row[*tuple[Any, ...]]]:
    """Yield the rows of a query in the order of `keys`, which are added as the last columns. The last key is the id of the table.

    Each block is fetched completely, and the read is released before its rows are yielded. An index on the keys makes each block fast.
    The query selects columns, because a release expires the objects of the session.

    Rows that are added after the start are not seen: the highest id at the start is the bound. Rows that are changed or deleted while
    blocks are read are seen as they are when their block is read. On PostgreSQL, a transaction that began earlier can still commit a row
    below the bound: that row is seen if its block was not read yet.
    """
    row_id = keys[-1]
    newest_id = session.execute(select(func.max(row_id))).scalar_one()
    query = query.add_columns(*keys).where(row_id <= (newest_id or 0)).order_by(*(key.desc() if newest_first else key for key in keys))
    rows = session.execute(query.limit(block_size)).all()
    while rows:
        release_read(session)
        yield from rows
        if len(rows) < block_size:
            return
        position = rows[-1][-len(keys) :]
        rows = session.execute(query.where(_follows(keys, position, newest_first=newest_first)).limit(block_size)).all()
    release_read(session)


def _follows(keys: Sequence[Key], position: Sequence[Any], *, newest_first: bool) -> ColumnElement[bool]:
    """Return the condition for the rows after a position. Its first part alone restricts the range of an index."""
    (key, *others), (value, *rest) = keys, position
    is_after: ColumnElement[bool] = key < value if newest_first else key > value
    if not others:
        return is_after
    is_in_range = key <= value if newest_first else key >= value
    return and_(is_in_range, or_(is_after, _follows(others, rest, newest_first=newest_first)))


def release_read(session: Session) -> None:
    """End the session's read transaction. A write transaction stays open."""
    if session.in_transaction() and not session.connection().get_execution_options().get(WRITING):
        session.rollback()
