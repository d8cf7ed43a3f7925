"""Guard that rejects commits without an audit event, so that the audit log does not depend on the services.

A session tracks the tables that its transaction changes. At commit, the audit log must be one of them, unless all of them are in
`UNAUDITED_TABLES`. A service that does not record its change cannot store it.
"""

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, scoped_session

AUDIT_TABLE = "audit_events"
CHANGED_TABLES_KEY = "modeldesk_changed_tables"  # Key in `session.info` for the changed tables.
# Every change of a table that is not listed here requires an audit event. The comments say why these tables do not.
UNAUDITED_TABLES = frozenset(
    {
        "usage_records",  # applications report thousands of rows, and each row is its own record
        "bench_cells",
        "recommendations",  # parts of a run or evaluation, which is audited
        "provider_checks",  # each row records one check
        "cached_responses",  # copies of responses, which expire
        "import_drafts",
        "proposal_rows",  # selected by one user; opening, applying and dismissing are audited
        "source_copies",  # copies of catalogs for second opinions; opening a proposal is audited
        "credential_counters",
        "login_attempts",
        "spent_returns",  # counters
        "recovery_codes",
        "user_sessions",  # sign-in, sign-out and code use are audited; deleting expired rows is not
        "jobs",
        "job_workers",  # starting, canceling and ending a job are audited with its subject; progress is not
        "registry_processes",
        "registry_state",  # the revision of each worker
    }
)


def require_audit_event(session: scoped_session[Any]) -> None:
    """Reject commits without an audit event. Raises `RuntimeError`, because the cause is a defect in the code."""
    event.listen(session, "before_flush", _track_objects)
    event.listen(session, "do_orm_execute", _track_statement)
    event.listen(session, "before_commit", _check_before_commit)
    event.listen(session, "after_rollback", _clear_tracked)


def _track_objects(session: Session, context: UOWTransaction, instances: object) -> None:
    for row in (*session.new, *session.deleted, *(row for row in session.dirty if session.is_modified(row))):
        _track_table(session, row.__table__.name)


def _track_statement(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        _track_table(state.session, state.statement.table.name)  # type: ignore[attr-defined] # insert, update and delete have one


def _track_table(session: Session, table: str) -> None:
    session.info.setdefault(CHANGED_TABLES_KEY, set()).add(table)


def _check_before_commit(session: Session) -> None:
    if session.in_nested_transaction():
        return  # End of a savepoint; the outer commit is checked.
    session.flush()  # Tables are tracked at the flush.
    changed = session.info.pop(CHANGED_TABLES_KEY, set())
    audited = changed - UNAUDITED_TABLES - {AUDIT_TABLE}
    if audited and AUDIT_TABLE not in changed:
        raise RuntimeError(f"a change of {', '.join(sorted(audited))} without a line in the trail")


def _clear_tracked(session: Session) -> None:
    session.info.pop(CHANGED_TABLES_KEY, None)
