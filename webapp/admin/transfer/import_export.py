"""Import and export: the registry as files, and a file compared with the registry before it changes anything."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, redirect, request
from flask_admin import expose
from werkzeug.wrappers import Response as Redirect

from webapp.admin.audit import event_text
from webapp.admin.core.base import GuardedView
from webapp.admin.core.confirmations import confirmation_page, confirmed_keys
from webapp.admin.core.fields import requested_page
from webapp.admin.jobs.job_presenter import JobView, view_model
from webapp.domain.accounts.permissions import Permission
from webapp.domain.jobs.lifecycle import DONE
from webapp.domain.shared.errors import ConfirmationRequired, FieldError, Forbidden, Invalid, ModeldeskError
from webapp.extensions import db
from webapp.models import AuditEvent
from webapp.runtime import container
from webapp.runtime.transaction import comparing, writing
from webapp.services.jobs import queue
from webapp.services.transfer import files, import_drafts, import_jobs, registry_yaml
from webapp.services.transfer.files import CSV, FORMATS, JSON, YAML, Upload
from webapp.services.transfer.import_drafts import OutdatedDraft
from webapp.services.transfer.registry_import import ImportContext
from webapp.web.auth import actor, has_permission

PAGE_SIZE = 100
MAX_ERRORS = 200
QUESTIONS_FILTER = "look"  # The filter for changes that need a second look.
CONTENT_TYPES = {YAML: "application/yaml", JSON: "application/json", CSV: "text/csv"}


class ImportExport(GuardedView):
    """Import and export page. Everyone who can read the registry can export it. Editors can import files."""

    needs = Permission.REGISTRY_READ
    purpose = "Take the catalogue away as a file, or bring one in. A file is compared first; nothing changes before you apply it."

    def requires_reauthentication(self, name: str) -> bool:
        """Protect the import, because a file can change the base URLs of providers."""
        return name == "apply"

    @expose("/")
    def index(self) -> str:
        return self._index([])

    @expose("/download/<form>")
    def download(self, form: str) -> Response:
        if form not in FORMATS:
            raise Invalid(f"Files come as {', '.join(FORMATS)}.")
        now = datetime.now(UTC)
        name = f"modeldesk-{'models' if form == CSV else 'catalogue'}-{now:%Y-%m-%d}.{form}"
        headers = {"Content-Disposition": f"attachment; filename={name}"}
        return Response(files.export(db.session(), form, now), headers=headers, content_type=f"{CONTENT_TYPES[form]}; charset=utf-8")

    @expose("/compare", methods=("POST",))
    def compare(self) -> Any:
        """Run the import as a dry run and store the result. A file with errors is not stored."""
        require_edit_permission()
        now = datetime.now(UTC)
        try:
            upload = files.parse_upload(_read_upload())
            with comparing() as session:
                preview = import_drafts.preview_import(session, upload, import_context(), now)
            with writing(refresh=False) as session:
                public_id = import_drafts.store(session, preview, actor(), now).public_id
        except Invalid as error:
            return Response(self._index([field_error.message for field_error in error.errors] or [error.detail]), 422)
        return redirect(self.get_url(".draft", public_id=public_id))

    @expose("/draft/<public_id>/")
    def draft(self, public_id: str) -> str:
        require_edit_permission()
        row = import_drafts.find(db.session(), public_id, actor())
        page, kind = requested_page(request.args), request.args.get("kind", "")[:20]
        changes = import_drafts.changes_of(row)
        kinds = sorted({change.kind for change in changes})
        question_count = sum(bool(change.questions) for change in changes)
        matching = [change for change in changes if kind in ("", change.kind) or (kind == QUESTIONS_FILTER and change.questions)]
        shown = matching[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
        return self.render(
            "admin/transfer/draft.html",
            row=row,
            changes=shown,
            matching=len(matching),
            total=len(changes),
            page=page,
            kind=kind,
            kinds=kinds,
            asked=question_count,
            look=QUESTIONS_FILTER,
            on_a_page=PAGE_SIZE,
            is_sheet=row.form == CSV,
            is_job=import_jobs.count_rows(row) > import_jobs.MAX_ATOMIC_ROWS,
        )

    @expose("/draft/<public_id>/apply", methods=("POST",))
    def apply(self, public_id: str) -> Redirect | Response:
        require_edit_permission()
        now = datetime.now(UTC)
        try:
            if import_jobs.count_rows(import_drafts.find(db.session(), public_id, actor())) > import_jobs.MAX_ATOMIC_ROWS:
                return self._start_job(public_id, now)
            with comparing() as session:
                prepared = import_drafts.prepare_draft(session, public_id, import_context(), now)
            with writing() as session:
                report = import_drafts.apply(session, public_id, import_context(), now, prepared)
        except ConfirmationRequired as error:
            return confirmation_page(self, error)
        except OutdatedDraft:
            return self._compare_again(public_id, now)
        except ModeldeskError as error:
            flash(error.detail, "error")
            return redirect(self.get_url(".index"))
        flash(f"Imported: {report.count('added'):,} added, {report.count('changed'):,} changed.", "success")
        return redirect(self.get_url(".index"))

    def _start_job(self, public_id: str, now: datetime) -> Redirect:
        prepared = import_jobs.read_draft(db.session(), public_id, actor(), now)
        with writing(refresh=False) as session:
            import_jobs.start(session, public_id, prepared, import_context(), now)
        flash("The import was started as a job. It continues if you leave this page.", "success")
        return redirect(self.get_url(".index"))

    def _compare_again(self, public_id: str, now: datetime) -> Redirect:
        """Compare the file again, because applying it now would make other changes than those the user approved."""
        upload = import_drafts.upload_of(import_drafts.find(db.session(), public_id, actor()))
        try:
            with comparing() as session:
                preview = import_drafts.preview_import(session, upload, import_context(), now)
        except Invalid as error:
            flash(f"The catalogue changed meanwhile, and the file no longer fits it. {error.detail}", "error")
            return redirect(self.get_url(".index"))
        with writing(refresh=False) as session:
            import_drafts.update_preview(session, public_id, actor(), preview)
        flash("Nothing was applied: the catalogue changed since the file was compared. This is the new comparison.", "error")
        return redirect(self.get_url(".draft", public_id=public_id))

    @expose("/draft/<public_id>/discard", methods=("POST",))
    def discard(self, public_id: str) -> Redirect:
        require_edit_permission()
        with writing(refresh=False) as session:
            import_drafts.discard(session, public_id, actor())
        flash("The file was discarded. Nothing was changed.", "success")
        return redirect(self.get_url(".index"))

    def _index(self, errors: list[str]) -> str:
        return self.render(
            "admin/transfer/index.html",
            errors=errors[:MAX_ERRORS],
            more=max(len(errors) - MAX_ERRORS, 0),
            may_edit=can_edit(),
            most=registry_yaml.MAX_BYTES // 1_000_000,
            job=_latest_job(),
            waiting=import_drafts.get_latest_or_none(db.session(), actor()),
            events=event_text.latest_events(AuditEvent.action == "catalog:file:import"),
        )


def _latest_job() -> JobView | None:
    """Return the newest large import, unless it is done."""
    job = queue.get_latest_or_none(db.session(), import_jobs.SUBJECT_KIND, import_jobs.SUBJECT_ID)
    return view_model(db.session(), job) if job is not None and job.status != DONE else None


def can_edit() -> bool:
    return has_permission(Permission.REGISTRY_WRITE)


def require_edit_permission() -> None:
    if not can_edit():
        raise Forbidden("Your role does not allow this. Ask an admin.")


def import_context() -> ImportContext:
    return ImportContext(actor(), container.current().outbound, confirmed_keys())


def _read_upload() -> Upload:
    """Return the uploaded file. Raises `Invalid` if there is none or if its name has an unknown suffix."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Invalid.of([FieldError("file", "Choose a file first.")])
    data = file.stream.read(registry_yaml.MAX_BYTES + 1)
    file.close()
    name = "".join(character for character in file.filename.replace("\\", "/").rpartition("/")[2] if character.isprintable())[-200:]
    form = files.format_of(name)
    if form is None:
        raise Invalid.of([FieldError("file", "The name of the file must end in .yaml, .json or .csv, so that it is clear how to read it.")])
    return Upload(name, form, files.decode_text(data))
