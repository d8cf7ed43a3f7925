"""Nothing is stored without a line in the audit trail: what no service may forget is not left to the services.

A session notes which tables its transaction changes. Before it is committed one of them has to be the trail's, unless all of them are ones
whose every row is a record itself, or is no decision of anybody (`UNAUDITED_TABLES`). A service that forgot its line stores nothing.
"""

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, scoped_session

AUDIT_TABLE = "audit_events"
CHANGED_TABLES_KEY = "modeldesk_changed_tables"  # The name in `session.info` under which they are noted.
# A table that is not in this list needs a line for each change. Why each of these does not:
UNAUDITED_TABLES = frozenset(
    {
        "usage_records",  # applications report by the thousand, and each row says who, what and when
        "bench_cells",
        "recommendations",  # parts of a run or bench, which has its line
        "provider_checks",  # each row is the record of a check
        "cached_responses",  # copies of answers, with an end
        "import_drafts",
        "proposal_rows",  # prepared and ticked by one person; opening, applying and dismissing have lines
        "credential_counters",
        "login_attempts",
        "spent_returns",  # counts
        "recovery_codes",
        "user_sessions",  # signing in and out and using a code have lines; sweeping out what ended has none
        "registry_processes",
        "registry_state",  # which worker holds which revision
    }
)


def require_audit_event(session: scoped_session[Any]) -> None:
    """Refuses to commit what has no line in the trail. Raises `RuntimeError`: it is a defect of ours, and the request ends as one."""
    event.listen(session, "before_flush", _track_objects)
    event.listen(session, "do_orm_execute", _track_statement)
    event.listen(session, "before_commit", _check_before_commit)
    event.listen(session, "after_rollback", _clear_tracked)


def _track_objects(session: Session, context: UOWTransaction, instances: object) -> None:
    for row in (*session.new, *session.deleted, *(row for row in session.dirty if session.is_modified(row))):
        _track_table(session, row.__table__.name)


def _track_statement(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        _track_table(state.session, state.statement.table.name)  # type: ignore[attr-defined] # all three have one


def _track_table(session: Session, table: str) -> None:
    session.info.setdefault(CHANGED_TABLES_KEY, set()).add(table)


def _check_before_commit(session: Session) -> None:
    if session.in_nested_transaction():
        return  # The end of a part; the whole will be asked.
    session.flush()  # What was not flushed yet is not noted yet.
    changed = session.info.pop(CHANGED_TABLES_KEY, set())
    bare = changed - UNAUDITED_TABLES - {AUDIT_TABLE}
    if bare and AUDIT_TABLE not in changed:
        raise RuntimeError(f"a change of {', '.join(sorted(bare))} without a line in the trail")


def _clear_tracked(session: Session) -> None:
    session.info.pop(CHANGED_TABLES_KEY, None)
