"""What every admin view inherits: denied by default, one commit through the services, htmx fragments, safe parameters."""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from flask import Response, flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from flask_wtf import FlaskForm
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from wtforms import Form

from webapp.admin.core.flask_admin_adapter import AdminIndexView, BaseView, ModelView
from webapp.domain.accounts.permissions import Permission
from webapp.domain.shared.errors import Conflict, Forbidden, Invalid, ModeldeskError, NotFound, Stale
from webapp.runtime.transaction import translate_database_error, writing
from webapp.web import stepup
from webapp.web.auth import actor, get_member_or_none, has_permission, is_safe_path, redirect_to_login

MAX_ID_DIGITS = 15
FORM_VIEWS = ("create_view", "edit_view")
FRAGMENT_TARGETS = ("list", "div#list")


class PermissionRequiredMixin(BaseView):
    """Nobody may, unless `needs` says who. A mixin that stands before Flask-Admin's own classes, whose views are open by default."""

    needs: ClassVar[Permission]
    purpose: ClassVar[str] = ""

    def is_accessible(self) -> bool:
        return has_permission(self.needs)

    def requires_reauthentication(self, name: str) -> bool:
        """Whether this view is so dangerous that whoever was not asked for ten minutes is asked again."""
        return False

    def _handle_view(self, name: str, **kwargs: Any) -> Any:
        denied = super()._handle_view(name, **kwargs)
        # A form is asked for before it is filled in, not when it is sent.
        if denied is None and (request.method == "POST" or name in FORM_VIEWS) and self.requires_reauthentication(name):
            stepup.require_recent_authentication()
        return denied

    def inaccessible_callback(self, name: str, **kwargs: Any) -> ResponseReturnValue:
        if get_member_or_none() is None:
            return redirect_to_login()
        raise Forbidden("Your role does not allow this. Ask an admin.")

    def _run_view(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # The original catches TypeError to call again in another way, and so hides the error that was meant.
        return fn(self, *args, **kwargs)

    def render(self, template: str, **kwargs: Any) -> str:
        fragment = request.headers.get("HX-Target", "") in FRAGMENT_TARGETS
        self._template_args["admin_base_template"] = "admin/core/partial.html" if fragment else "admin/core/base.html"
        rendered: str = super().render(template, **kwargs)
        return rendered


class GuardedView(PermissionRequiredMixin):
    """A page that is not a list of rows."""


class GuardedIndex(PermissionRequiredMixin, AdminIndexView):
    """The dashboard."""


class GuardedModelView(PermissionRequiredMixin, ModelView):
    """A list of rows with its forms. Subclasses say how rows are made through the services; nothing here commits by itself."""

    needs = Permission.REGISTRY_READ
    needs_to_edit: ClassVar[Permission] = Permission.REGISTRY_WRITE
    form_base_class = FlaskForm  # One scheme against forged requests: Flask-WTF's, for forms and htmx alike.
    named_filter_urls = True
    can_view_details = True
    can_set_page_size = True
    page_size = 50
    page_size_options = (20, 50, 100, 200)
    column_display_actions = True
    simple_list_pager = False

    # Flask-Admin asks these once a row, and checks them in every endpoint.
    @property
    def can_create(self) -> bool:
        return has_permission(self.needs_to_edit)

    @property
    def can_edit(self) -> bool:
        return has_permission(self.needs_to_edit)

    @property
    def can_delete(self) -> bool:
        return has_permission(self.needs_to_edit)

    def is_action_allowed(self, name: str) -> bool:
        return has_permission(self.needs_to_edit) and bool(super().is_action_allowed(name))

    def get_one(self, id: str) -> Any:
        """The row, or None also for ids that are no numbers: the original answers those with a 500."""
        return super().get_one(id) if is_id(id) else None

    # Where one goes on. Flask-Admin's own rule for that lets line ends through to a header.

    def return_url(self) -> str:
        """Where the page before was: a list with its search and filters."""
        asked = request.values.get("url")
        found: str = asked if asked is not None and is_safe_path(asked) else self.get_url(".index_view")
        return found

    def handle_action(self, return_view: str | None = None) -> Any:
        """A bulk action on the chosen rows, and back to where they were chosen."""
        name = request.form.get("action", "")
        handler = self._actions_data.get(name)
        answer = handler[0](request.form.getlist("rowid")) if handler and self.is_action_allowed(name) else None
        return redirect(self.return_url()) if answer is None else answer

    @expose("/export/<export_type>/")
    def export(self, export_type: str) -> Any:
        if not self.can_export or export_type not in self.export_types:
            raise NotFound("There is no such download.")
        return super().export(export_type)

    # How rows change. Each calls a service inside one transaction and gives back the row, or None after telling what was wrong.

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def update_row(self, session: Session, row: Any, values: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def delete_row(self, session: Session, row: Any) -> None:
        raise NotImplementedError

    def values_of(self, form: Form) -> dict[str, Any]:
        """The form's fields as the entry that the services check."""
        raise NotImplementedError

    def create_model(self, form: Form) -> Any:
        return self._through_service(form, lambda session: self.create_row(session, self.values_of(form)))

    def update_model(self, form: Form, model: Any) -> bool:
        try:
            with writing() as session:
                return self.update_row(session, model, self.values_of(form)) is not None
        except Stale as error:
            show_error(form, error)
            row = self.get_one(request.args.get("id", ""))
            if row is not None:
                self.on_stale(form, row)
        except ModeldeskError as error:
            show_error(form, error)
        return False

    def on_stale(self, form: Form, row: Any) -> None:
        """Somebody else was quicker: a form may show both versions."""

    def delete_model(self, model: Any) -> bool:
        def delete(session: Session) -> bool:
            self.delete_row(session, model)
            return True

        return self._through_service(None, delete) is not None

    def _through_service(self, form: Form | None, change: Callable[[Session], Any]) -> Any:
        try:
            with writing() as session:
                return change(session)
        except ModeldeskError as error:
            show_error(form, error)
            return None

    def handle_view_exception(self, exc: Exception) -> bool:
        """The database's own words hold SQL: they are translated before anybody reads them."""
        if isinstance(exc, SQLAlchemyError):
            flash(translate_database_error(exc).detail, "error")
            return True
        return bool(super().handle_view_exception(exc))

    def actor(self) -> str:
        return actor()


def show_error(form: Form | None, error: ModeldeskError) -> None:
    """Puts each message at its field; what belongs to no field is said at the top. Nothing that was typed is lost."""
    unplaced = [error.detail]
    if form is not None and isinstance(error, Invalid | Conflict) and error.errors:
        unplaced = []
        for found in error.errors:
            field = form._fields.get(found.field.partition("[")[0].partition(".")[0])
            if field is None:
                unplaced.append(f"{found.field} {found.message}")
            else:
                field.errors = [*field.errors, found.message]
    for message in unplaced:
        flash(message, "error")


def is_id(text: object) -> bool:
    """Whether this can be the number of a row."""
    return str(text).isascii() and str(text).isdigit() and len(str(text)) <= MAX_ID_DIGITS


def add_toast(response: Response, message: str, *, kind: str = "success", undo: str | None = None, refresh: bool = False) -> Response:
    """Adds a message that htmx shows in a corner, with a button to take the change back; `refresh` fetches the list anew."""
    content: dict[str, Any] = {"msg": message, "kind": kind}
    if undo:
        content["undo"] = {"url": undo, "label": "Undo"}
    response.headers["HX-Trigger"] = json.dumps(
        {"toast": content} | ({"refresh-list": True} if refresh else {})
    )  # ASCII only: it travels in a header
    return response
