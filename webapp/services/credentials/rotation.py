"""Rotating the encryption key: every ciphertext is re-encrypted with the first key, row by row, while the desk goes on serving.

Three phases, so that no worker meets a ciphertext that it cannot read: all workers know the new key as a second one; all workers know it
as the first one; then this re-encrypts what the old one encrypted. It can be stopped at any moment and run again.
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
    """How many ciphertexts of a column the first key reads, how many only an older one, and the ids of rows that none can read."""

    column: str
    current: int = 0
    older: int = 0
    unreadable: tuple[int, ...] = ()


def encrypted_columns() -> list[Column[str]]:
    """Every column that holds what the vault encrypted, found by its type."""
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    return [column for table in tables for column in table.columns if isinstance(column.type, Ciphertext)]


def tally(session: Session, vault: Vault) -> list[Tally]:
    """What could be read with which key. Raises `KeysLocked` without any key."""
    return [_tally(session, vault, column) for column in encrypted_columns()]


def _tally(session: Session, vault: Vault, column: Column[str]) -> Tally:
    found = Tally(f"{column.table.name}.{column.name}")
    for number, ciphertext in _ciphertexts(session, column):
        if vault.is_current(ciphertext):
            found = replace(found, current=found.current + 1)
        elif _reencrypt_or_none(vault, ciphertext) is not None:
            found = replace(found, older=found.older + 1)
        else:
            found = replace(found, unreadable=(*found.unreadable, number))
    return found


def describe_rows(session: Session, place: str, numbers: Sequence[int]) -> list[str]:
    """What rows of an encrypted column are to people: whose key of which provider, whose second factor."""
    if place == CREDENTIALS:
        found = session.execute(select(Credential).where(Credential.id.in_(numbers)).order_by(Credential.id)).scalars()
        return [f"{_HOLDER_TEXTS[key.scope].format(key.owner)} of {key.provider.display_name}" for key in found]
    if place.startswith("users."):
        emails = session.execute(select(User.email).where(User.id.in_(numbers)).order_by(User.id)).scalars()
        return [f"the second factor of {email}" for email in emails]
    what = "the check by which a start knows the right key" if place == KEY_CHECK else f"{place} of row {{}}"
    return [what.format(number) for number in numbers]


def _ciphertexts(session: Session, column: Column[str], after: int = 0) -> Iterator[tuple[int, str]]:
    number = column.table.c.id
    query = select(number, column).where(column.is_not(None), number > after).order_by(number)
    for row in session.execute(query):
        yield row[0], row[1]


def _reencrypt_or_none(vault: Vault, ciphertext: str) -> str | None:
    try:
        return vault.reencrypt(ciphertext)
    except KeysLocked:
        return None


@dataclass(frozen=True, slots=True)
class RotationBatch:
    """What one transaction did: rows that changed, rows that no key can read, and after which row the next step begins (None: done)."""

    rotated: int
    unreadable: tuple[int, ...]
    resume_after: int | None


def rotate_batch(session: Session, vault: Vault, column: Column[str], after: int = 0) -> RotationBatch:
    """Re-encrypts up to a hundred rows. One that somebody changes meanwhile is left alone: it is under the first key already."""
    rotated, unreadable, last, seen = 0, [], after, 0
    query = select(column.table.c.id, column).where(column.is_not(None), column.table.c.id > after).order_by(column.table.c.id)
    for number, ciphertext in session.execute(query.limit(BATCH_SIZE)).all():
        last, seen = number, seen + 1
        if vault.is_current(ciphertext):
            continue
        renewed = _reencrypt_or_none(vault, ciphertext)
        if renewed is None:
            unreadable.append(number)
        else:
            rotated += _compare_and_set(session, column, Reencryption(number, ciphertext, renewed, vault.key_id))
    return RotationBatch(rotated, tuple(unreadable), last if seen == BATCH_SIZE else None)


class Reencryption(NamedTuple):
    """A row whose ciphertext is replaced."""

    row_id: int
    old: str
    new: str
    key_id: str


def _compare_and_set(session: Session, column: Column[str], change: Reencryption) -> int:
    """Compare and set. Nothing else of the row changes, not even when it was last changed."""
    table = column.table
    values: dict[str, Any] = {column.name: change.new, "updated_at": table.c.updated_at}
    if "key_id" in table.c:
        values["key_id"] = change.key_id
    # Through the connection: the session would give updated_at the present time.
    done = session.connection().execute(update(table).where(table.c.id == change.row_id, column == change.old).values(values))
    return done.rowcount


def record_start(session: Session, vault: Vault, *, actor: str) -> None:
    """The trail's line before the first row: what is stopped in the middle has changed something too."""
    after = {"key": vault.key_id, "begun_at": datetime.now(UTC).isoformat()}
    audit_log.record(
        session, "operations:keys:rotate", actor=actor, target=Target("keys", None, vault.key_id), change=AuditChange(None, after)
    )


def record_rotation(session: Session, vault: Vault, rotated: int, unreadable: int, *, actor: str) -> None:
    """The trail's line about a rotation. The registry's check was re-encrypted too, so every process reads it again."""
    revision.bump(session)
    after = {"key": vault.key_id, "rotated": rotated, "unreadable": unreadable, "finished_at": datetime.now(UTC).isoformat()}
    audit_log.record(
        session, "operations:keys:rotate", actor=actor, target=Target("keys", None, vault.key_id), change=AuditChange(None, after)
    )


def accept_keys(session: Session, vault: Vault, unreadable: int, *, actor: str) -> None:
    """From now on this vault's keys are the right ones, whatever they cannot read. Every process reads the new check at once."""
    row = revision.bump(session)
    row.key_check = vault.create_key_check()
    change = AuditChange(None, {"key": vault.key_id, "unreadable": unreadable})
    audit_log.record(session, "operations:keys:accept", actor=actor, target=Target("keys", None, vault.key_id), change=change)
