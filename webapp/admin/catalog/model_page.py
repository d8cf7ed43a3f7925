"""What the page of a model shows: its facts, its price with every rate, and how the price came to be."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.admin.core.formatters import copyable, format_date, format_rate, humanize, tag, time_tag, type_tag
from webapp.admin.runs.run_presenter import format_latency
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.costing.calculator import typical_usage
from webapp.domain.pricing.meters import describe_conditions, label_of
from webapp.domain.pricing.price_chart import HEIGHT, WIDTH, build_chart
from webapp.domain.pricing.pricing import Price, price_at, timeline
from webapp.domain.pricing.usage import METERS
from webapp.domain.shared import money_text
from webapp.domain.shared.money import sort_sums
from webapp.domain.shared.timestamps import start_of_day
from webapp.models import Model, PriceVerification
from webapp.models import Price as PriceRow
from webapp.services.catalog.run_statistics import RunStatistics
from webapp.services.pricing import prices

CALL_LABELS = {"input": "Input tokens", "cache_read": "of these, cached", "output": "Output tokens"}
OPTIONAL_METERS = frozenset({"cache_read", "web_search"})  # What many calls use none of.
SOURCE_LABELS = {"manual": "Entered by hand", "seed": "Built-in catalogue", "catalog": "Catalogue", "import": "Imported"}


def description_list(model: Model) -> list[tuple[str, Any]]:
    """Terms and values for the definition list."""
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
    """The price in force with all of its rates."""
    price = price_at(timeline(history), now)
    if price is None:
        return {"state": "unknown", "price": None, "rates": [], "next": _next_price(history, now)}
    return {
        "state": price.state,
        "price": price,
        "rates": [_rate_view_model(rate, price.currency) for rate in price.rates],
        "source": source_of(price),
        "next": _next_price(history, now),
    }


def _rate_view_model(rate: Any, currency: str) -> dict[str, Any]:
    as_entered = f"{money_text.format_amount(rate.amount, currency)} per {rate.per:,}"
    return {
        "meter": label_of(rate.meter),
        "amount": format_rate(rate, currency),
        "entered": as_entered,
        "conditions": describe_conditions(rate),
    }


def _next_price(history: Sequence[Price], now: datetime) -> Price | None:
    return next((price for price in timeline(history) if price.effective_from > now), None)


def source_of(price: Price) -> dict[str, Any]:
    said = SOURCE_LABELS.get(price.source.kind, price.source.kind)
    by = price.source.name
    return {"text": f"{said}, {by}" if by else said, "url": price.source.url, "verified_at": price.source.verified_at}


def price_view_model(session: Session, row: Model, now: datetime) -> dict[str, Any]:
    """All about the price of a model: for its page, and for the drawer of the list."""
    past = prices.history(session, row)
    added = session.execute(select(PriceRow.id, PriceRow.created_by, PriceRow.created_at).where(PriceRow.model_id == row.id))
    entries = history_of(past, now, prices.latest_verifications(session, row))
    by_number = {entry.id: entry for entry in added}
    card = price_card(past, now)
    return {
        "model_ref": row.ref,
        "call": calculator_fields(card["price"]),
        "price": card,
        "chart": chart_of(past, now),
        "today": f"{now:%Y-%m-%d}",
        "history": [entry | {"added": by_number[entry["price"].id]} for entry in entries],
    }


def calculator_fields(price: Price | None) -> list[tuple[str, str, str]]:
    """The fields of the small calculator: meter, label, and what an ordinary call uses of it."""
    rated = {rate.meter for rate in price.rates} if price else set()
    used = dict.fromkeys(rated & OPTIONAL_METERS, "") | {
        meter: f"{quantity:,}" for meter, quantity in typical_usage(price).as_dict().items()
    }
    return [(meter, CALL_LABELS.get(meter, label_of(meter)), used[meter]) for meter in METERS if meter in used]


def chart_of(history: Sequence[Price], now: datetime) -> dict[str, Any] | None:
    """The drawing of the price over time, if there is anything to see."""
    found = build_chart(timeline(history), now)
    return {"chart": found, "top": money_text.format_amount(found.top, found.currency), "width": WIDTH, "height": HEIGHT} if found else None


def history_of(history: Sequence[Price], now: datetime, verified: Mapping[int, PriceVerification]) -> list[dict[str, Any]]:
    """All prices, the newest first, each with its place in time and who verified it last."""
    in_force = timeline(history)
    present = price_at(in_force, now)
    kept = {price.id for price in in_force}
    return [
        {
            "price": price,
            "state": _history_state(price, present, kept, now),
            "rates": [_rate_view_model(rate, price.currency) for rate in price.rates],
            "source": source_of(price),
            "verified": verified.get(price.id or 0),
        }
        for price in reversed(history)
    ]


def _history_state(price: Price, present: Price | None, kept: set[int | None], now: datetime) -> tuple[str, str]:
    if price.id not in kept:
        return ("Corrected", "red")
    if price.effective_from > now:
        return ("Scheduled", "blue")
    return ("Current", "green") if present is not None and price.id == present.id else ("Past", "neutral")


def succession_view_model(model: Model, found: Snapshot, now: datetime) -> dict[str, Any] | None:
    """The switch to the successor: when, and whether it has happened. None where there is nothing to follow."""
    if not (model.successor or model.switches_on):
        return None
    heir = found.by_name.get(model.successor or "") or found.by_name.get(f"{model.provider.slug}/{model.successor}")
    due = model.switches_on is not None and start_of_day(model.switches_on) <= now
    if due and (heir is None or not heir.supported):
        state = "The day has come, but the successor cannot answer: it is unknown, inactive or retired. Nothing was switched."
    elif due and heir is not None:
        state = f"Its place as a default and its other names lead to {heir.display_name}."
    elif model.switches_on is not None:
        state = "On that day at 00:00 UTC its place as a default and its other names begin to lead to the successor."
    else:
        state = "Nothing is scheduled: its names go on leading to it."
    return {"day": model.switches_on, "suggested": model.switches_on or model.retires_on, "due": due, "state": state, "heir": heir}


def statistics_view_model(record: RunStatistics) -> dict[str, Any] | None:
    """How the model has done lately; None if it was never asked."""
    if not record.runs:
        return None
    per_run = [_format_mean(record, currency, mean) for currency, mean in sort_sums(record.mean_costs)]
    return {
        "runs": record.runs,
        "succeeded": f"{record.succeeded} of {record.runs} ({record.success_percent} %)",
        "p50": format_latency(record.p50) if record.p50 is not None else None,
        "p95": format_latency(record.p95) if record.p95 is not None else None,
        "cost": " and ".join(money_text.format_amounts(record.costs)) if record.priced else None,
        "per_run": " and ".join(per_run) if per_run else None,
        "unpriced": record.unpriced,
    }


def _format_mean(record: RunStatistics, currency: str, mean: Decimal) -> str:
    """The mean cost of a run, and of how many runs, where not all cost the same currency."""
    priced = record.priced[currency]
    return money_text.format_approximate(mean, currency) + (
        f" in {priced:,} run{'s' if priced != 1 else ''}" if len(record.priced) > 1 else ""
    )


def _format_token_limit(number: int | None) -> str | None:
    return None if number is None else f"{number:,} tokens"
