"""Contents of a model's page: its description, its price with every rate, and the price history."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.admin.core.formatters import copyable, format_date, format_time, humanize, tag, time_tag, type_tag
from webapp.admin.runs.run_presenter import format_latency
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.costing.calculator import condition_choices, typical_usage
from webapp.domain.pricing.meters import MEDIA_TOKENS, METER_GROUPS, METERS, TOOLS, label_of
from webapp.domain.pricing.price_chart import HEIGHT, WIDTH, build_chart
from webapp.domain.pricing.pricing import Price, Rate, price_at, timeline
from webapp.domain.pricing.rate_text import describe_conditions, describe_terms, format_entered_rate, format_rate
from webapp.domain.pricing.spend import describe_unknown, format_spend
from webapp.domain.shared import money_text
from webapp.domain.shared.money import sort_sums
from webapp.domain.shared.timestamps import start_of_day
from webapp.models import Model, PriceVerification
from webapp.models import Price as PriceRow
from webapp.services.catalog.run_statistics import RunStatistics
from webapp.services.pricing import prices

CALL_LABELS = {"input": "Input tokens", "cache_read": "of these, cached", "output": "Output tokens"}
# Many calls use none of these.
OPTIONAL_METERS = frozenset({"cache_read", *METER_GROUPS[MEDIA_TOKENS], *METER_GROUPS[TOOLS]})
SOURCE_LABELS = {"manual": "Entered by hand", "seed": "Built-in catalogue", "catalog": "Catalogue", "import": "Imported"}


def description_list(model: Model) -> list[tuple[str, Any]]:
    """Return the terms and values of the description list."""
    quirks = ", ".join(f"{humanize(name)}: {value}" for name, value in (model.quirks or {}).items())
    aliases = ", ".join(alias.alias for alias in model.aliases)
    return [
        ("Ref", copyable(model.ref)),
        ("Provider", model.provider.display_name),
        ("Type", type_tag(model.type)),
        ("State", tag("Active", "green") if model.is_active else tag("Inactive")),
        ("Context window", _format_token_limit(model.context_window)),
        ("Longest answer", _format_token_limit(model.max_output_tokens)),
        ("Capabilities", ", ".join(humanize(name) for name in model.capabilities)),
        ("Other names", aliases),
        ("Released", format_date(model.released_on)),
        ("Deprecated", format_date(model.deprecated_on)),
        ("Retires", format_date(model.retires_on)),
        ("Successor", model.successor),
        ("Quirks", quirks),
        ("Changed", time_tag(model.updated_at)),
        ("Description", model.description),
    ]


def price_card(history: Sequence[Price], now: datetime) -> dict[str, Any]:
    """Return the price in force with all of its rates."""
    price = price_at(timeline(history), now)
    if price is None:
        return {"state": "unknown", "price": None, "rates": [], "next": _next_price(history, now)}
    return {
        "state": price.state,
        "price": price,
        "rates": [_rate_view_model(rate, price.currency) for rate in price.rates],
        "terms": describe_terms(price),
        "source": source_of(price),
        "next": _next_price(history, now),
    }


def _rate_view_model(rate: Rate, currency: str) -> dict[str, Any]:
    return {
        "meter": label_of(rate.meter),
        "amount": format_rate(rate, currency),
        "entered": format_entered_rate(rate, currency),
        "conditions": describe_conditions(rate),
    }


def _next_price(history: Sequence[Price], now: datetime) -> Price | None:
    return next((price for price in timeline(history) if price.effective_from > now), None)


def source_of(price: Price) -> dict[str, Any]:
    label = SOURCE_LABELS.get(price.source.kind, price.source.kind)
    name = price.source.name
    return {"text": f"{label}, {name}" if name else label, "url": price.source.url, "verified_at": price.source.verified_at}


def price_view_model(session: Session, row: Model, now: datetime) -> dict[str, Any]:
    """Return all data about a model's price, for its page and for the drawer of the list."""
    price_history = prices.history(session, row)
    creations = session.execute(select(PriceRow.id, PriceRow.created_by, PriceRow.created_at).where(PriceRow.model_id == row.id))
    entries = history_of(price_history, now, prices.latest_verifications(session, row))
    creations_by_id = {entry.id: entry for entry in creations}
    card = price_card(price_history, now)
    return {
        "model_ref": row.ref,
        "call": calculator_fields(card["price"]),
        "call_attributes": condition_choices(card["price"]),
        "price": card,
        "chart": chart_of(price_history, now),
        "today": f"{now:%Y-%m-%d}",
        "history": [entry | {"added": creations_by_id[entry["price"].id]} for entry in entries],
    }


