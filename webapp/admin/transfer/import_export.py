"""Import and export: the catalogue as files, and a file compared with the catalogue before it changes anything."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, redirect, request
from flask_admin import expose
from werkzeug.wrappers import Response as Redirect

from webapp.admin.audit import event_text
from webapp.admin.core.base import GuardedView
from webapp.admin.core.fields import asked_page
from webapp.domain.accounts.permissions import Permission
from webapp.domain.shared.errors import FieldError, Forbidden, Invalid, ModeldeskError
from webapp.extensions import db
from webapp.models import AuditEvent
from webapp.runtime import container
from webapp.runtime.transaction import rehearsing, writing
from webapp.services.transfer import files, import_drafts, registry_yaml
from webapp.services.transfer.files import CSV, FORMS, JSON, YAML, Upload
from webapp.services.transfer.import_drafts import Outdated
from webapp.services.transfer.registry_import import Importing
from webapp.web.auth import actor, staff_may

ON_A_PAGE = 100
MAX_ERRORS = 200
LOOK = "look"  # The filter for what should be looked at twice.
TYPES = {YAML: "application/yaml", JSON: "application/json", CSV: "text/csv"}


class Exchange(GuardedView):
    """Whoever may read may take the catalogue away; editors bring files in."""

    needs = Permission.REGISTRY_READ
    purpose = "Take the catalogue away as a file, or bring one in. A file is compared first; nothing changes before you apply it."

    def needs_confirming(self, name: str) -> bool:
        """A file may bring other addresses of providers."""
        return name == "apply"

    @expose("/")
    def index(self) -> str:
        return self._index([])

    @expose("/download/<form>")
    def download(self, form: str) -> Response:
        if form not in FORMS:
            raise Invalid(f"Files come as {', '.join(FORMS)}.")
        now = datetime.now(UTC)
        name = f"modeldesk-{'models' if form == CSV else 'catalogue'}-{now:%Y-%m-%d}.{form}"
        headers = {"Content-Disposition": f"attachment; filename={name}"}
        return Response(files.export(db.session(), form, now), headers=headers, content_type=f"{TYPES[form]}; charset=utf-8")

    @expose("/compare", methods=("POST",))
    def compare(self) -> Any:
        """The dry run. A file with errors is not kept."""
        insist()
        now = datetime.now(UTC)
        try:
            upload = files.looked_through(_uploaded())
            with rehearsing() as session:
                found = import_drafts.rehearse(session, upload, importing(), now)
            with writing(refresh=False) as session:
                public_id = import_drafts.hold(session, found, actor(), now).public_id
        except Invalid as error:
            return Response(self._index([found.message for found in error.errors] or [error.detail]), 422)
        return redirect(self.get_url(".draft", public_id=public_id))

    @expose("/draft/<public_id>/")
    def draft(self, public_id: str) -> str:
        insist()
        row = import_drafts.find(db.session(), public_id, actor())
        page, kind = asked_page(request.args), request.args.get("kind", "")[:20]
        changes = import_drafts.changes_of(row)
        kinds = sorted({change.kind for change in changes})
        asked = sum(bool(change.questions) for change in changes)
        matching = [change for change in changes if kind in ("", change.kind) or (kind == LOOK and change.questions)]
        shown = matching[page * ON_A_PAGE : (page + 1) * ON_A_PAGE]
        return self.render(
            "admin/transfer/draft.html",
            row=row,
            changes=shown,
            matching=len(matching),
            total=len(changes),
            page=page,
            kind=kind,
            kinds=kinds,
            asked=asked,
            look=LOOK,
            on_a_page=ON_A_PAGE,
            is_sheet=row.form == CSV,
        )

    @expose("/draft/<public_id>/apply", methods=("POST",))
    def apply(self, public_id: str) -> Redirect:
        insist()
        now = datetime.now(UTC)
        try:
            with writing() as session:
                report = import_drafts.apply(session, public_id, importing(), now)
        except Outdated:
            return self._compared_anew(public_id, now)
        except ModeldeskError as error:
            flash(error.detail, "error")
            return redirect(self.get_url(".index"))
        flash(f"Imported: {report.count('added'):,} added, {report.count('changed'):,} changed.", "success")
        return redirect(self.get_url(".index"))

    def _compared_anew(self, public_id: str, now: datetime) -> Redirect:
        """What somebody approved was another change than the one that would be made now."""
        upload = import_drafts.upload_of(import_drafts.find(db.session(), public_id, actor()))
        try:
            with rehearsing() as session:
                found = import_drafts.rehearse(session, upload, importing(), now)
        except Invalid as error:
            flash(f"The catalogue changed meanwhile, and the file no longer fits it. {error.detail}", "error")
            return redirect(self.get_url(".index"))
        with writing(refresh=False) as session:
            import_drafts.renew(session, public_id, actor(), found)
        flash("Nothing was applied: the catalogue changed since the file was compared. This is the new comparison.", "error")
        return redirect(self.get_url(".draft", public_id=public_id))

    @expose("/draft/<public_id>/discard", methods=("POST",))
    def discard(self, public_id: str) -> Redirect:
        insist()
        with writing(refresh=False) as session:
            import_drafts.discard(session, public_id, actor())
        flash("The file was discarded. Nothing was changed.", "success")
        return redirect(self.get_url(".index"))

    def _index(self, errors: list[str]) -> str:
        return self.render(
            "admin/transfer/index.html",
            errors=errors[:MAX_ERRORS],
            more=max(len(errors) - MAX_ERRORS, 0),
            may_edit=may_edit(),
            most=registry_yaml.MAX_BYTES // 1_000_000,
            waiting=import_drafts.waiting(db.session(), actor()),
            events=event_text.latest(AuditEvent.action == "catalog:file:import"),
        )


def may_edit() -> bool:
    return staff_may(Permission.REGISTRY_WRITE)


def insist() -> None:
    if not may_edit():
        raise Forbidden("Your role does not allow this. Ask an admin.")


def importing() -> Importing:
    return Importing(actor(), container.current().outbound)


def _uploaded() -> Upload:
    """The file of the form. Raises `Invalid` in words."""
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise Invalid.of([FieldError("file", "Choose a file first.")])
    data = sent.stream.read(registry_yaml.MAX_BYTES + 1)
    sent.close()
    name = "".join(character for character in sent.filename.replace("\\", "/").rpartition("/")[2] if character.isprintable())[-200:]
    form = files.form_of(name)
    if form is None:
        raise Invalid.of([FieldError("file", "The name of the file must end in .yaml, .json or .csv, so that it is clear how to read it.")])
    return Upload(name, form, files.text_of(data))
