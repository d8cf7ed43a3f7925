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
from webapp.services.transfer.import_rows import SAME, Change, Report
from webapp.services.transfer.registry_import import Importing

KEPT = timedelta(days=1)
MAX_SHOWN = 500  # Characters of a value: nobody reads more of it in a table.


class Rehearsal(NamedTuple):
    """What a file would change, at which revision of the registry."""

    upload: Upload
    report: Report
    revision: int


class Outdated(Conflict):
    """The catalogue changed since the file was compared with it."""

    code = "changed_since"


def rehearse(session: Session, upload: Upload, by: Importing, at: datetime) -> Rehearsal:
    """To be taken back by the caller. Raises `Invalid`."""
    revision = state.lock(session).revision
    return Rehearsal(upload, files.bring(session, upload, by, at), revision)


def hold(session: Session, found: Rehearsal, actor: str, at: datetime) -> ImportDraft:
    """Keeps the file for this person, in place of their last one. What nobody applied within a day goes."""
    session.execute(delete(ImportDraft).where(or_(ImportDraft.created_by == actor, ImportDraft.created_at < at - KEPT)))
    upload = found.upload
    draft = ImportDraft(
        public_id=secrets.token_urlsafe(16), name=upload.name[:200], form=upload.form, content=upload.text, created_by=actor
    )
    session.add(_compared(draft, found))
    session.flush()
    return draft


def renew(session: Session, public_id: str, actor: str, found: Rehearsal) -> None:
    """The same file, compared anew."""
    _compared(find(session, public_id, actor), found)


def _compared(draft: ImportDraft, found: Rehearsal) -> ImportDraft:
    draft.revision, draft.counts = found.revision, found.report.counts()
    draft.changes = [_kept(change) for change in found.report.changes if change.state != SAME]
    return draft


def _kept(change: Change) -> list[Any]:
    lines = [[line.field, *(text and text[:MAX_SHOWN] for text in (line.before, line.after))] for line in change.lines]
    return [change.kind, change.name, change.state, lines, change.questions]


def changes_of(draft: ImportDraft) -> list[Change]:
    return [
        Change(kind, name, state, tuple(FieldChange(*line) for line in lines), tuple(questions))
        for kind, name, state, lines, questions in draft.changes
    ]


def find(session: Session, public_id: str, actor: str) -> ImportDraft:
    """Raises `NotFound` for what is not theirs, too."""
    query = select(ImportDraft).where(ImportDraft.public_id == public_id, ImportDraft.created_by == actor)
    draft = session.execute(query).scalar_one_or_none()
    if draft is None:
        raise NotFound("There is no such file any more: it was applied, discarded, or held for longer than a day. Upload it again.")
    return draft


def waiting(session: Session, actor: str) -> ImportDraft | None:
    """The file that this person has not decided about yet."""
    return session.execute(select(ImportDraft).where(ImportDraft.created_by == actor).order_by(ImportDraft.id.desc()).limit(1)).scalar()


def upload_of(draft: ImportDraft) -> Upload:
    return Upload(draft.name, draft.form, draft.content)


def apply(session: Session, public_id: str, by: Importing, at: datetime) -> Report:
    """Imports the file as it was compared, in this transaction. Raises `Outdated` if the catalogue is no longer the one it was."""
    revision = state.lock(session).revision
    draft = find(session, public_id, by.actor)
    if revision != draft.revision:
        raise Outdated("The catalogue changed since this file was compared with it, so nothing was applied.")
    report = files.bring(session, upload_of(draft), by, at)
    session.delete(draft)
    return report


def discard(session: Session, public_id: str, actor: str) -> None:
    session.delete(find(session, public_id, actor))
