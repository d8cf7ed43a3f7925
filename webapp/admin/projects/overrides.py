"""The overrides page of a project: its default model, allowed models and prices."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, redirect, request
from flask_admin import expose

from webapp.admin.core.base import is_id
from webapp.admin.core.lists import RowsView
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.input_schemas import PriceEntry, validate_price
from webapp.domain.catalog.project_overrides import ALLOW, DEFAULT, PRICE
from webapp.domain.catalog.source_scope import rate_key
from webapp.domain.pricing.pricing import Price, Rate, price_at, timeline
from webapp.domain.pricing.rate_text import format_rate, label_with_conditions
from webapp.domain.pricing.serializers import price_from
from webapp.domain.shared.errors import Conflict, FieldError, Invalid, ModeldeskError
from webapp.domain.shared.timestamps import DAY, format_timestamp, parse_day, parse_timestamp, start_of_day
from webapp.extensions import db
from webapp.models import Project, ProjectOverride
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.pricing import prices
from webapp.services.projects import overrides
from webapp.services.projects.overrides import Rule
from webapp.web.auth import has_permission

KIND_LABELS = {DEFAULT: "Default", ALLOW: "Allowed model", PRICE: "Own price"}
FORM_FIELDS = ("kind", "model", "starts", "ends", "input", "cache_read", "output", "image", "currency", "note")
RATE_METERS = (("input", 1_000_000), ("cache_read", 1_000_000), ("output", 1_000_000), ("image", 1))


class OverridesMixin(RowsView):
    """Every role can read the overrides; editors add and end them."""

    @expose("/<id>/rules", methods=("GET", "POST"))
    def rules(self, id: str) -> Any:
        project, errors = self.find_row(id), {}
        values = {name: request.form.get(name, "").strip()[:2_000] for name in FORM_FIELDS}
        if request.method == "POST":
            self.require_permission(can_edit_rules())
            try:
                with writing() as session:
                    overrides.add(session, project.id, _build_rule(values), actor=self.actor())
            except (Invalid, Conflict) as error:
                errors = {field_error.field.partition("[")[0]: field_error.message for field_error in error.errors} or {"": error.detail}
            else:
                flash("Added. Applications of this project are answered by it within a second.", "success")
                return redirect(self.get_url(".rules", id=id))
        return Response(self._rules_page(self.find_row(id), values, errors), 422 if errors else 200)

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

    def _rules_page(self, project: Project, values: dict[str, str], errors: dict[str, str]) -> str:
        rows = [_rule_view_model(row) for row in overrides.list_by_project(db.session(), project)]
        models = [model for model in container.registry().snapshot.models if model.active]
        return self.render(
            "admin/projects/overrides.html",
            project=project,
            rows=rows,
            typed=values,
            errors=errors,
            kinds=KIND_LABELS,
            models=models,
            may_edit=can_edit_rules(),
            narrowed=any(row["kind"] == ALLOW and row["state"][0] == "In force" for row in rows),
        )


def can_edit_rules() -> bool:
    return has_permission(Permission.REGISTRY_WRITE)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _build_rule(values: dict[str, str]) -> Rule:
    """Build a rule from the form. Raises `Invalid` with the form field."""
    price = _build_price_entry(values) if values["kind"] == PRICE else None
    starts, ends = _parse_time(values["starts"], "starts") or _now(), _parse_time(values["ends"], "ends")
    return Rule(values["kind"], values["model"], starts, ends, price, values["note"])


def _parse_time(text: str, field: str) -> datetime | None:
    if not text:
        return None
    return start_of_day(parse_day(text, field)) if DAY.fullmatch(text) else parse_timestamp(text.upper(), field)


def _build_price_entry(values: dict[str, str]) -> PriceEntry:
    rates = [{"meter": meter, "amount": values[meter], "per": per} for meter, per in RATE_METERS if values[meter]]
    entry = {"state": "priced", "currency": values["currency"] or "USD", "effective_from": format_timestamp(_now()), "rates": rates}
    try:
        return validate_price(entry)
    except Invalid as error:
        raise Invalid.of(
            FieldError("input" if "rates[" in field_error.field else field_error.field, field_error.message) for field_error in error.errors
        ) from None


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
