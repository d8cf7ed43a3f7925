"""Import drafts: files stored between preview and import, so that the applied file is the reviewed one."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from webapp.domain.catalog.field_changes import FieldChange
from webapp.domain.catalog.name_changes import NamesConfirmation
from webapp.domain.shared.errors import Conflict, NotFound
from webapp.models import ImportDraft
from webapp.registry import revision as state
from webapp.services.transfer import files
from webapp.services.transfer.files import Upload
from webapp.services.transfer.import_rows import CHANGED, SAME, ImportChange, ImportReport
from webapp.services.transfer.registry_import import ImportContext

DRAFT_TTL = timedelta(days=1)
NAME = "name"  # The kind of the rows of a preview that state names with another meaning.
MAX_VALUE_LENGTH = 500  # Characters of a value; a table needs no more.


class ImportPreview(NamedTuple):
    """The changes of a file, at a revision of the registry."""

    upload: Upload
    report: ImportReport
    revision: int


class OutdatedDraft(Conflict):
    """The registry changed since the preview."""

    code = "changed_since"


def preview_import(session: Session, upload: Upload, context: ImportContext, at: datetime) -> ImportPreview:
    """Compare the file and return the changes. The caller rolls back the transaction. Raises `Invalid`."""
    revision = state.lock(session).revision
    return ImportPreview(upload, files.import_upload(session, upload, replace(context, is_preview=True), at), revision)


def store(session: Session, preview: ImportPreview, actor: str, at: datetime) -> ImportDraft:
    """Store the file as this user's only draft. Drafts of any user that are older than a day are deleted."""
    session.execute(delete(ImportDraft).where(or_(ImportDraft.created_by == actor, ImportDraft.created_at < at - DRAFT_TTL)))
    upload = preview.upload
    draft = ImportDraft(
        public_id=secrets.token_urlsafe(16), name=upload.name[:200], form=upload.format, content=upload.text, created_by=actor
    )
    session.add(_fill_from_preview(draft, preview))
    session.flush()
    return draft


def update_preview(session: Session, public_id: str, actor: str, preview: ImportPreview) -> None:
    """Store a new preview of the same file."""
    _fill_from_preview(find(session, public_id, actor), preview)


def _fill_from_preview(draft: ImportDraft, preview: ImportPreview) -> ImportDraft:
    draft.revision, draft.counts = preview.revision, preview.report.counts()
    changes = (*_name_changes(preview.report), *preview.report.changes)
    draft.changes = [_serialize_change(change) for change in changes if change.state != SAME]
    return draft


def _name_changes(report: ImportReport) -> Iterator[ImportChange]:
    """Yield a row of the preview for each name in use that gets another meaning."""
    for confirmation in report.confirmations:
        for change in confirmation.changes if isinstance(confirmation, NamesConfirmation) else ():
            calls = f"{change.recent_calls:,} call{'' if change.recent_calls == 1 else 's'} in 30 days"
            line = FieldChange("model", change.before, ", ".join(change.after))
            question = f"{'is ambiguous' if len(change.after) > 1 else 'means another model'} after the import ({calls})"
            yield ImportChange(NAME, change.name, CHANGED, (line,), (question,))


def _serialize_change(change: ImportChange) -> list[Any]:
    lines = [[line.field, *(text and text[:MAX_VALUE_LENGTH] for text in (line.before, line.after))] for line in change.lines]
    return [change.kind, change.name, change.state, lines, change.questions]


def changes_of(draft: ImportDraft) -> list[ImportChange]:
    return [
        ImportChange(kind, name, state, tuple(FieldChange(*line) for line in lines), tuple(questions))
        for kind, name, state, lines, questions in draft.changes
    ]


def find(session: Session, public_id: str, actor: str) -> ImportDraft:
    """Return the user's draft. Raises `NotFound`, also for another user's draft."""
    query = select(ImportDraft).where(ImportDraft.public_id == public_id, ImportDraft.created_by == actor)
    draft = session.execute(query).scalar_one_or_none()
    if draft is None:
        raise NotFound("There is no such file any more: it was applied, discarded, or held for longer than a day. Upload it again.")
    return draft


def get_latest_or_none(session: Session, actor: str) -> ImportDraft | None:
    """Return this user's open draft, or None."""
    return session.execute(select(ImportDraft).where(ImportDraft.created_by == actor).order_by(ImportDraft.id.desc()).limit(1)).scalar()


def upload_of(draft: ImportDraft) -> Upload:
    return Upload(draft.name, draft.form, draft.content)


def prepare_draft(session: Session, public_id: str, context: ImportContext, at: datetime) -> Upload:
    """Return the reviewed file, read and validated before the write transaction. Raises `OutdatedDraft`, `NotFound` or `Invalid`."""
    draft = find(session, public_id, context.actor)
    _require_current(draft, state.read(session))
    return files.prepare_upload(session, upload_of(draft), at)


def apply(session: Session, public_id: str, context: ImportContext, at: datetime, prepared: Upload | None = None) -> ImportReport:
    """Import the reviewed file in this transaction. Raises `OutdatedDraft` if the registry changed since the preview.

    `prepared` is the result of `prepare_draft`.
    """
    draft = find_current(session, public_id, context.actor)
    report = files.import_upload(session, prepared or upload_of(draft), context, at)
    session.delete(draft)
    return report


def find_current(session: Session, public_id: str, actor: str) -> ImportDraft:
    """Lock the registry and return the draft. Raises `OutdatedDraft` if the registry changed since the preview."""
    revision = state.lock(session).revision
    draft = find(session, public_id, actor)
    _require_current(draft, revision)
    return draft


def _require_current(draft: ImportDraft, revision: int | None) -> None:
    if revision != draft.revision:
        raise OutdatedDraft("The catalogue changed since this file was compared with it, so nothing was applied.")


def discard(session: Session, public_id: str, actor: str) -> None:
    session.delete(find(session, public_id, actor))
