"""Application and undo of proposals with many rows: the start of the job, its chunks and its summary.

A row that changed since the proposal was opened is left as it is and listed. Smaller proposals are applied by `apply`, all or none.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session

from webapp.domain.jobs.lifecycle import DONE
from webapp.domain.shared.errors import Conflict, require_confirmed
from webapp.models import Job, Proposal, ProposalRow
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange
from webapp.services.catalog import model_names
from webapp.services.catalog_sync import apply, proposal_names, proposals, undo_rows
from webapp.services.catalog_sync.apply import Approval
from webapp.services.catalog_sync.proposals import APPLIED, OPEN, UNDONE, proposal_target
from webapp.services.jobs import queue
from webapp.services.jobs.queue import ChunkResult, JobRequest

MAX_ATOMIC_ROWS = 2_000
APPLY, UNDO = "proposal_apply", "proposal_undo"
MAX_LISTED = 100


class RowResults(NamedTuple):
    """The number of rows that a chunk changed, and the reasons of those that it left as they are."""

    changed: int
    left: Sequence[str]


# Start.


def start_apply(session: Session, proposal_id: int, approval: Approval) -> Job:
    """Start the application of the selected rows. Raises what `apply.apply` raises before its first row."""
    proposal = apply.require_applicable(session, proposal_id, approval)
    rows = apply.list_chosen_rows(session, proposal_id)
    confirmations = proposal_names.list_start_confirmations(session, rows)
    require_confirmed(confirmations, approval.confirmed)
    arguments = {"at": approval.at.isoformat()} | model_names.confirmed_values(confirmations)
    return _start(session, JobRequest(APPLY, proposal_target(proposal), arguments, len(rows), "row", approval.actor))


def start_undo(session: Session, proposal_id: int, *, actor: str, confirmed: Collection[str] = ()) -> Job:
    """Start the undo of an applied proposal. Raises what `apply.undo` raises before its first row."""
    proposal = apply.require_undoable(session, proposal_id)
    rows = apply.list_chosen_rows(session, proposal_id)
    confirmations = proposal_names.list_undo_confirmations(session, rows)
    require_confirmed(confirmations, confirmed)
    arguments = model_names.confirmed_values(confirmations)
    return _start(session, JobRequest(UNDO, proposal_target(proposal), arguments, len(rows), "row", actor))


def _start(session: Session, request: JobRequest) -> Job:
    job = queue.start(session, request)
    queue.record_event(session, job, "start", actor=request.requested_by)
    return job


# Chunks.


def apply_chunk(session: Session, job: Job, size: int) -> ChunkResult:
    """Apply the next rows."""
    approval = Approval(job.requested_by, datetime.fromisoformat(job.arguments["at"]), four_eyes=False, selection_digest="")

    def apply_rows(rows: Sequence[ProposalRow]) -> RowResults:
        left = _apply_valid_rows(session, rows, approval)
        return RowResults(len(rows) - len(left), [f"{ref} {reason}" for ref, reason in left.items()])

    return _run_chunk(session, job, size, apply_rows)


def _apply_valid_rows(session: Session, rows: Sequence[ProposalRow], approval: Approval) -> dict[str, str]:
    """Apply the rows that can be applied, and return the reasons of the others by ref."""
    left: dict[str, str] = {}
    while remaining := [row for row in rows if row.ref not in left]:
        try:
            with session.begin_nested():
                apply.apply_rows(session, remaining, approval)
            break
        except Conflict as error:
            if not error.errors:
                raise
            left |= {row_error.field: row_error.message for row_error in error.errors}
    for row in rows:
        row.chosen = row.ref not in left
    return left


def undo_chunk(session: Session, job: Job, size: int) -> ChunkResult:
    """Undo the next rows. An undone row forgets what it did, so that a later undo continues with the others."""

    def undo(rows: Sequence[ProposalRow]) -> RowResults:
        applied = [row for row in rows if row.done]
        left = undo_rows.undo_slice(session, applied, actor=job.requested_by)
        left_refs = {message.partition(" ")[0] for message in left}
        for row in applied:
            row.done = row.done if row.ref in left_refs else None
        return RowResults(len(applied) - len(left), left)

    return _run_chunk(session, job, size, undo)


def _run_chunk(session: Session, job: Job, size: int, change: Callable[[Sequence[ProposalRow]], RowResults]) -> ChunkResult:
    revision.bump(session)
    rows = apply.list_chosen_rows(session, job.subject_id, after=job.checkpoint.get("ref", ""), limit=size)
    with model_names.confirmed_before(session):
        results = change(rows)
    job.totals = _add_to_totals(job.totals, results)
    checkpoint = {"ref": rows[-1].ref} if rows else job.checkpoint
    return ChunkResult(len(rows), checkpoint, is_last=len(rows) < size)


def _add_to_totals(totals: dict[str, Any], results: RowResults) -> dict[str, Any]:
    return {
        "changed": totals.get("changed", 0) + results.changed,
        "left": totals.get("left", 0) + len(results.left),
        "left_rows": [*totals.get("left_rows", ()), *results.left][:MAX_LISTED],
    }


# End.


def close_apply(session: Session, job: Job) -> None:
    """Write the summary. Of a job that did not finish, the proposal keeps the rows that were applied, so that undo reverts those."""
    proposal = proposals.find(session, job.subject_id, lock=True)
    if not job.totals.get("changed"):
        return  # The proposal stays open.
    not_applied = (ProposalRow.proposal_id == proposal.id, ProposalRow.chosen, ProposalRow.ref > job.checkpoint["ref"])
    session.execute(update(ProposalRow).where(*not_applied).values(chosen=False), execution_options=queue.UNSYNCHRONIZED)
    proposal.status, proposal.applied_by, proposal.applied_at = APPLIED, job.requested_by, audit_log.now()
    _record_summary(session, job, proposal, "apply", OPEN)


def close_undo(session: Session, job: Job) -> None:
    """Write the summary. If the job did not finish, the proposal stays applied, and another undo continues."""
    proposal = proposals.find(session, job.subject_id, lock=True)
    if job.status == DONE:
        proposal.status, proposal.ended_by, proposal.ended_at = UNDONE, job.requested_by, audit_log.now()
    if job.status == DONE or job.totals.get("changed"):
        _record_summary(session, job, proposal, "undo", APPLIED)


def _record_summary(session: Session, job: Job, proposal: Proposal, verb: str, before: str) -> None:
    after = {"status": proposal.status, "job": job.id, "result": job.status, "rows": job.totals.get("changed", 0), "of": job.total}
    after |= {"left": job.totals["left_rows"]} if job.totals.get("left") else {}
    after |= {"opened_by": proposal.opened_by, "confirmed": job.arguments.get("confirmed", [])}
    change = AuditChange({"status": before}, after)
    audit_log.record(session, f"catalog:proposal:{verb}", actor=job.requested_by, target=proposal_target(proposal), change=change)
