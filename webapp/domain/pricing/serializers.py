"""Serializers of prices and costs as plain documents (contract, section 4.1), and parsers for copies of the registry.

Amounts are exact decimal strings and times are RFC 3339 in UTC. A document parses back to an equal value.
"""

from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from typing import Any, overload

from webapp.domain.pricing.costs import Cost, CostLine
from webapp.domain.pricing.pricing import PRICE_TERMS, Price, PriceSource, Rate
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.usage import quantity_document
from webapp.domain.pricing.windows import Window
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp

Document = dict[str, Any]

# The fields of a price document that decide what a call costs.
BILLING_FIELDS = ("state", "currency", "rates", *PRICE_TERMS)
# What a price document from before these fields existed means: it bills media at the rate of text.
IN_OLD_DOCUMENTS: Mapping[str, Any] = {"media_at_text_rate": True}


def window_document(window: Window | None) -> Document | None:
    if window is None:
        return None
    end = "24:00" if window.end == time() else f"{window.end:%H:%M}"
    zone = {"tz": window.tz} if window.tz else {}
    return {"days": list(window.days), "from": f"{window.start:%H:%M}", "to": end} | zone


def window_from(document: Mapping[str, Any] | None) -> Window | None:
    if document is None:
        return None
    end = time() if document["to"] == "24:00" else time.fromisoformat(document["to"])
    return Window(tuple(document.get("days") or ()), time.fromisoformat(document["from"]), end, document.get("tz"))


def rate_document(rate: Rate) -> Document:
    return {
        "meter": rate.meter,
        "amount": format_decimal(rate.amount),
        "per": rate.per,
        "above": rate.above,
        "service_tier": rate.service_tier,
        "window": window_document(rate.window),
        "when": dict(rate.when) or None,
    }


def rate_from(document: Mapping[str, Any]) -> Rate:
    return Rate(
        document["meter"],
        Decimal(document["amount"]),
        document["per"],
        document.get("above"),
        document.get("service_tier") or STANDARD,
        window_from(document.get("window")),
        tuple(sorted((document.get("when") or {}).items())),
    )


@overload
def price_document(price: Price) -> Document: ...
@overload
def price_document(price: Price | None) -> Document | None: ...
def price_document(price: Price | None) -> Document | None:
    """Return the document of a price, or None without one."""
    if price is None:
        return None
    return {
        "id": price.id,
        "state": price.state,
        "effective_from": format_timestamp(price.effective_from),
        "effective_to": _timestamp(price.effective_to),
        "currency": price.currency,
        "rates": [rate_document(rate) for rate in price.rates],
        "media_at_text_rate": price.media_at_text_rate,
        "minimum": _amount(price.minimum),
        "surcharge_percent": _amount(price.surcharge_percent),
        "source": {
            "kind": price.source.kind,
            "name": price.source.name,
            "url": price.source.url,
            "verified_at": _timestamp(price.source.verified_at),
        },
        "corrects": price.corrects,
        "cancels": price.cancels,
        "note": price.note,
    }


def billing_document(document: Mapping[str, Any]) -> Document:
    """Return the billing fields of a `price_document`, also of one from before some of them existed."""
    complete = {**IN_OLD_DOCUMENTS, **document}
    return {name: complete.get(name) for name in BILLING_FIELDS}


def price_from(document: Mapping[str, Any]) -> Price:
    """Return a price from a `price_document`, also from one from before some of its fields existed."""
    document = {**IN_OLD_DOCUMENTS, **document}
    source = document.get("source") or {}
    return Price(
        state=document["state"],
        effective_from=datetime.fromisoformat(document["effective_from"]),
        currency=document["currency"],
        rates=tuple(rate_from(rate) for rate in document["rates"]),
        source=PriceSource(source.get("kind", "seed"), source.get("name"), source.get("url"), _timestamp_from(source.get("verified_at"))),
        id=document.get("id"),
        corrects=document.get("corrects"),
        note=document.get("note") or "",
        media_at_text_rate=document["media_at_text_rate"],
        minimum=_amount_from(document.get("minimum")),
        surcharge_percent=_amount_from(document.get("surcharge_percent")),
    )


def cost_document(cost: Cost) -> Document:
    """Return a cost in the shape of the HTTP API."""
    rounded = {"rounded": True} if cost.rounded else {}
    attributes = {"attributes": dict(cost.attributes)} if cost.attributes else {}
    surcharge = {} if cost.surcharge is None else {"surcharge": format_decimal(cost.surcharge)}
    return {
        "model": cost.model,
        "at": _timestamp(cost.at),
        "currency": cost.currency,
        "total": _amount(cost.total),
        "complete": cost.complete,
        "price_id": cost.price_id,
        "price_state": cost.price_state,
        "service_tier": cost.service_tier,
        "lines": [_line_document(line) for line in cost.lines],
        "missing": list(cost.missing),
        **rounded,
        **surcharge,
        **attributes,
    }


def _line_document(line: CostLine) -> Document:
    document: Document = {
        "meter": line.meter,
        "quantity": quantity_document(line.quantity),
        "billed_as": line.rate.meter,
        "amount": format_decimal(line.rate.amount),
        "per": line.rate.per,
        "above": line.rate.above,
        "cost": format_decimal(line.cost),
    }
    return document | {"rounded": True} if line.rounded else document


def cost_line_from(document: Mapping[str, Any]) -> CostLine:
    """Return a line from its document. Of the conditions of its rate, the document states the threshold."""
    rate = Rate(document.get("billed_as", document["meter"]), Decimal(document["amount"]), document["per"], document.get("above"))
    quantity = document["quantity"]
    exact_quantity = Decimal(quantity) if isinstance(quantity, str) else quantity
    return CostLine(document["meter"], exact_quantity, rate, Decimal(document["cost"]), document.get("rounded", False))


def _amount(amount: Decimal | None) -> str | None:
    return None if amount is None else format_decimal(amount)


def _amount_from(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _timestamp(at: datetime | None) -> str | None:
    return None if at is None else format_timestamp(at)


def _timestamp_from(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
