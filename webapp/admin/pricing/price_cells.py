"""Cells of the price list."""

from datetime import UTC, datetime

from flask import g, url_for
from markupsafe import Markup

from webapp.admin.catalog.model_cells import snapshot
from webapp.admin.core.formatters import format_price, format_time, tag
from webapp.models import Price
from webapp.services.pricing import prices

CANCEL_BUTTON = Markup(
    ' <button type="button" class="btn btn-sm" form="cancel_form" formaction="{}" aria-label="Cancel the price of {}" data-confirm="{}"'
    ' data-confirm-action="Cancel the price" data-confirm-stay="Keep it">Cancel</button>'
)


def model_cell(price: Price) -> Markup:
    url = url_for("model.details_view", id=price.model_id)
    return Markup('<a href="{}">{}</a><span class="row-ref">{}</span>').format(url, price.model.display_name, price.model.ref)


def rates_cell(price: Price) -> str:
    if price.cancels:
        return "The price before continues"
    return format_price(prices.to_domain(price)) if price.state == "priced" else ""


def status_cell(price: Price, *, can_cancel: bool) -> Markup:
    """Format the place of a price in time, with a button if it can be canceled."""
    if price.cancels:
        return tag("Cancellation")
    is_canceled = g.get("is_canceled_by_price_id", {}).get(price.id)
    if is_canceled is not None:
        return tag("Canceled" if is_canceled else "Corrected", "red")
    if price.effective_from > datetime.now(UTC):
        return tag("Scheduled", "blue") + (_cancel_button(price) if can_cancel else "")
    info = snapshot().by_name.get(price.model.ref)
    return tag("Current", "green") if info and info.price and info.price.id == price.id else tag("Past")


def _cancel_button(price: Price) -> Markup:
    question = f"Cancel the price of {price.model} that starts on {format_time(price.effective_from)}?"
    return CANCEL_BUTTON.format(url_for("price.cancel", id=price.id), price.model, question)
