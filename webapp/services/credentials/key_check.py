"""Preparation of a database: its state row, and the check that detects a wrong encryption key."""

import secrets

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.models import OneTimeLink, RegistryState, UserSession
from webapp.security.vault import Vault
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.credentials.rotation import encrypted_columns


def ensure_state(session: Session) -> RegistryState:
    """Return the state row, and create it on the first start."""
    state = session.get(RegistryState, 1)
    if state is None:
        state = RegistryState(id=1, instance=secrets.token_hex(16), revision=1)
        session.add(state)
        session.flush()
    return state


def ensure_key_check(session: Session, vault: Vault) -> None:
    """Verify the key check, or write it if nothing is encrypted yet. A key that cannot read the check locks the vault."""
    state = ensure_state(session)
    if state.key_check is not None:
        vault.verify_key_check(state.key_check)
    elif not vault.locked and not _holds_ciphertext(session):
        state.key_check = vault.create_key_check()


def _holds_ciphertext(session: Session) -> bool:
    queries = (select(column.table.c.id).where(column.is_not(None)).limit(1) for column in encrypted_columns())
    return any(session.execute(query).scalar_one_or_none() is not None for query in queries)


def mark_restored(session: Session, name: str, *, actor: str) -> None:
    """Give a restored database a new instance, so that no process mistakes its revisions for known ones, and audit the restore.

    All sessions and links end, because the backup cannot tell which of them ended after it was made.
    """
    state = ensure_state(session)
    for table in (UserSession, OneTimeLink):
        session.execute(delete(table))
    before = state.revision
    state.instance, state.revision = secrets.token_hex(16), state.revision + 1
    audit_log.record(
        session,
        "operations:backup:restore",
        actor=actor,
        target=Target("database", None, name[:300]),
        change=AuditChange(None, {"file": name[:300], "revision": before}),
    )
