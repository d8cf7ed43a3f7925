"""Base classes of the admin views: denied by default, one commit through the services, htmx fragments, safe parameters."""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from flask import Response, flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from wtforms import Form

from webapp.admin.core.filters import match_all_words
from webapp.admin.core.flask_admin_adapter import AdminIndexView, BaseView, ModelView
from webapp.domain.accounts.permissions import Permission
from webapp.domain.shared.errors import ConfirmationRequired, Conflict, Forbidden, Invalid, ModeldeskError, NotFound, Stale
from webapp.runtime.transaction import translate_database_error, writing
from webapp.web import stepup
from webapp.web.auth import actor, get_member_or_none, has_permission, is_safe_path, redirect_to_login

MAX_ID_DIGITS = 15
FORM_VIEWS = ("create_view", "edit_view")
FRAGMENT_TARGETS = ("list", "div#list")


class PermissionRequiredMixin(BaseView):
    """Mixin that denies access unless the view declares `needs`. List it before Flask-Admin's classes, whose views are open by default."""

    needs: ClassVar[Permission]
    purpose: ClassVar[str] = ""

    def is_accessible(self) -> bool:
        return has_permission(self.needs)

    def requires_reauthentication(self, name: str) -> bool:
        """Return whether the view requires step-up authentication, which is asked for at most every 10 minutes."""
        return False

    def _handle_view(self, name: str, **kwargs: Any) -> Any:
        denied = super()._handle_view(name, **kwargs)
        # Form views ask for authentication before the form is filled in, not when it is submitted.
        if denied is None and (request.method == "POST" or name in FORM_VIEWS) and self.requires_reauthentication(name):
            stepup.require_recent_authentication()
        return denied

    def inaccessible_callback(self, name: str, **kwargs: Any) -> ResponseReturnValue:
        if get_member_or_none() is None:
            return redirect_to_login()
        raise Forbidden("Your role does not allow this. Ask an admin.")

    def _run_view(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # Flask-Admin catches TypeError to retry with other arguments, which hides the actual error.
        return fn(self, *args, **kwargs)

    def render(self, template: str, **kwargs: Any) -> str:
        fragment = request.headers.get("HX-Target", "") in FRAGMENT_TARGETS
        self._template_args["admin_base_template"] = "admin/core/partial.html" if fragment else "admin/core/base.html"
        rendered: str = super().render(template, **kwargs)
        return rendered


class GuardedView(PermissionRequiredMixin):
    """Page that is not a list of rows."""


class GuardedIndex(PermissionRequiredMixin, AdminIndexView):
    """Index page of the admin, which is the dashboard."""


class GuardedModelView(PermissionRequiredMixin, ModelView):
    """List of rows with its forms. Subclasses change rows through the services. This class does not commit on its own."""

    needs = Permission.REGISTRY_READ
    needs_to_edit: ClassVar[Permission] = Permission.REGISTRY_WRITE
    form_base_class = FlaskForm  # Flask-WTF is the only CSRF protection, for forms and for htmx.
    named_filter_urls = True
    can_view_details = True
    can_set_page_size = True
    page_size = 50
    page_size_options = (20, 50, 100, 200)
    column_display_actions = True
    simple_list_pager = False

    # Flask-Admin reads these once per row and checks them in every endpoint.
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
        """Return the row, or None if there is none. Also None for an id that is not a number, where Flask-Admin returns status 500."""
        return super().get_one(id) if is_id(id) else None

    # Search. Flask-Admin's own ignores the case of other scripts only where the database does.

    def search_condition(self, word: str) -> ColumnElement[bool]:
        """Return the condition for rows that contain the word. Subclasses with a search override this method."""
        raise NotImplementedError

    def init_search(self) -> bool:
        return type(self).search_condition is not GuardedModelView.search_condition

    def _apply_search(self, query: Any, count_query: Any, joins: Any, count_joins: Any, search: str) -> Any:
        condition = match_all_words(search, self.search_condition)
        return query.filter(condition), count_query.filter(condition) if count_query is not None else None, joins, count_joins

    # Redirects. Flask-Admin's own check of the return URL lets line breaks through to the header.

    def return_url(self) -> str:
        """Return the URL of the previous page: a list with its search and filters."""
        requested = request.values.get("url")
        url: str = requested if requested is not None and is_safe_path(requested) else self.get_url(".index_view")
        return url

    def handle_action(self, return_view: str | None = None) -> Any:
        """Run a bulk action on the selected rows, then redirect to the list."""
        name = request.form.get("action", "")
        handler = self._actions_data.get(name)
        response = handler[0](request.form.getlist("rowid")) if handler and self.is_action_allowed(name) else None
        return redirect(self.return_url()) if response is None else response

    @expose("/export/<export_type>/")
    def export(self, export_type: str) -> Any:
        if not self.can_export or export_type not in self.export_types:
            raise NotFound("There is no such download.")
        return super().export(export_type)

    # Changes of rows. Each method calls a service in one transaction and returns the row, or None after it showed the error.

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def update_row(self, session: Session, row: Any, values: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def delete_row(self, session: Session, row: Any) -> None:
        raise NotImplementedError

    def values_of(self, form: Form) -> dict[str, Any]:
        """Return the form's fields as input for the services, which validate it."""
        raise NotImplementedError

    def create_model(self, form: Form) -> Any:
        return self._run_service(form, lambda session: self.create_row(session, self.values_of(form)))

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
        """Handle an edit conflict. A subclass can show both versions in the form."""

    def delete_model(self, model: Any) -> bool:
        def delete(session: Session) -> bool:
            self.delete_row(session, model)
            return True

        return self._run_service(None, delete) is not None

    def _run_service(self, form: Form | None, change: Callable[[Session], Any]) -> Any:
        try:
            with writing() as session:
                return change(session)
        except ModeldeskError as error:
            if form is None and isinstance(error, ConfirmationRequired):
                raise  # Without a form, the caller shows the confirmation page.
            show_error(form, error)
            return None

    def handle_view_exception(self, exc: Exception) -> bool:
        """Translate database errors, because their original messages contain SQL."""
        if isinstance(exc, SQLAlchemyError):
            flash(translate_database_error(exc).detail, "error")
            return True
        return bool(super().handle_view_exception(exc))

    def actor(self) -> str:
        return actor()


def show_error(form: Any, error: ModeldeskError) -> None:
    """Show each message next to its field, and messages without a field at the top. All input stays in the form."""
    if form is not None and isinstance(error, ConfirmationRequired):
        form.confirmations = error.confirmations
        return
    unplaced = [error.detail]
    if form is not None and isinstance(error, Invalid | Conflict) and error.errors:
        unplaced = []
        for field_error in error.errors:
            field = form._fields.get(field_error.field.partition("[")[0].partition(".")[0])
            if field is None:
                unplaced.append(f"{field_error.field} {field_error.message}")
            else:
                field.errors = [*field.errors, field_error.message]
    for message in unplaced:
        flash(message, "error")


def is_id(text: object) -> bool:
    """Return whether the text can be a row id."""
    return str(text).isascii() and str(text).isdigit() and len(str(text)) <= MAX_ID_DIGITS


def add_toast(response: Response, message: str, *, kind: str = "success", undo: str | None = None, refresh: bool = False) -> Response:
    """Add a toast message for htmx, with an optional undo URL. `refresh` makes the page reload the list."""
    content: dict[str, Any] = {"msg": message, "kind": kind}
    if undo:
        content["undo"] = {"url": undo, "label": "Undo"}
    response.headers["HX-Trigger"] = json.dumps(
        {"toast": content} | ({"refresh-list": True} if refresh else {})
    )  # ASCII only, because it is sent in a header.
    return response
