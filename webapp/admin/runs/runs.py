"""The run history: a list and a page for each run. It is read-only."""

from typing import Any, ClassVar

from flask import redirect, request
from flask_admin import expose
from markupsafe import Markup, escape
from sqlalchemy import ColumnElement, or_, select
from werkzeug.wrappers import Response

from webapp.admin.core.base import GuardedModelView
from webapp.admin.core.fields import requested_page
from webapp.admin.core.filters import ChoiceFilter, Filter
from webapp.admin.core.flask_admin_adapter import ViewArgs
from webapp.admin.runs import run_presenter
from webapp.drivers import DRIVERS
from webapp.extensions import db
from webapp.models import Run
from webapp.models.text_search import contains_text

MAX_ID_LENGTH = 40
MAX_SEARCH_LENGTH = 200
STATUS_OPTIONS = [(status, words) for status, (words, _) in run_presenter.STATUSES.items() if status != "running"]
DRIVER_OPTIONS = [(name, info.label) for name, info in DRIVERS.items()]


class Runs(GuardedModelView):
    """All runs, newest first."""

    purpose = "Everything that was asked of a model or of the local rules: what came back, what it used, and what it cost."
    can_create = can_edit = can_delete = False
    can_export = False
    column_display_actions = False
    column_list = ("title", "status", "model_ref", "tokens", "cost_total", "latency_ms", "actor", "created_at")
    column_labels: ClassVar[dict[str, str]] = {
        "title": "Incident",
        "model_ref": "Asked",
        "tokens": "Tokens",
        "cost_total": "Cost",
        "latency_ms": "Latency",
        "actor": "By",
        "created_at": "When",
    }
    column_numeric = ("tokens", "cost_total", "latency_ms")
    column_sortable_list = ("status", "model_ref", "latency_ms", "actor", "created_at")
    column_default_sort: ClassVar[list[tuple[str, bool]]] = [("created_at", True), ("id", True)]
    column_filters = (
        ChoiceFilter("Status", lambda status: Run.status == status, STATUS_OPTIONS),
        Filter("Model", lambda text: contains_text(Run.model_ref, text)),
        ChoiceFilter("Driver", lambda driver: Run.driver == driver, DRIVER_OPTIONS),
        Filter("By", lambda text: contains_text(Run.actor, text)),
    )
    list_template = "admin/runs/list.html"
    details_template = "admin/runs/details.html"
    empty_title = "Nothing has run yet"
    empty_text = "Try an incident on the local rules or on a model, and what comes back is kept here."

    def __init__(self, **options: Any) -> None:
        super().__init__(Run, db, **options)
        self.column_formatters = dict.fromkeys(("title", "status", "model_ref", "tokens", "cost_total", "latency_ms", "created_at"), _cell)

    def search_condition(self, word: str) -> ColumnElement[bool]:
        columns = (Run.incident["title"].as_string(), Run.model_ref, Run.public_id, Run.actor)
        return or_(*(contains_text(column, word) for column in columns))

    def search_placeholder(self) -> str:
        return "title, model, id, who"

    def _get_list_extra_args(self) -> ViewArgs:
        """Ignore page numbers that are out of range and unknown filters, instead of failing."""
        args = super()._get_list_extra_args()
        args.page = requested_page(request.args)
        args.search = args.search.replace("\0", "")[:MAX_SEARCH_LENGTH] if args.search else args.search
        args.extra_args = {}
        return args

    def get_pk_value(self, model: Run) -> str:
        return model.public_id

    def get_one(self, id: str) -> Run | None:
        """Return the run with this public id, or None. Row numbers would reveal how many runs there are."""
        public_id = str(id)
        if not (public_id.isascii() and public_id.isprintable() and len(public_id) <= MAX_ID_LENGTH):
            return None
        return db.session.execute(select(Run).where(Run.public_id == public_id)).scalar_one_or_none()

    @expose("/<public_id>")
    def short(self, public_id: str) -> Response:
        """Redirect from the short URL of a run to its page."""
        return redirect(self.get_url(".details_view", id=public_id))

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.details_template:
            kwargs["shown"] = run_presenter.view_model(kwargs["model"])
        return super().render(template, **kwargs)


def _cell(view: Runs, context: object, run: Run, name: str) -> str:
    """Render one cell of the list. Text from users and models is escaped."""
    return Markup(CELLS[name](run))  # noqa: S704 # each cell function escapes its values


def _status_cell(run: Run) -> Markup:
    label, tone = run_presenter.STATUSES.get(run.status, (run.status, "neutral"))
    return Markup('<span class="tag tag-{}">{}</span>').format(tone, label)


def _cost_cell(run: Run) -> Markup:
    cost = run_presenter.cost_view_model(run)
    if cost["text"] == "Unknown":
        return Markup('<span class="tag tag-yellow" title="{}">Unknown</span>').format(cost["why"])
    if cost["text"] == "No cost":
        return Markup('<span title="{}">—</span>').format(cost["why"])
    return Markup('<span class="money">{}</span>').format(cost["text"])


def _tokens_cell(run: Run) -> Markup:
    if run.tokens is None:
        return Markup('<span class="tag tag-yellow" title="{}">Unknown</span>').format("the provider did not say how much was used")
    return escape(f"{run.tokens:,}" if run.tokens else "—")


def _time_cell(run: Run) -> Markup:
    created_at = run.created_at
    return Markup('<time datetime="{}" data-relative>{}</time>').format(
        f"{created_at:%Y-%m-%dT%H:%M:%SZ}", f"{created_at:%-d %b %Y, %H:%M} UTC"
    )


CELLS = {
    "title": lambda run: escape(run_presenter.title_of(run)),
    "status": _status_cell,
    "model_ref": lambda run: escape(run_presenter.requested_model(run)),
    "tokens": _tokens_cell,
    "cost_total": _cost_cell,
    "latency_ms": lambda run: escape(run_presenter.format_latency(run.latency_ms)),
    "created_at": _time_cell,
}
