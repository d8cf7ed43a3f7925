"""Base class of lists and forms of rows: safe parameters, search and sorting in SQL, saving through services, htmx responses."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from flask import Response, after_this_request, flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from werkzeug.utils import secure_filename
from wtforms import Form

from webapp.admin.core.base import GuardedModelView, add_toast, is_id
from webapp.admin.core.confirmations import confirmation_page
from webapp.admin.core.fields import StaffForm, requested_page, safe_cell
from webapp.admin.core.filters import Filter
from webapp.admin.core.flask_admin_adapter import FormOpts, ViewArgs
from webapp.domain.shared.errors import ConfirmationRequired, Forbidden, ModeldeskError, NotFound
from webapp.extensions import db
from webapp.runtime.transaction import writing
from webapp.web.auth import has_permission

MAX_SEARCH_LENGTH = 200
MAX_BULK_ROWS = 1_000
MAX_EXPORT_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """Result of a change: a message, the URL that undoes it, and the markup that htmx swaps in."""

    message: str
    undo_url: str | None = None
    render_fragment: Callable[[], str] | None = None
    refresh: bool = False  # Other rows changed too, so the page reloads the list.


class RowsView(GuardedModelView):
    """List of one table's rows. Subclasses define the columns, the search and the sort orders."""

    table: ClassVar[Any]
    list_template, details_template = "admin/core/list.html", "admin/core/details.html"
    create_template, edit_template = "admin/core/create.html", "admin/core/edit.html"
    singular_name: ClassVar[str] = "entry"
    sort_by: ClassVar[Mapping[str, Any]] = {}
    default_order: ClassVar[tuple[Any, ...]] = ()
    column_filters: ClassVar[tuple[Filter, ...]] = ()
    form: ClassVar[Any] = StaffForm
    action_disallowed_list = ("delete",)  # Rows are deleted one at a time, with the name in the confirmation.
    export_max_rows = MAX_EXPORT_ROWS

    def __init__(self, **options: Any) -> None:
        super().__init__(self.table, db, **options)

    # Query: search, filters and order.

    def search_placeholder(self) -> str:
        return ""

    def is_valid_filter(self, filter: object) -> bool:
        return isinstance(filter, Filter)

    def get_sortable_columns(self) -> dict[str, Any]:
        self._sortable_joins: dict[str, Any] = {}
        return dict(self.sort_by)

    def _get_filter_groups(self) -> Any:
        groups = super()._get_filter_groups()
        for conditions in (groups or {}).values():
            for condition in conditions:
                condition["options"] = self._filters[condition["index"]].choices()
        return groups

    def _get_list_extra_args(self) -> ViewArgs:
        return self.parse_list_args(request.args)

    def parse_list_args(self, arguments: MultiDict[str, str]) -> ViewArgs:
        """Parse the arguments of a list's URL. Invalid arguments are ignored and are never an error."""
        search = arguments.get("search", "").replace("\0", "").strip()[:MAX_SEARCH_LENGTH]
        sort = arguments.get("sort", None, type=int)
        return ViewArgs(
            page=requested_page(arguments),
            page_size=arguments.get("page_size", 0, type=int),
            sort=sort if self._get_column_by_idx(sort) else None,
            sort_desc=arguments.get("desc") == "1",
            search=search or None,
            filters=self._parse_filters(arguments),
            extra_args={},
        )

    def _parse_filters(self, arguments: MultiDict[str, str]) -> list[tuple[int, str, str]]:
        filters = []
        for argument in sorted(arguments):
            _, _, key = argument.partition("_")
            entry = (self._filter_args or {}).get(key) if argument.startswith("flt") else None
            if entry and entry[1].validate(arguments[argument]):
                filters.append((entry[0], entry[1].name, arguments[argument]))
        return filters

    def _apply_sorting(self, query: Any, joins: Any, sort_column: str | None, sort_desc: bool) -> Any:
        column = self.sort_by.get(sort_column or "")
        if column is not None:
            query = query.order_by((column.desc() if sort_desc else column.asc()).nulls_last())
        return query.order_by(*self.default_order, self.table.id), joins  # The id makes the order unique, so that pages never overlap.

    def list_matching_ids(self, url: str) -> list[int]:
        """Return the ids of all rows that a list's URL matches, on all pages, for "all matching rows"."""
        arguments = self.parse_list_args(MultiDict(parse_qsl(urlsplit(url).query, max_num_fields=100)))
        query, *_ = self._filtered_query(arguments)
        return [row_id for (row_id,) in query.with_entities(self.table.id).order_by(self.table.id).limit(MAX_BULK_ROWS + 1)]

    def _filtered_query(self, arguments: ViewArgs) -> Any:
        query, count_query = db.session.query(self.table), None
        queries: Any = (query, count_query, {}, {})
        if arguments.search:
            queries = self._apply_search(query, count_query, {}, {}, arguments.search)
        return self._apply_filters(*queries, arguments.filters) if arguments.filters else queries

    def selected_ids(self, row_ids: list[str]) -> list[int]:
        """Return the row ids of a bulk action. Raises `Forbidden` if there are too many."""
        all_matching = request.form.get("all_matching") == "1" and self.bulk_all_matching
        ids = self.list_matching_ids(request.form.get("url", "")) if all_matching else [int(text) for text in row_ids if is_id(text)]
        if len(ids) > MAX_BULK_ROWS:
            raise Forbidden(f"That would change more than {MAX_BULK_ROWS:,} rows at once. Narrow the search first.")
        return list(dict.fromkeys(ids))

    bulk_all_matching: ClassVar[bool] = False

    # Cells. Flask-Admin's own lookup tries one type after another for each cell.

    def get_list_value(self, model: Any, name: str) -> Any:
        formatter = self.column_formatters.get(name)
        return formatter(self, None, model, name) if formatter else getattr(model, name)

    def get_export_value(self, model: Any, name: str) -> object:
        """Return a cell of an export. Numbers stay numbers, and spreadsheets run no text as a formula."""
        formatter = self.column_formatters_export.get(name)
        value = formatter(self, None, model, name) if formatter else getattr(model, name)
        return safe_cell(value)

    def _export_csv(self, return_url: str) -> Response:
        """Return the whole file at once. A stream continues after the session ends, so it could break off after status 200 was sent."""
        _, rows = self._export_data()
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([str(label) for _, label in self._export_columns])
        writer.writerows([self.get_export_value(row, name) for name, _ in self._export_columns] for row in rows)
        filename = secure_filename(self.get_export_name("csv"))
        return Response(text.getvalue(), headers={"Content-Disposition": f"attachment; filename={filename}"}, mimetype="text/csv")

    # Pages.

    def find_row(self, id: object) -> Any:
        """Return the row with this id. Raises `NotFound` if there is none."""
        row = self.get_one(str(id)) if id is not None else None
        if row is None:
            raise NotFound(f"There is no such {self.singular_name}. It may have been deleted meanwhile.")
        return row

    @staticmethod
    def require_permission(allowed: bool) -> None:
        if not allowed:
            raise Forbidden("Your role does not allow this. Ask an admin.")

    @expose("/new/", methods=("GET", "POST"))
    def create_view(self) -> Any:
        self.require_permission(self.can_create)
        form = self.create_form()
        if request.method == "POST" and self.validate_form(form) and (row := self.create_model(form)) is not None:
            return self.after_save(row, created=True)
        return self._form_page(self.create_template, form, self._form_create_rules)

    @expose("/edit/", methods=("GET", "POST"))
    def edit_view(self) -> Any:
        self.require_permission(self.can_edit)
        row = self.find_row(request.args.get("id"))
        form = self.edit_form(row)
        if request.method == "POST" and self.validate_form(form) and self.update_model(form, row):
            return self.after_save(row, created=False)
        return self._form_page(self.edit_template, form, self._form_edit_rules, model=row)

    def _form_page(self, template: str, form: Form, form_rules: Any, **context: Any) -> Any:
        if request.method == "POST":
            after_this_request(mark_unprocessable)
        form_opts = FormOpts(widget_args=self.form_widget_args, form_rules=form_rules)
        return self.render(template, form=form, form_opts=form_opts, return_url=self.return_url(), **context)

    def after_save(self, row: Any, *, created: bool) -> ResponseReturnValue:
        """Flash a message about the saved row, and redirect according to the button that was pressed."""
        flash(f"{row} was {'added' if created else 'saved'}.", "success")
        if "_add_another" in request.form:
            return redirect(self.get_url(".create_view", url=self.return_url()))
        if "_continue_editing" in request.form:
            return redirect(self.get_url(".edit_view", id=row.id, url=self.return_url()))
        if created and self.can_view_details:  # The details page shows what is still missing, such as a key or a price.
            return redirect(self.get_url(".details_view", id=row.id, url=self.return_url()))
        return redirect(self.return_url())

    @expose("/details/")
    def details_view(self) -> Any:
        if not self.can_view_details:
            raise NotFound("There is no such page.")
        row = self.find_row(request.args.get("id"))
        return self.render(self.details_template, model=row, return_url=self.return_url(), **self.details_of(row))

    def details_of(self, row: Any) -> dict[str, Any]:
        """Return the template variables of the details page."""
        return {}

    @expose("/delete/", methods=("POST",))
    def delete_view(self) -> Any:
        self.require_permission(self.can_delete)
        row = self.find_row(request.form.get("id"))
        name = str(row)
        try:
            if self.delete_model(row):
                flash(f"{name} was deleted.", "success")
        except ConfirmationRequired as error:
            return confirmation_page(self, error)
        return redirect(self.return_url())

    # Changes by a button in a row: htmx gets a fragment and a toast, other requests get a redirect and a message.

    def apply_change(self, run: Callable[[Session], ChangeResult]) -> ResponseReturnValue:
        self.require_permission(has_permission(self.needs_to_edit))
        try:
            with writing() as session:
                result = run(session)
        except ConfirmationRequired as error:
            return confirmation_page(self, error)
        except ModeldeskError as error:
            if "HX-Request" in request.headers:
                raise
            flash(error.detail, "error")
            return redirect(self.return_url())
        if "HX-Request" in request.headers:
            return add_toast(
                Response(result.render_fragment() if result.render_fragment else ""),
                result.message,
                undo=result.undo_url,
                refresh=result.refresh,
            )
        flash_result(result)
        return redirect(self.return_url())

    def apply_bulk_change(self, row_ids: list[str], run: Callable[[Session, list[int]], ChangeResult]) -> Response | None:
        """Run a bulk action on the selected rows. It changes all of them or none. Returns a page if a confirmation is required."""
        try:
            ids = self.selected_ids(row_ids)
            with writing() as session:
                result = run(session, ids)
        except ConfirmationRequired as error:
            return confirmation_page(self, error)
        except ModeldeskError as error:
            flash(error.detail, "error")
            return None
        flash_result(result)
        return None


def flash_result(result: ChangeResult) -> None:
    """Flash the message of a change, with an undo button if the change has an undo URL."""
    message: Any = {"msg": result.message, "undo": {"url": result.undo_url, "label": "Undo"}} if result.undo_url else result.message
    flash(message, "success")


def requested_state(default: bool | None = None) -> bool | None:
    """Return the state that a switch requests with `to=1` or `to=0`, otherwise the default."""
    return {"1": True, "0": False}.get(request.values.get("to", ""), default)


def mark_unprocessable(response: Response) -> Response:
    response.status_code = 422 if response.status_code == 200 else response.status_code
    return response
