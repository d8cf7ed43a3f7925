"""Files between their comparison and their import: held here, so that what is applied is what was looked at."""

import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from webapp.domain.catalog.field_changes import FieldChange
from webapp.domain.shared.errors import Conflict, NotFound
from webapp.models import ImportDraft
from webapp.registry import revision as state
from webapp.services.transfer import files
from webapp.services.transfer.files import Upload
from webapp.services.transfer.import_rows import SAME, ImportChange, ImportReport
from webapp.services.transfer.registry_import import ImportContext

DRAFT_TTL = timedelta(days=1)
MAX_VALUE_LENGTH = 500  # Characters of a value: nobody reads more of it in a table.


class ImportPreview(NamedTuple):
    """What a file would change, at which revision of the registry."""

    upload: Upload
    report: ImportReport
    revision: int


class OutdatedDraft(Conflict):
    """The catalogue changed since the file was compared with it."""

    code = "changed_since"


def preview_import(session: Session, upload: Upload, by: ImportContext, at: datetime) -> ImportPreview:
    """To be taken back by the caller. Raises `Invalid`."""
    revision = state.lock(session).revision
    return ImportPreview(upload, files.import_upload(session, upload, by, at), revision)


def store(session: Session, found: ImportPreview, actor: str, at: datetime) -> ImportDraft:
    """Keeps the file for this person, in place of their last one. What nobody applied within a day goes."""
    session.execute(delete(ImportDraft).where(or_(ImportDraft.created_by == actor, ImportDraft.created_at < at - DRAFT_TTL)))
    upload = found.upload
    draft = ImportDraft(
        public_id=secrets.token_urlsafe(16), name=upload.name[:200], form=upload.format, content=upload.text, created_by=actor
    )
    session.add(_fill_from_preview(draft, found))
    session.flush()
    return draft


def update_preview(session: Session, public_id: str, actor: str, found: ImportPreview) -> None:
    """The same file, compared anew."""
    _fill_from_preview(find(session, public_id, actor), found)


def _fill_from_preview(draft: ImportDraft, found: ImportPreview) -> ImportDraft:
    draft.revision, draft.counts = found.revision, found.report.counts()
    draft.changes = [_serialize_change(change) for change in found.report.changes if change.state != SAME]
    return draft


def _serialize_change(change: ImportChange) -> list[Any]:
    lines = [[line.field, *(text and text[:MAX_VALUE_LENGTH] for text in (line.before, line.after))] for line in change.lines]
    return [change.kind, change.name, change.state, lines, change.questions]


def changes_of(draft: ImportDraft) -> list[ImportChange]:
    return [
        ImportChange(kind, name, state, tuple(FieldChange(*line) for line in lines), tuple(questions))
        for kind, name, state, lines, questions in draft.changes
    ]


def find(session: Session, public_id: str, actor: str) -> ImportDraft:
    """Raises `NotFound` for what is not theirs, too."""
    query = select(ImportDraft).where(ImportDraft.public_id == public_id, ImportDraft.created_by == actor)
    draft = session.execute(query).scalar_one_or_none()
    if draft is None:
        raise NotFound("There is no such file any more: it was applied, discarded, or held for longer than a day. Upload it again.")
    return draft


def get_latest_or_none(session: Session, actor: str) -> ImportDraft | None:
    """The file that this person has not decided about yet."""
    return session.execute(select(ImportDraft).where(ImportDraft.created_by == actor).order_by(ImportDraft.id.desc()).limit(1)).scalar()


def upload_of(draft: ImportDraft) -> Upload:
    return Upload(draft.name, draft.form, draft.content)


def apply(session: Session, public_id: str, by: ImportContext, at: datetime) -> ImportReport:
    """Imports the file as it was compared, in this transaction. Raises `Outdated` if the catalogue is no longer the one it was."""
    revision = state.lock(session).revision
    draft = find(session, public_id, by.actor)
    if revision != draft.revision:
        raise OutdatedDraft("The catalogue changed since this file was compared with it, so nothing was applied.")
    report = files.import_upload(session, upload_of(draft), by, at)
    session.delete(draft)
    return report


def discard(session: Session, public_id: str, actor: str) -> None:
    session.delete(find(session, public_id, actor))
