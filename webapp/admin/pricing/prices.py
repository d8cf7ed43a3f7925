"""Prices: the list of all prices, past and future, and a form that adds one. No page changes or deletes a price."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import after_this_request, flash, g, redirect, request, url_for
from flask_admin import expose
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload, selectinload

from webapp.admin.catalog.model_cells import model_label, snapshot
from webapp.admin.catalog.model_page import SOURCE_LABELS
from webapp.admin.core import price_form, price_start
from webapp.admin.core.base import is_id
from webapp.admin.core.fields import lookup_attributes
from webapp.admin.core.filters import ChoiceFilter, Filter
from webapp.admin.core.formatters import format_price, format_time, state_tag, time_tag
from webapp.admin.core.lists import ChangeResult, RowsView, mark_unprocessable
from webapp.admin.core.price_sql import current_time, is_canceled, is_effective, is_in_force
from webapp.admin.pricing import price_cells, price_preview
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.input_schemas import PriceEntry
from webapp.domain.costing import price_sanity
from webapp.domain.costing.price_sanity import SanityQuestion
from webapp.domain.pricing.pricing import PRICE_STATES, SOURCE_KINDS, price_at, timeline
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.shared.errors import Conflict, FieldError, Invalid, ModeldeskError, NotFound
from webapp.domain.shared.timestamps import format_timestamp
from webapp.extensions import db
from webapp.models import Model, Price, Provider
from webapp.models.text_search import contains_text
from webapp.runtime.transaction import writing
from webapp.services.catalog import succession
from webapp.services.pricing import prices

SLUG = select(Provider.slug).where(Provider.id == Model.provider_id).scalar_subquery()
PRICE_STATUSES = (
    ("current", "Current"),
    ("scheduled", "Scheduled"),
    ("past", "Past"),
    ("corrected", "Corrected"),
    ("canceled", "Canceled"),
)


def matches_model(word: str) -> ColumnElement[bool]:
    matches_name = contains_text(Model.display_name, word) | contains_text(SLUG + "/" + Model.model_id, word)
    return Price.model_id.in_(select(Model.id).where(matches_name))


def has_status(status: str) -> ColumnElement[bool]:
    started = Price.effective_from <= current_time()
    conditions = {
        "current": is_in_force(),
        "scheduled": ~started & is_effective(),
        "corrected": ~is_effective() & ~is_canceled(),
        "canceled": is_canceled(),
        "past": started & is_effective() & ~is_in_force(),
    }
    return conditions[status]


class Prices(RowsView):
    """The append-only price list. A wrong price is corrected by a new price that references it."""

    table = Price
    singular_name = "price"
    purpose = "Every price there is, was, or will be. Prices are added, never changed: costs of the past stay what they were."
    empty_title = "No prices yet"
    empty_text = "Without a price the costs of a model are reported as incomplete, never as zero."
    can_edit = can_delete = can_view_details = False
    column_display_actions = False
    list_template, create_template = "admin/pricing/prices/list.html", "admin/pricing/prices/new.html"
    column_list = ("model", "state", "place", "rates", "effective_from", "source_kind", "created_by")
    column_minor = ("created_by",)
    column_labels: ClassVar[dict[str, str]] = {
        "place": "In time",
        "effective_from": "From",
        "source_kind": "Source",
        "created_by": "Added by",
    }
    sort_by: ClassVar[Mapping[str, Any]] = {
        "model": select(Model.display_name).where(Model.id == Price.model_id).scalar_subquery(),
        "state": Price.state,
        "effective_from": Price.effective_from,
        "source_kind": Price.source_kind,
        "created_by": Price.created_by,
    }
    default_order = (Price.effective_from.desc(), Price.id.desc())
    column_filters = (
        Filter("Model", matches_model),
        ChoiceFilter("State", lambda state: Price.state == state, [(state, state) for state in PRICE_STATES]),
        ChoiceFilter("Source", lambda kind: Price.source_kind == kind, [(kind, SOURCE_LABELS[kind]) for kind in SOURCE_KINDS]),
        ChoiceFilter("In time", has_status, PRICE_STATUSES),
    )
    column_formatters: ClassVar[dict[str, Any]] = {
        "model": lambda _, __, price, ___: price_cells.model_cell(price),
        "state": lambda _, __, price, ___: state_tag(price.state),
        "place": lambda view, __, price, ___: price_cells.status_cell(price, can_cancel=view.can_create),
        "rates": lambda _, __, price, ___: price_cells.rates_cell(price),
        "effective_from": lambda _, __, price, ___: time_tag(price.effective_from),
        "source_kind": lambda _, __, price, ___: SOURCE_LABELS.get(price.source_kind, price.source_kind),
        "created_by": lambda _, __, price, ___: price.created_by,
    }

    def get_query(self) -> Any:
        return super().get_query().options(joinedload(Price.model).joinedload(Model.provider), selectinload(Price.rates))

    def search_condition(self, word: str) -> ColumnElement[bool]:
        return matches_model(word) | contains_text(Price.created_by, word) | contains_text(Price.note, word)

    def search_placeholder(self) -> str:
        return "model, who added it, note"

    def row_name(self, row: Price) -> str:
        return f"price {row.id}"

    def get_list(self, *args: Any, **options: Any) -> Any:
        count, rows = super().get_list(*args, **options)
        corrections = select(Price.corrects_id, Price.cancels).where(Price.corrects_id.in_([row.id for row in rows]))
        g.is_canceled_by_price_id = dict(db.session.execute(corrections).all())
        return count, rows

    # Add a price.

    @expose("/new/", methods=("GET", "POST"))
    def create_view(self) -> Any:
        self.require_permission(self.can_create)
        model = _requested_model(request.values.get("model"))
        if request.method == "GET":
            return self._page(_initial_form_data(model), model)
        form = price_form.read_form(request.form)
        if "_more" in request.form:
            return self._page(form, model)
        now = datetime.now(UTC)
        entered = price_form.build_entry(form, now)
        try:
            if model is None:
                raise Invalid.field("model", "must be chosen from the list, as provider/model")
            entry = entered.validate(form)
            with writing() as session:
                questions = _require_confirmations(form, entry, model, now)
                price = prices.add(
                    session, model.id, entered.values, actor=self.actor(), confirmed=[question.text for question in questions]
                )
                added_price, name = _timeline_price(model, price), model.display_name
        except (Invalid, Conflict) as error:
            after_this_request(mark_unprocessable)
            errors = {"model": error.errors[0].message} if model is None else price_form.errors_by_field(error, entered.field_names)
            return self._page(price_form.PriceFormData(form.values, form.rows, errors), model)
        except ModeldeskError as error:
            flash(error.detail, "error")
            return self._page(form, model)
        span = price_preview.format_span(added_price, now)
        label = f"Corrected: {span[:1].lower()}{span[1:]}" if entry.corrects else span
        flash(f"{label}, the price of {name} is {format_price(added_price)}.", "success")
        return redirect(url_for("model.details_view", id=model.id))

    def _page(self, form: price_form.PriceFormData, model: Model | None) -> str:
        ref = model.ref if model else form.values.get("model")
        info = snapshot().by_name.get(ref or "")
        now = datetime.now(UTC)
        history = _timeline(model) if model else ()
        start = price_start.parse_start(form.values, now)
        echo = price_preview.preview_price(form, history, now, lambda price: _sanity_questions(model, price, history))
        lookup = lookup_attributes(f"{url_for('model.ajax_lookup')}?name=model", ref, model_label(info) if info else None)
        return self.render(
            self.create_template,
            typed=form,
            used_by=succession.list_affected(db.session(), model) if model else [],
            model=model,
            lookup=lookup,
            present=format_price(info.price) if info else None,
            echo=echo if request.method == "POST" or form.has_rates else None,
            return_url=_return_url(model),
            submit_label=price_start.submit_label(form.values, now),
            change=price_preview.past_change(history, start, now) if start and "confirm_past" in form.errors else None,
            confirm_key=_confirmation_key(form, model, history, now) if "confirm_price" in form.errors else None,
            **price_form.choices(),
        )

    @expose("/<id>/verify", methods=("POST",))
    def verify(self, id: str) -> Any:
        """Record a verification: someone compared the price with its source."""
        return self.apply_change(
            lambda session: ChangeResult(f"The price of {_verify_price(session, id, self.actor())} is verified.", refresh=True)
        )

    @expose("/<id>/cancel", methods=("POST",))
    def cancel(self, id: str) -> Any:
        """Cancel a scheduled price."""
        return self.apply_change(lambda session: ChangeResult(_cancel_price(session, id, self.actor()), refresh=True))

    @expose("/echo", methods=("POST",))
    def echo(self) -> str:
        """Preview the price during input."""
        self.require_permission(self.can_create)
        info = _requested_info(request.form.get("model"))
        history = info.prices if info else ()
        form, now = price_form.read_form(request.form), datetime.now(UTC)
        preview = price_preview.preview_price(form, history, now, lambda price: _sanity_questions(info, price, history))
        new_label = price_start.submit_label(form.values, now)
        return self.render("admin/pricing/prices/_echo.html", echo=preview, new_label=new_label, field_label=price_form.field_label)


def _verify_price(session: Session, id: str, actor: str) -> str:
    return str(prices.verify(session, int(id) if is_id(id) else 0, actor=actor).model)


def _cancel_price(session: Session, id: str, actor: str) -> str:
    cancellation = prices.cancel(session, int(id) if is_id(id) else 0, actor=actor)
    return f"Canceled: the price of {cancellation.model} does not change on {format_time(cancellation.effective_from)}."


def _confirmation_key(form: price_form.PriceFormData, model: Model | None, history: Sequence[PriceValue], now: datetime) -> str:
    price = price_form.as_price(price_form.build_entry(form, now).validate(form))
    return price_sanity.confirmation_key(price, _sanity_questions(model, price, history))


def _requested_model(raw: str | None) -> Model | None:
    """Return the model by row id or by ref, or None."""
    text = (raw or "").strip()
    if is_id(text):
        model = db.session.get(Model, int(text))
        if model is None:
            raise NotFound("There is no such model. It may have been deleted meanwhile.")
        return model
    info = snapshot().by_name.get(text)
    return db.session.get(Model, info.id) if info and info.id is not None else None


def _requested_info(raw: str | None) -> ModelInfo | None:
    text = (raw or "").strip()
    if is_id(text):
        return next((model for model in snapshot().models if model.id == int(text)), None)
    return snapshot().by_name.get(text)


def _initial_form_data(model: Model | None) -> price_form.PriceFormData:
    """Return the form for a new price, or for the correction of an existing one."""
    corrects_id = request.args.get("corrects", "")
    corrected_price = db.session.get(Price, int(corrects_id)) if model and is_id(corrects_id) else None
    if model is None or corrected_price is None or corrected_price.model_id != model.id:
        # A new price replaces every rate, so the form starts with the current rates.
        return price_form.prefill_form(price_at(_timeline(model), datetime.now(UTC)) if model else None)
    starts = format_timestamp(corrected_price.effective_from)
    return price_form.prefill_form(prices.to_domain(corrected_price), corrects=str(corrected_price.id), starts=starts)


def _timeline(model: Model) -> tuple[PriceValue, ...]:
    return timeline(prices.history(db.session(), model))


def _timeline_price(model: Model, price: Price) -> PriceValue:
    """Return the price with its end time."""
    return next(value for value in _timeline(model) if value.id == price.id)


def _require_confirmations(form: price_form.PriceFormData, entry: PriceEntry, model: Model, now: datetime) -> list[SanityQuestion]:
    """Return the confirmed questions. Raises `Invalid` while one is open.

    Each confirmation applies only to this time span and these rates. A correction always changes the past, so it needs no confirmation for
    that.
    """
    price, history = price_form.as_price(entry), _timeline(model)
    change = None if price.corrects else price_preview.past_change(history, price.effective_from, now)
    questions = _sanity_questions(model, price, history)
    open_errors = []
    if change and form.values.get("confirm_past") != change.key:
        open_errors.append(FieldError("confirm_past", change.warning))
    if questions and form.values.get("confirm_price") != price_sanity.confirmation_key(price, questions):
        open_errors.append(FieldError("confirm_price", " ".join(question.text for question in questions)))
    if open_errors:
        raise Invalid.of(open_errors)
    return questions


def _sanity_questions(model: Model | ModelInfo | None, price: PriceValue, history: Sequence[PriceValue]) -> list[SanityQuestion]:
    info = snapshot().by_name.get(model.ref) if model else None
    return price_sanity.list_model_questions(price, info, snapshot().models, history) if info else []


def _return_url(model: Model | None) -> str:
    return url_for("model.details_view", id=model.id) if model else url_for("price.index_view")
