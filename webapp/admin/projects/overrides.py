"""The overrides page of a project: its default model, allowed models and prices."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, redirect, request
from flask_admin import expose

from webapp.admin.core import price_form
from webapp.admin.core.base import is_id
from webapp.admin.core.lists import RowsView
from webapp.admin.core.price_form import PriceFormData, PriceInput
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.project_overrides import ALLOW, DEFAULT, PRICE
from webapp.domain.pricing.pricing import Price, Rate, price_at, rate_key, timeline
from webapp.domain.pricing.rate_text import describe_terms, format_rate, label_with_conditions
from webapp.domain.pricing.serializers import price_from
from webapp.domain.shared.errors import Conflict, Invalid, ModeldeskError
from webapp.domain.shared.timestamps import DAY, parse_day, parse_timestamp, start_of_day
from webapp.extensions import db
from webapp.models import Project, ProjectOverride
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.pricing import prices
from webapp.services.projects import overrides
from webapp.services.projects.overrides import Rule
from webapp.web.auth import has_permission

KIND_LABELS = {DEFAULT: "Default", ALLOW: "Allowed model", PRICE: "Own price"}
RULE_FIELDS = ("kind", "model", "starts", "ends")


class OverridesMixin(RowsView):
    """Every role can read the overrides; editors add and end them."""

    @expose("/<id>/rules", methods=("GET", "POST"))
    def rules(self, id: str) -> Any:
        project = self.find_row(id)
        form = price_form.read_form(request.form)
        if request.method == "POST":
            self.require_permission(can_edit_rules())
            if "_more" in request.form:
                return Response(self._rules_page(project, form))
            entered = _price_input(form)
            try:
                with writing() as session:
                    overrides.add(session, project.id, _build_rule(form, entered), actor=self.actor())
            except (Invalid, Conflict) as error:
                form = replace(form, errors=_errors_by_field(error, entered))
            else:
                flash("Added. Applications of this project are answered by it within a second.", "success")
                return redirect(self.get_url(".rules", id=id))
        return Response(self._rules_page(self.find_row(id), form), 422 if form.errors else 200)

    @expose("/<id>/rules/<rule>/end", methods=("POST",))
    def end_rule(self, id: str, rule: str) -> Any:
        self.require_permission(can_edit_rules())
        try:
            with writing() as session:
                overrides.end(session, int(rule) if is_id(rule) else 0, _now(), actor=self.actor())
        except ModeldeskError as error:
            flash(error.detail, "error")
        else:
            flash("Ended. From now on what holds for everybody holds here too.", "success")
        return redirect(self.get_url(".rules", id=id))

    def _rules_page(self, project: Project, form: PriceFormData) -> str:
        rows = [_rule_view_model(row) for row in overrides.list_by_project(db.session(), project)]
        models = [model for model in container.registry().snapshot.models if model.active]
        return self.render(
            "admin/projects/overrides.html",
            project=project,
            rows=rows,
            typed=form,
            kinds=KIND_LABELS,
            models=models,
            may_edit=can_edit_rules(),
            narrowed=any(row["kind"] == ALLOW and row["state"][0] == "In force" for row in rows),
            **price_form.choices(),
        )


def can_edit_rules() -> bool:
    return has_permission(Permission.REGISTRY_WRITE)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _price_input(form: PriceFormData) -> PriceInput:
    return price_form.build_entry(replace(form, values={**form.values, "state": "priced"}), _now())


def _build_rule(form: PriceFormData, entered: PriceInput) -> Rule:
    """Build a rule from the form. Raises `Invalid` with the fields of the rule or of its price."""
    values = form.values
    kind = values.get("kind", "")
    price = entered.validate(form) if kind == PRICE else None
    starts, ends = _parse_time(values.get("starts", ""), "starts") or _now(), _parse_time(values.get("ends", ""), "ends")
    return Rule(kind, values.get("model", ""), starts, ends, price, values.get("note", ""))


def _errors_by_field(error: Invalid | Conflict, entered: PriceInput) -> dict[str, str]:
    own = {problem.field: problem.message for problem in error.errors if problem.field in RULE_FIELDS}
    return own or price_form.errors_by_field(error, entered.field_names)


def _parse_time(text: str, field: str) -> datetime | None:
    if not text:
        return None
    return start_of_day(parse_day(text, field)) if DAY.fullmatch(text) else parse_timestamp(text.upper(), field)


def _rule_view_model(row: ProjectOverride) -> dict[str, Any]:
    now = datetime.now(UTC)
    withdrawn = row.ends_at is not None and row.ends_at <= row.starts_at
    state = ("Taken back", "neutral") if withdrawn else ("Ended", "neutral") if row.ends_at and row.ends_at <= now else None
    state = state or (("Scheduled", "blue") if row.starts_at > now else ("In force", "green"))
    return {
        "row": row,
        "kind": row.kind,
        "state": state,
        "ongoing": state[0] in ("In force", "Scheduled"),
        "rates": compare_with_list_price(row),
        "terms": describe_terms(price_from(row.price)) if row.price else [],
    }


def compare_with_list_price(row: ProjectOverride) -> list[dict[str, str | None]]:
    """Return each rate of the project's price next to the list price that it replaces."""
    if row.price is None:
        return []
    project_price = price_from(row.price)
    list_price = price_at(timeline(prices.history(db.session(), row.model)), datetime.now(UTC))
    return [_compare_rate(rate, project_price, list_price.rates if list_price else (), list_price) for rate in project_price.rates]


def _compare_rate(rate: Rate, project_price: Price, list_rates: Sequence[Rate], list_price: Price | None) -> dict[str, str | None]:
    list_rate = next((candidate for candidate in list_rates if rate_key(candidate) == rate_key(rate)), None)
    return {
        "label": label_with_conditions(rate),
        "own": format_rate(rate, project_price.currency),
        "listed": format_rate(list_rate, list_price.currency) if list_rate and list_price else None,
    }
