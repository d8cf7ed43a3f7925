"""Models: the list with its switches, default stars and bulk actions, the form, and the details page with the price history."""

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
from webapp.admin.core.confirmations import confirmed_keys
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
from webapp.models.text_search import contains_text
from webapp.services.catalog import models, run_statistics, succession
from webapp.services.projects import overrides
from webapp.web.auth import has_permission

MAX_LOOKUP_RESULTS, MAX_UNDO_IDS = 20, 200


class Models(RowsView):
    """All models, active or not."""

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
        alias_matches = Model.id.in_(select(ModelAlias.model_id).where(contains_text(ModelAlias.alias, word)))
        name_matches = contains_text(Model.display_name, word) | contains_text(SLUG + "/" + Model.model_id, word)
        return name_matches | contains_text(PROVIDER_NAME, word) | alias_matches

    def search_placeholder(self) -> str:
        return "name, model id, provider, other names"

    def row_name(self, row: Model) -> str:
        return row.display_name

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.list_template:
            kwargs["list_views"] = self._preset_views(kwargs)
            g.may_edit = self.can_edit
        return super().render(template, **kwargs)

    def _preset_views(self, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        registry_models = snapshot().models if snapshot().source == DATABASE else None
        active = sum(model.active for model in registry_models or ())
        views: tuple[tuple[str, dict[str, str], int], ...] = (
            ("All", {}, len(registry_models or ())),
            ("Active", {"flt0_active_equals": "1"}, active),
            ("Inactive", {"flt0_active_equals": "0"}, len(registry_models or ()) - active),
            (
                "Unknown price",
                {"flt0_price_state_equals": "unknown"},
                sum(model.price_state == "unknown" for model in registry_models or ()),
            ),
            ("Defaults", {"flt0_default_equals": "1"}, sum(model.default for model in registry_models or ())),
        )
        current_arguments = {} if context["search"] else context["filter_args"]
        return [
            {
                "label": label,
                "url": self.get_url(".index_view", **arguments),
                "count": None if registry_models is None else count,
                "current": not context["search"] and arguments == current_arguments,
            }
            for label, arguments, count in views
        ]

    # Changes, through the services.

    def create_form(self, obj: object = None) -> Any:
        defaults = {"provider": request.args.get("provider", "")}
        return self._prepare_form(model_form.ModelForm(get_form_data(), defaults))

    def edit_form(self, obj: Any = None) -> Any:
        row_values = model_form.form_values(obj)
        return self._prepare_form(edit_conflicts.prepare_form(model_form.ModelForm(get_form_data(), row_values), row_values))

    def on_stale(self, form: Any, row: Any) -> None:
        edit_conflicts.show_conflict(form, model_form.form_values(row), "model", row.id)

    def _prepare_form(self, form: Any) -> Any:
        rows = db.session.execute(select(Provider.slug, Provider.display_name).order_by(Provider.sort_order, Provider.slug))
        form.provider.choices = [("", "Choose a provider…")] + [(slug, f"{name} ({slug})") for slug, name in rows]
        successor = snapshot().by_name.get(form.successor.data or "")
        url = f"{self.get_url('.ajax_lookup')}?name=successor"
        form.successor.render_kw = lookup_attributes(url, form.successor.data, model_label(successor) if successor else None)
        return form

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Model:
        return models.create(session, values, actor=self.actor(), confirmed=confirmed_keys())

    def update_row(self, session: Session, row: Model, values: Mapping[str, Any]) -> Model:
        version = version_of(request.form.get("row_version"))
        return models.update(session, row.id, values, actor=self.actor(), version=version, confirmed=confirmed_keys())

    def delete_row(self, session: Session, row: Model) -> None:
        models.delete(session, row.id, actor=self.actor(), confirmed=confirmed_keys())

    def values_of(self, form: Any) -> dict[str, Any]:
        row_id = request.args.get("id") if request.endpoint == f"{self.endpoint}.edit_view" else None
        row = self.get_one(row_id) if row_id else None
        return model_form.entry_values(form, row)

    @expose("/<id>/active", methods=("POST",))
    def set_active(self, id: str) -> ResponseReturnValue:
        def run(session: Session) -> ChangeResult:
            model = models.set_active(session, self.find_row(id).id, requested_state(), actor=self.actor(), confirmed=confirmed_keys())
            state = "active" if model.is_active else "inactive"
            undo = url_for(".set_active", id=model.id, to=0 if model.is_active else 1)
            return ChangeResult(f"{model} is now {state}.", undo, lambda: active_switch(model))

        return self.apply_change(run)

    @expose("/<id>/switch-over", methods=("POST",))
    def switch_over(self, id: str) -> ResponseReturnValue:
        """Schedule the day on which the successor replaces the model. An empty day cancels the switch."""

        def run(session: Session) -> ChangeResult:
            day = request.form.get("day", "").strip()
            model = succession.schedule_switch(session, self.find_row(id).id, parse_day(day, "day") if day else None, actor=self.actor())
            if model.switches_on is None:
                return ChangeResult(f"{model} no longer switches over.", refresh=True)
            return ChangeResult(f"From {format_date(model.switches_on)} on, {model.successor} takes the place of {model}.", refresh=True)

        return self.apply_change(run)

    @expose("/<id>/default", methods=("POST",))
    def set_default(self, id: str) -> ResponseReturnValue:
        def run(session: Session) -> ChangeResult:
            model = self.find_row(id)
            previous = session.execute(select(Model).where(Model.type == model.type, Model.is_default)).scalar_one_or_none()
            if not requested_state(True):
                models.update(session, model.id, {"default": False}, actor=self.actor())
                return ChangeResult(
                    f"{model} is no longer the default for {humanize(model.type)}.",
                    url_for(".set_default", id=model.id, to=1),
                    refresh=True,
                )
            models.set_default(session, model.id, actor=self.actor())
            undo_url = url_for(".set_default", id=previous.id, to=1) if previous else url_for(".set_default", id=model.id, to=0)
            return ChangeResult(f"{model} is now the default for {humanize(model.type)}.", undo_url, refresh=True)

        return self.apply_change(run)

    @action("activate", "Activate")
    def action_activate(self, ids: list[str]) -> Response | None:
        return self._bulk_active(ids, True)

    @action(
        "deactivate", "Deactivate", "Deactivate the selected models? Applications that ask for one of them are told that it is inactive."
    )
    def action_deactivate(self, ids: list[str]) -> Response | None:
        return self._bulk_active(ids, False)

    @action("set_default", "Set default", "Make the selected models the defaults of their types?")
    def action_set_default(self, ids: list[str]) -> None:
        def run(session: Session, selected_ids: list[int]) -> ChangeResult:
            selected_models = session.execute(select(Model).where(Model.id.in_(selected_ids))).scalars().all()
            types = [model.type for model in selected_models]
            if duplicate := next((name for name in types if types.count(name) > 1), None):
                raise Invalid(f"Select one model for each type: several are for {humanize(duplicate)}.")
            for model in selected_models:
                models.set_default(session, model.id, actor=self.actor())
            return ChangeResult(", ".join(f"{model} is now the default for {humanize(model.type)}" for model in selected_models) + ".")

        self.apply_bulk_change(ids, run)

    def _bulk_active(self, ids: list[str], active: bool) -> Response | None:
        def run(session: Session, selected_ids: list[int]) -> ChangeResult:
            query = select(Model.id).where(Model.id.in_(selected_ids), Model.is_active.is_not(active)).order_by(Model.id)
            changed_ids = list(session.execute(query).scalars())
            models.set_active_many(session, changed_ids, active, actor=self.actor(), confirmed=confirmed_keys())
            summary = f"{len(changed_ids):,} model{'' if len(changed_ids) == 1 else 's'} {'activated' if active else 'deactivated'}"
            unchanged = len(selected_ids) - len(changed_ids)
            undo = url_for(".bulk_active", to=0 if active else 1, ids=",".join(map(str, changed_ids)))
            message = f"{summary}; {unchanged:,} already {'were' if unchanged > 1 else 'was'}." if unchanged else f"{summary}."
            return ChangeResult(message, undo if 0 < len(changed_ids) <= MAX_UNDO_IDS else None)

        return self.apply_bulk_change(ids, run)

    @expose("/active", methods=("POST",))
    def bulk_active(self) -> ResponseReturnValue:
        """Undo a bulk switch. `ids` are the models that it changed."""
        self.require_permission(self.can_edit)
        ids = request.args.get("ids", "").split(",")[:MAX_UNDO_IDS]
        return self._bulk_active(ids, bool(requested_state(False))) or redirect(self.return_url())

    @expose("/ajax/lookup/")
    def ajax_lookup(self) -> Response:
        """Return the models that match a search for a successor."""
        search = request.args.get("query", "").strip().casefold()[:100]
        matches = (model for model in snapshot().models if search in model.ref.casefold() or search in model.display_name.casefold())
        return jsonify([[model.ref, model_label(model)] for model, _ in zip(matches, range(MAX_LOOKUP_RESULTS), strict=False)])

    # The details page.

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
        """Return the price of a model and its history for the drawer of the list. Without htmx, redirect to the details page."""
        row = self.find_row(id)
        if "HX-Request" not in request.headers:
            return redirect(url_for(".details_view", id=row.id, _anchor="price-title"))
        view_model = price_view_model(db.session(), row, datetime.now(UTC))
        back_url = url_for(".index_view", search=row.ref)
        return Response(
            self.render(
                "admin/catalog/models/_drawer.html",
                model=row,
                back_url=back_url,
                may_price=has_permission(self.needs_to_edit),
                **view_model,
            )
        )
