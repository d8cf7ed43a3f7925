"""Import of files with many rows: the start of the job, its chunks and its summary. Smaller files are imported all or nothing.

The job carries the file, so it does not depend on the draft. One such import runs at a time.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from webapp.domain.catalog.name_changes import ModelNames
from webapp.domain.shared.errors import Confirmation, require_confirmed
from webapp.models import ImportDraft, Job
from webapp.registry import revision
from webapp.security.urlguard import OutboundPolicy
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import model_names
from webapp.services.jobs import queue
from webapp.services.jobs.queue import ChunkResult, JobRequest
from webapp.services.transfer import files, import_drafts, model_csv, registry_import
from webapp.services.transfer.files import Upload
from webapp.services.transfer.import_drafts import changes_of
from webapp.services.transfer.import_rows import ADDED, CHANGED, STATES, ImportEntries, PreparedImport
from webapp.services.transfer.registry_import import ImportContext

MAX_ATOMIC_ROWS = 2_000
IMPORT = "file_import"
SUBJECT_KIND, SUBJECT_ID = "import", 1  # The same for all imports, so that only one is active.


def count_rows(draft: ImportDraft) -> int:
    """Return how many providers and models the file changes. A price counts with its model."""
    return len({change.name.partition(" from ")[0] for change in changes_of(draft) if change.kind != import_drafts.NAME})


# Start.


def read_draft(session: Session, public_id: str, actor: str, at: datetime) -> PreparedImport:
    """Read and validate the file of a draft, before the write transaction."""
    return _prepare(session, import_drafts.upload_of(import_drafts.find(session, public_id, actor)), at)


def start(session: Session, public_id: str, prepared: PreparedImport, context: ImportContext, at: datetime) -> Job:
    """Start the import of a draft. Raises `OutdatedDraft`, or `ConfirmationRequired` if names in use get another meaning."""
    draft = import_drafts.find_current(session, public_id, context.actor)
    confirmations = _list_confirmations(session, prepared.entries)
    require_confirmed(confirmations, context.confirmed)
    arguments = {"form": draft.form, "content": draft.content, "at": at.isoformat()} | model_names.confirmed_values(confirmations)
    subject = Target(SUBJECT_KIND, SUBJECT_ID, draft.name)
    job = queue.start(session, JobRequest(IMPORT, subject, arguments, len(prepared.entries.models), "model", context.actor))
    queue.record_event(session, job, "start", actor=context.actor)
    session.delete(draft)
    return job


def _list_confirmations(session: Session, entries: ImportEntries) -> list[Confirmation]:
    before = model_names.read_names(session)
    rows = [entry for _, entry, _ in entries.models]
    known = {model.ref for model in before}
    added = [(row["provider"], row["model_id"]) for row in rows if f"{row['provider']}/{row['model_id']}" not in known]
    similar = model_names.list_similar_ids([(model.provider, model.model_id) for model in before], added)
    return similar + model_names.list_names_confirmations(session, before, _import_names(before, rows))


def _import_names(before: Sequence[ModelNames], rows: Sequence[dict[str, object]]) -> list[ModelNames]:
    """Return the names after the import of these models."""
    after = {model.ref: model for model in before}
    for row in rows:
        names = [str(name) for name in row["aliases"]]  # type: ignore[attr-defined] # validated: a list
        patterns = frozenset(name for name in names if "*" in name or "?" in name)
        ref = f"{row['provider']}/{row['model_id']}"
        key = after[ref].key if ref in after else ref
        after[ref] = ModelNames(key, str(row["provider"]), str(row["model_id"]), bool(row["active"]), frozenset(names) - patterns, patterns)
    return list(after.values())


# Chunks.


def prepare(session: Session, job: Job, policy: OutboundPolicy) -> Callable[[Session, Job, int], ChunkResult]:
    """Read the file of the job, and return the function that imports its next models. The first chunk has all providers."""
    upload = Upload(job.subject_name, job.arguments["form"], job.arguments["content"])
    prepared = _prepare(session, upload, datetime.fromisoformat(job.arguments["at"]))
    context, models = ImportContext(job.requested_by, policy), prepared.entries.models

    def import_chunk(session: Session, job: Job, size: int) -> ChunkResult:
        first = job.checkpoint.get("models", 0)
        rows = models[first : first + size]
        revision.lock(session)
        with model_names.confirmed_before(session):
            entries = ImportEntries(prepared.entries.providers if first == 0 else [], rows)
            counts = registry_import.apply_entries(session, PreparedImport(entries, prepared.lines), context).counts()
        job.totals = {state: job.totals.get(state, 0) + counts[state] for state in STATES}
        return ChunkResult(len(rows), {"models": first + len(rows)}, is_last=first + len(rows) >= len(models))

    return import_chunk


def _prepare(session: Session, upload: Upload, at: datetime) -> PreparedImport:
    parsed = files.parse_upload(upload).parsed or model_csv.parse_models(session, upload.text, at)
    return registry_import.prepare(parsed)


# End.


def close(session: Session, job: Job) -> None:
    """Write the summary if something changed. The job gives up the file."""
    arguments = {name: value for name, value in job.arguments.items() if name != "content"}
    job.arguments = arguments
    counts = {state: job.totals.get(state, 0) for state in STATES}
    if not counts[ADDED] and not counts[CHANGED]:
        return
    after = {"form": arguments["form"], **counts, "job": job.id, "result": job.status, "models": job.done, "of": job.total}
    after |= {"confirmed": arguments["confirmed"]} if "confirmed" in arguments else {}
    change = AuditChange(None, after)
    audit_log.record(
        session, "catalog:file:import", actor=job.requested_by, target=Target("catalog", None, job.subject_name), change=change
    )