def calculator_fields(price: Price | None) -> list[tuple[str, str, str]]:
    """Return the fields of the small calculator: meter, label and the quantity of a typical call."""
    rated_meters = {rate.meter for rate in price.rates} if price else set()
    quantities = dict.fromkeys(rated_meters & OPTIONAL_METERS, "") | {
        meter: f"{quantity:,}" for meter, quantity in typical_usage(price).as_dict().items()
    }
    return [(meter, CALL_LABELS.get(meter, label_of(meter)), quantities[meter]) for meter in METERS if meter in quantities]


def chart_of(history: Sequence[Price], now: datetime) -> dict[str, Any] | None:
    """Return the chart of the price over time, or None if there is nothing to draw."""
    chart = build_chart(timeline(history), now)
    if chart is None:
        return None
    top = money_text.format_rounded(chart.top, chart.currency) or money_text.format_amount(chart.top, chart.currency)
    return {"chart": chart, "top": top, "width": WIDTH, "height": HEIGHT}


def history_of(history: Sequence[Price], now: datetime, verified: Mapping[int, PriceVerification]) -> list[dict[str, Any]]:
    """Return all prices, newest first, each with its state and its latest verification."""
    effective = timeline(history)
    current = price_at(effective, now)
    effective_ids = {price.id for price in effective}
    canceled_ids = {price.corrects for price in history if price.cancels}
    return [
        {
            "price": price,
            "state": _replacement_state(price, effective_ids, canceled_ids) or _history_state(price, current, now),
            "rates": [_rate_view_model(rate, price.currency) for rate in price.rates],
            "terms": describe_terms(price),
            "source": source_of(price),
            "starts": format_time(price.effective_from),
            "verified": verified.get(price.id or 0),
        }
        for price in reversed(history)
    ]


def _replacement_state(price: Price, effective_ids: Collection[int | None], canceled_ids: Collection[int | None]) -> tuple[str, str] | None:
    """Return the state of a price that never applies: because it was canceled or corrected, or because it cancels another one."""
    if price.cancels:
        return ("Cancellation", "neutral")
    if price.id in effective_ids:
        return None
    return ("Canceled" if price.id in canceled_ids else "Corrected", "red")


def _history_state(price: Price, current: Price | None, now: datetime) -> tuple[str, str]:
    if price.effective_from > now:
        return ("Scheduled", "blue")
    return ("Current", "green") if current is not None and price.id == current.id else ("Past", "neutral")


def succession_view_model(model: Model, snapshot: Snapshot, now: datetime) -> dict[str, Any] | None:
    """Return the day and state of the switch to the successor, or None if the model has neither a successor nor a day."""
    if not (model.successor or model.switches_on):
        return None
    successor = snapshot.by_name.get(model.successor or "") or snapshot.by_name.get(f"{model.provider.slug}/{model.successor}")
    due = model.switches_on is not None and start_of_day(model.switches_on) <= now
    if due and (successor is None or not successor.supported):
        state = "The day has come, but the successor cannot answer: it is unknown, inactive or retired. Nothing was switched."
    elif due and successor is not None:
        state = f"Its place as a default and its other names lead to {successor.display_name}."
    elif model.switches_on is not None:
        state = "On that day at 00:00 UTC its place as a default and its other names begin to lead to the successor."
    else:
        state = "Nothing is scheduled: its names go on leading to it."
    return {"day": model.switches_on, "suggested": model.switches_on or model.retires_on, "due": due, "state": state, "heir": successor}


def statistics_view_model(statistics: RunStatistics) -> dict[str, Any] | None:
    """Return the recent run statistics of a model, or None if it had no runs."""
    if not statistics.runs:
        return None
    per_run = [_format_mean(statistics, currency, mean) for currency, mean in sort_sums(statistics.mean_costs)]
    return {
        "runs": statistics.runs,
        "succeeded": f"{statistics.succeeded} of {statistics.runs} ({statistics.success_percent}%)",
        "p50": format_latency(statistics.p50) if statistics.p50 is not None else None,
        "p95": format_latency(statistics.p95) if statistics.p95 is not None else None,
        "cost": format_spend(statistics.spend) if statistics.spend.known or statistics.spend.unknown else None,
        "per_run": " and ".join(per_run) if per_run else None,
        "unknown": describe_unknown(statistics.spend),
    }


def _format_mean(statistics: RunStatistics, currency: str, mean: Decimal) -> str:
    """Format the mean cost of a run, with the number of runs if their costs are in several currencies."""
    priced = statistics.priced[currency]
    return money_text.format_approximate(mean, currency) + (
        f" in {priced:,} run{'s' if priced != 1 else ''}" if len(statistics.priced) > 1 else ""
    )


def _format_token_limit(number: int | None) -> str | None:
    return None if number is None else f"{number:,} tokens"
