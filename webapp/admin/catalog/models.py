"""Models: the list with its switches, stars and bulk actions, the form, and a page for each with its price and its past."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Response, g, jsonify, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload

from webapp.admin.audit.event_text import target_events
from webapp.admin.catalog import model_form
from webapp.admin.catalog.model_cells import CELLS, EXPORT_CELLS, active_switch, info_of, model_label, snapshot
from webapp.admin.catalog.model_filters import FILTERS, PROVIDER_NAME, SLUG, SORT_BY
from webapp.admin.catalog.model_page import description_list, price_view_model, statistics_view_model, succession_view_model
from webapp.admin.core import edit_conflicts
from webapp.admin.core.fields import lookup_attributes, version_of
from webapp.admin.core.flask_admin_adapter import action, get_form_data
from webapp.admin.core.formatters import format_date, humanize
from webapp.admin.core.lists import ChangeResult, RowsView, requested_state
from webapp.admin.projects.overrides import KIND_LABELS, compare_with_list_price
from webapp.domain.catalog.snapshot import DATABASE
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.timestamps import parse_day
from webapp.extensions import db
from webapp.models import Model, ModelAlias, Provider
from webapp.services.catalog import models, run_statistics, succession
from webapp.services.projects import overrides
from webapp.web.auth import has_permission

MAX_LOOKUP_RESULTS, MAX_UNDO_IDS = 20, 200


class Models(RowsView):
    """Every model, active or not."""

    table = Model
    singular_name = "model"
    purpose = "Every model your applications may ask for, and what it costs now."
    purpose_create = "A model that one of your providers offers. You can give it a price as soon as it is saved."
    purpose_edit = "Changes reach every worker within a second."
    empty_title = "No models yet"
    empty_text = "A model belongs to a provider. Add a provider first, then the models that you use."
    list_template, details_template = "admin/catalog/models/list.html", "admin/catalog/models/details.html"
    can_export = True
    bulk_all_matching = True
    column_list = ("display_name", "provider", "type", "context_window", "input", "output", "capabilities", "is_default", "is_active")
    column_labels: ClassVar[dict[str, str]] = {
        "display_name": "Model",
        "context_window": "Context",
        "input": "Input /1M",
        "output": "Output /1M",
        "is_default": "Default",
        "is_active": "Active",
    }
    column_numeric = ("context_window", "input", "output")
    column_minor = ("capabilities",)
    sort_by: ClassVar[Mapping[str, Any]] = SORT_BY
    default_order = (Model.sort_order, Model.display_name)
    column_filters = FILTERS
    column_export_list = (
        "ref",
        "display_name",
        "type",
        "capabilities",
        "context_window",
        "max_output_tokens",
        "price_state",
        "currency",
        "input",
        "output",
        "is_default",
        "is_active",
        "released_on",
        "deprecated_on",
        "retires_on",
        "successor",
    )
    column_formatters, column_formatters_export = CELLS, EXPORT_CELLS
    form = model_form.ModelForm
    form_rules = model_form.RULES
    form_widget_args = model_form.WIDGETS

    # The list.

    def get_query(self) -> Any:
        return super().get_query().options(joinedload(Model.provider))

    def search_condition(self, word: str) -> ColumnElement[bool]:
        aliased = Model.id.in_(select(ModelAlias.model_id).where(ModelAlias.alias.icontains(word, autoescape=True)))
        named = Model.display_name.icontains(word, autoescape=True) | (SLUG + "/" + Model.model_id).icontains(word, autoescape=True)
        return named | PROVIDER_NAME.icontains(word, autoescape=True) | aliased

    def search_placeholder(self) -> str:
        return "name, model id, provider, other names"

    def row_name(self, row: Model) -> str:
        return row.display_name

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.list_template:
            kwargs["list_views"] = self._preset_views(kwargs)
            g.may_edit = self.can_edit
        return super().render(template, **kwargs)

    def _preset_views(self, shown: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = snapshot().models if snapshot().source == DATABASE else None
        active = sum(model.active for model in found or ())
        views: tuple[tuple[str, dict[str, str], int], ...] = (
            ("All", {}, len(found or ())),
            ("Active", {"flt0_active_equals": "1"}, active),
            ("Inactive", {"flt0_active_equals": "0"}, len(found or ()) - active),
            ("Unknown price", {"flt0_price_state_equals": "unknown"}, sum(model.price_state == "unknown" for model in found or ())),
            ("Defaults", {"flt0_default_equals": "1"}, sum(model.default for model in found or ())),
        )
        present = {} if shown["search"] else shown["filter_args"]
        return [
            {
                "label": label,
                "url": self.get_url(".index_view", **asked),
                "count": None if found is None else count,
                "current": not shown["search"] and asked == present,
            }
            for label, asked, count in views
        ]

    # Changing, through the services.

    def create_form(self, obj: object = None) -> Any:
        given = {"provider": request.args.get("provider", "")}
        return self._prepare_form(model_form.ModelForm(get_form_data(), given))

    def edit_form(self, obj: Any = None) -> Any:
        typed = model_form.form_values(obj)
        return self._prepare_form(edit_conflicts.prepare_form(model_form.ModelForm(get_form_data(), typed), typed))

    def on_stale(self, form: Any, row: Any) -> None:
        edit_conflicts.show_conflict(form, model_form.form_values(row), "model", row.id)

    def _prepare_form(self, form: Any) -> Any:
        rows = db.session.execute(select(Provider.slug, Provider.display_name).order_by(Provider.sort_order, Provider.slug))
        form.provider.choices = [("", "Choose a provider…")] + [(slug, f"{name} ({slug})") for slug, name in rows]
        chosen = snapshot().by_name.get(form.successor.data or "")
        url = f"{self.get_url('.ajax_lookup')}?name=successor"
        form.successor.render_kw = lookup_attributes(url, form.successor.data, model_label(chosen) if chosen else None)
        return form

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Model:
        return models.create(session, values, actor=self.actor())

    def update_row(self, session: Session, row: Model, values: Mapping[str, Any]) -> Model:
        version = version_of(request.form.get("row_version"))
        return models.update(session, row.id, values, actor=self.actor(), version=version)

    def delete_row(self, session: Session, row: Model) -> None:
        models.delete(session, row.id, actor=self.actor())

    def values_of(self, form: Any) -> dict[str, Any]:
        row_id = request.args.get("id") if request.endpoint == f"{self.endpoint}.edit_view" else None
        row = self.get_one(row_id) if row_id else None
        return model_form.entry_values(form, row)

    @expose("/<id>/active", methods=("POST",))
    def set_active(self, id: str) -> ResponseReturnValue:
        def run(session: Session) -> ChangeResult:
            model = models.set_active(session, self.find_row(id).id, requested_state(), actor=self.actor())
            said = "active" if model.is_active else "inactive"
            undo = url_for(".set_active", id=model.id, to=0 if model.is_active else 1)
            return ChangeResult(f"{model} is now {said}.", undo, lambda: active_switch(model))

        return self.apply_change(run)

    @expose("/<id>/switch-over", methods=("POST",))
    def switch_over(self, id: str) -> ResponseReturnValue:
        """Schedules the day on which the successor takes over, or with an empty day takes it back."""

        def run(session: Session) -> ChangeResult:
            given = request.form.get("day", "").strip()
            model = succession.schedule_switch(
                session, self.find_row(id).id, parse_day(given, "day") if given else None, actor=self.actor()
            )
            if model.switches_on is None:
                return ChangeResult(f"{model} no longer switches over.", refresh=True)
            return ChangeResult(f"From {format_date(model.switches_on)} on, {model.successor} takes the place of {model}.", refresh=True)

        return self.apply_change(run)

    @expose("/<id>/default", methods=("POST",))
    def set_default(self, id: str) -> ResponseReturnValue:
        def run(session: Session) -> ChangeResult:
            model = self.find_row(id)
            before = session.execute(select(Model).where(Model.type == model.type, Model.is_default)).scalar_one_or_none()
            if not requested_state(True):
                models.update(session, model.id, {"default": False}, actor=self.actor())
                return ChangeResult(
                    f"{model} is no longer the default for {humanize(model.type)}.",
                    url_for(".set_default", id=model.id, to=1),
                    refresh=True,
                )
            models.set_default(session, model.id, actor=self.actor())
            back = url_for(".set_default", id=before.id, to=1) if before else url_for(".set_default", id=model.id, to=0)
            return ChangeResult(f"{model} is now the default for {humanize(model.type)}.", back, refresh=True)

        return self.apply_change(run)

    @action("activate", "Activate")
    def action_activate(self, ids: list[str]) -> None:
        self._bulk_active(ids, True)

    @action(
        "deactivate", "Deactivate", "Deactivate the selected models? Applications that ask for one of them are told that it is inactive."
    )
    def action_deactivate(self, ids: list[str]) -> None:
        self._bulk_active(ids, False)

    @action("set_default", "Set default", "Make the selected models the defaults of their types?")
    def action_set_default(self, ids: list[str]) -> None:
        def run(session: Session, chosen: list[int]) -> ChangeResult:
            found = session.execute(select(Model).where(Model.id.in_(chosen))).scalars().all()
            types = [model.type for model in found]
            if twice := next((name for name in types if types.count(name) > 1), None):
                raise Invalid(f"Select one model for each type: several are for {humanize(twice)}.")
            for model in found:
                models.set_default(session, model.id, actor=self.actor())
            return ChangeResult(", ".join(f"{model} is now the default for {humanize(model.type)}" for model in found) + ".")

        self.apply_bulk_change(ids, run)

    def _bulk_active(self, ids: list[str], active: bool) -> None:
        def run(session: Session, chosen: list[int]) -> ChangeResult:
            query = select(Model.id).where(Model.id.in_(chosen), Model.is_active.is_not(active)).order_by(Model.id)
            changing = list(session.execute(query).scalars())
            models.set_active_many(session, changing, active, actor=self.actor())
            said = f"{len(changing):,} model{'' if len(changing) == 1 else 's'} {'activated' if active else 'deactivated'}"
            same = len(chosen) - len(changing)
            undo = url_for(".bulk_active", to=0 if active else 1, ids=",".join(map(str, changing)))
            message = f"{said}; {same:,} already {'were' if same > 1 else 'was'}." if same else f"{said}."
            return ChangeResult(message, undo if 0 < len(changing) <= MAX_UNDO_IDS else None)

        self.apply_bulk_change(ids, run)

    @expose("/active", methods=("POST",))
    def bulk_active(self) -> ResponseReturnValue:
        """Takes a bulk switch back: `ids` are those that it changed."""
        self.require_permission(self.can_edit)
        self._bulk_active(request.args.get("ids", "").split(",")[:MAX_UNDO_IDS], bool(requested_state(False)))
        return redirect(self.return_url())

    @expose("/ajax/lookup/")
    def ajax_lookup(self) -> Response:
        """Models for the choice of a successor."""
        asked = request.args.get("query", "").strip().casefold()[:100]
        found = (model for model in snapshot().models if asked in model.ref.casefold() or asked in model.display_name.casefold())
        return jsonify([[model.ref, model_label(model)] for model, _ in zip(found, range(MAX_LOOKUP_RESULTS), strict=False)])

    # The page of one model.

    def details_of(self, row: Model) -> dict[str, Any]:
        now = datetime.now(UTC)
        return price_view_model(db.session(), row, now) | {
            "info": info_of(row),
            "facts": description_list(row),
            "used_by": succession.list_affected(db.session(), row),
            "projects": [
                {"row": rule, "rates": compare_with_list_price(rule), "kind": KIND_LABELS[rule.kind]}
                for rule in overrides.list_by_model(db.session(), row, now)
            ],
            "switch": succession_view_model(row, snapshot(), now),
            "events": target_events("model", row.id),
            "back_url": url_for(".details_view", id=row.id),
            "record": statistics_view_model(run_statistics.model_statistics(db.session(), row.ref)),
            "may_price": has_permission(self.needs_to_edit),
        }

    @expose("/<id>/price")
    def price(self, id: str) -> ResponseReturnValue:
        """The price of a model with its past, for the drawer of the list; whoever comes by its address gets the page."""
        row = self.find_row(id)
        if "HX-Request" not in request.headers:
            return redirect(url_for(".details_view", id=row.id, _anchor="price-title"))
        facts = price_view_model(db.session(), row, datetime.now(UTC))
        back = url_for(".index_view", search=row.ref)
        return Response(
            self.render(
                "admin/catalog/models/_drawer.html", model=row, back_url=back, may_price=has_permission(self.needs_to_edit), **facts
            )
        )
