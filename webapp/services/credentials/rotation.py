"""Encryption key rotation: re-encrypts every ciphertext with the first key, row by row, while the server stays in use.

Three phases ensure that every worker can read every ciphertext. First, all workers know the new key as the second one. Then all workers
know it as the first one. Then this module re-encrypts what the old key encrypted. It can be stopped at any time and run again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, select, update
from sqlalchemy.orm import Session

from webapp.domain.shared.errors import KeysLocked
from webapp.models import Base, Credential, User
from webapp.models.base import Ciphertext
from webapp.registry import revision
from webapp.security.vault import Vault
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

BATCH_SIZE = 100
CREDENTIALS, KEY_CHECK = "credentials.ciphertext", "registry_state.key_check"
_HOLDER_TEXTS = {"shared": "the shared key", "project": "the key of the project {}", "personal": "the key of {}"}


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of a column's ciphertexts that the first key reads and that only an older key reads, and the ids of unreadable rows."""

    column: str
    current: int = 0
    older: int = 0
    unreadable: tuple[int, ...] = ()


def encrypted_columns() -> list[Column[str]]:
    """Return every column that holds text encrypted by the vault, identified by its type."""
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    return [column for table in tables for column in table.columns if isinstance(column.type, Ciphertext)]


def tally(session: Session, vault: Vault) -> list[Tally]:
    """Return which ciphertexts can be read with which key. Raises `KeysLocked` without any key."""
    return [_tally(session, vault, column) for column in encrypted_columns()]


def _tally(session: Session, vault: Vault, column: Column[str]) -> Tally:
    result = Tally(f"{column.table.name}.{column.name}")
    for row_id, ciphertext in _ciphertexts(session, column):
        if vault.is_current(ciphertext):
            result = replace(result, current=result.current + 1)
        elif _reencrypt_or_none(vault, ciphertext) is not None:
            result = replace(result, older=result.older + 1)
        else:
            result = replace(result, unreadable=(*result.unreadable, row_id))
    return result


def describe_rows(session: Session, column: str, row_ids: Sequence[int]) -> list[str]:
    """Describe rows of an encrypted column: the holder and provider of a key, or the user of a second factor."""
    if column == CREDENTIALS:
        keys = session.execute(select(Credential).where(Credential.id.in_(row_ids)).order_by(Credential.id)).scalars()
        return [f"{_HOLDER_TEXTS[key.scope].format(key.owner)} of {key.provider.display_name}" for key in keys]
    if column.startswith("users."):
        emails = session.execute(select(User.email).where(User.id.in_(row_ids)).order_by(User.id)).scalars()
        return [f"the second factor of {email}" for email in emails]
    description = "the check by which a start knows the right key" if column == KEY_CHECK else f"{column} of row {{}}"
    return [description.format(row_id) for row_id in row_ids]


def _ciphertexts(session: Session, column: Column[str], after: int = 0) -> Iterator[tuple[int, str]]:
    row_id = column.table.c.id
    query = select(row_id, column).where(column.is_not(None), row_id > after).order_by(row_id)
    for row in session.execute(query).all():  # Decryption takes a while, and an open read blocks writers.
        yield row[0], row[1]


def _reencrypt_or_none(vault: Vault, ciphertext: str) -> str | None:
    try:
        return vault.reencrypt(ciphertext)
    except KeysLocked:
        return None


@dataclass(frozen=True, slots=True)
class RotationBatch:
    """The result of one transaction: changed rows, unreadable rows, and the row after which the next batch starts (None: done)."""

    rotated: int
    unreadable: tuple[int, ...]
    resume_after: int | None


def rotate_batch(session: Session, vault: Vault, column: Column[str], after: int = 0) -> RotationBatch:
    """Re-encrypt up to `BATCH_SIZE` rows.

    A row that changes in the meantime is left alone, because its new ciphertext already uses the first key.
    """
    rotated, unreadable, last_id, row_count = 0, [], after, 0
    query = select(column.table.c.id, column).where(column.is_not(None), column.table.c.id > after).order_by(column.table.c.id)
    for row_id, ciphertext in session.execute(query.limit(BATCH_SIZE)).all():
        last_id, row_count = row_id, row_count + 1
        if vault.is_current(ciphertext):
            continue
        new_ciphertext = _reencrypt_or_none(vault, ciphertext)
        if new_ciphertext is None:
            unreadable.append(row_id)
        else:
            rotated += _compare_and_set(session, column, Reencryption(row_id, ciphertext, new_ciphertext, vault.key_id))
    return RotationBatch(rotated, tuple(unreadable), last_id if row_count == BATCH_SIZE else None)


class Reencryption(NamedTuple):
    """A row whose ciphertext is replaced."""

    row_id: int
    old: str
    new: str
    key_id: str


def _compare_and_set(session: Session, column: Column[str], change: Reencryption) -> int:
    """Replace a ciphertext if it is unchanged, and return the number of changed rows. No other column changes, not even `updated_at`."""
    table = column.table
    values: dict[str, Any] = {column.name: change.new, "updated_at": table.c.updated_at}
    if "key_id" in table.c:
        values["key_id"] = change.key_id
    # Through the connection, because the session would set `updated_at` to the current time.
    result = session.connection().execute(update(table).where(table.c.id == change.row_id, column == change.old).values(values))
    return result.rowcount


def record_start(session: Session, vault: Vault, *, actor: str) -> None:
    """Audit the start before the first row, because a rotation that is stopped halfway has changed rows too."""
    after = {"key": vault.key_id, "begun_at": datetime.now(UTC).isoformat()}
    audit_log.record(
        session, "operations:keys:rotate", actor=actor, target=Target("keys", None, vault.key_id), change=AuditChange(None, after)
    )


def record_rotation(session: Session, vault: Vault, rotated: int, unreadable: int, *, actor: str) -> None:
    """Audit a finished rotation. The key check was re-encrypted too, so every process reads it again."""
    revision.bump(session)
    after = {"key": vault.key_id, "rotated": rotated, "unreadable": unreadable, "finished_at": datetime.now(UTC).isoformat()}
    audit_log.record(
        session, "operations:keys:rotate", actor=actor, target=Target("keys", None, vault.key_id), change=AuditChange(None, after)
    )


def accept_keys(session: Session, vault: Vault, unreadable: int, *, actor: str) -> None:
    """Accept this vault's keys as the correct ones, even if rows stay unreadable. Every process then reads the new check."""
    row = revision.bump(session)
    row.key_check = vault.create_key_check()
    change = AuditChange(None, {"key": vault.key_id, "unreadable": unreadable})
    audit_log.record(session, "operations:keys:accept", actor=actor, target=Target("keys", None, vault.key_id), change=change)
