"""The kinds of jobs: their labels, and the functions that run and close them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from webapp.domain.shared.errors import Conflict
from webapp.models import Job
from webapp.runtime import container, evaluation_runner
from webapp.runtime.job_chunks import ChunkedWork, RunChunk, run_chunks
from webapp.services.catalog_sync import proposal_jobs
from webapp.services.jobs.queue import Claim, CloseJob
from webapp.services.runs import evaluation_jobs
from webapp.services.transfer import import_jobs


@dataclass(frozen=True, slots=True)
class JobKind:
    """How jobs of one kind run until they end or the event is set, and what their end writes.

    `label` is for pages, and so is `advice`: what to do after a job that did not finish.
    """

    label: str
    advice: str
    run: Callable[[Claim, threading.Event], None]
    close: CloseJob


def _chunked(label: str, advice: str, work: ChunkedWork) -> JobKind:
    return JobKind(label, advice, partial(run_chunks, work), work.close)


def _without_preparation(run_chunk: RunChunk) -> Callable[[Session, Job], RunChunk]:
    return lambda _session, _job: run_chunk


def _prepare_import(session: Session, job: Job) -> RunChunk:
    return import_jobs.prepare(session, job, container.current().outbound)


KINDS: Mapping[str, JobKind] = {
    proposal_jobs.APPLY: _chunked(
        "Apply a proposal",
        "Undo on the page of the proposal reverts the rows that were applied. To apply the others, compare the catalog again.",
        ChunkedWork(_without_preparation(proposal_jobs.apply_chunk), proposal_jobs.close_apply),
    ),
    proposal_jobs.UNDO: _chunked(
        "Undo a proposal",
        "Start the undo again on the page of the proposal: it continues with the other rows.",
        ChunkedWork(_without_preparation(proposal_jobs.undo_chunk), proposal_jobs.close_undo),
    ),
    evaluation_jobs.EVALUATION: JobKind(
        "Evaluation", "Run what is missing on the page of the evaluation to continue.", evaluation_runner.run, evaluation_jobs.close
    ),
    import_jobs.IMPORT: _chunked(
        "Import a file",
        "Import the file again to continue: models that it has changed already stay the same. The audit log restores single changes.",
        ChunkedWork(_prepare_import, import_jobs.close),
    ),
}


def find(kind: str) -> JobKind:
    """Return the kind. Raises `Conflict` for a job that a newer version started."""
    if kind not in KINDS:
        raise Conflict(f"This version does not know jobs of the kind {kind}.", code="unknown_kind")
    return KINDS[kind]
