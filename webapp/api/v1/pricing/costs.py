"""Endpoints for the cost of one or many calls, at a price outside the registry, and on several models."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from flask import Response

from webapp.api.v1.catalog.registry_views import resolve_model, utc_now
from webapp.api.v1.core.encoded_registry import EncodedRegistry, request_registry
from webapp.api.v1.core.json_body import check_object, parse_decimal, read_json_object
from webapp.api.v1.core.parameters import AT, INTEGER, MODEL, SERVICE_TIER, Parameter, parse_integer, read_query
from webapp.api.v1.core.responses import conditional_response, encode, json_response
from webapp.domain.catalog.entities import MODEL_TYPES, ModelInfo
from webapp.domain.catalog.input_schemas import MAX_TOKENS, PRICE_CHECKS
from webapp.domain.catalog.rate_schemas import validate_attributes
from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.pricing import PRICE_TERMS, Price
from webapp.domain.pricing.serializers import cost_document
from webapp.domain.pricing.service_tiers import STANDARD, parse_service_tier
from webapp.domain.pricing.spend import known_amount
from webapp.domain.pricing.usage import METER_ALIASES, Usage
from webapp.domain.shared import validators
from webapp.domain.shared.errors import Invalid, Malformed, ModeldeskError
from webapp.domain.shared.money import ZERO, add_to, format_decimal
from webapp.domain.shared.timestamps import EPOCH, format_timestamp
from webapp.domain.shared.validators import Check, validate
from webapp.web.errors import problem_document

MAX_ITEMS = 1_000
OTHER_METERS = "For other meters and for attributes, send POST /cost."
COST_QUERY = (
    MODEL,
    *(
        Parameter(spelling, parse_integer, INTEGER, f"Units of the meter {meter}. {OTHER_METERS}")
        for spelling, meter in METER_ALIASES.items()
    ),
    AT,
    SERVICE_TIER,
)


def check_ref(value: object, field: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Invalid.field(field, "must be a ref such as openai/gpt-4o-mini")
    return value


def check_usage(value: object, field: str) -> Usage:
    """Parse usage by meter. Other spellings and unknown meters take the slower path, which reports the invalid field."""
    quantities = check_object(value, field)
    try:
        return Usage(**quantities)
    except TypeError:
        return Usage.of(quantities)


COST_CHECKS: Mapping[str, Check] = {
    "model": check_ref,
    "usage": check_usage,
    "at": validators.optional(validators.timestamp),
    "service_tier": validators.optional(parse_service_tier),
    "attributes": validators.optional(validate_attributes),
}
COST_REQUIRED = ("model", "usage")
CALL_FIELDS = ("usage", "at", "service_tier", "attributes")
QUOTE_CHECKS: Mapping[str, Check] = {
    "price": lambda value, field: validate(check_object(value, field), QUOTED_PRICE_CHECKS, ("currency", "rates")),
    **{name: COST_CHECKS[name] for name in CALL_FIELDS},
}
QUOTED_PRICE_CHECKS: Mapping[str, Check] = {name: PRICE_CHECKS[name] for name in ("currency", "rates", *PRICE_TERMS)}
COMPARE_CHECKS: Mapping[str, Check] = {
    "models": validators.optional(validators.list_of(check_ref, 200)),
    "type": validators.optional(validators.choice(MODEL_TYPES)),
    "capabilities": validators.optional(validators.list_of(validators.line(40, 1), 40)),
    "min_context": validators.optional(validators.integer(0, MAX_TOKENS)),
    **{name: COST_CHECKS[name] for name in CALL_FIELDS},
}


def get_cost() -> Response:
    state, query = request_registry(), read_query(COST_QUERY)
    at = query.get("at") or utc_now()
    usage = Usage.of({spelling: query[spelling] for spelling in METER_ALIASES if spelling in query})
    cost = model_cost(resolve_model(state, query["model"]), {**query, "usage": usage}, at)
    return conditional_response(state.snapshot, f"{state.tag}.{format_timestamp(at)}", lambda: state.encode_cost(cost).encode())


def post_cost() -> Response:
    state = request_registry()
    cost = calculate_cost(state, read_json_object(parse_decimal), utc_now())
    return json_response(state.snapshot, state.encode_cost(cost).encode())


def calculate_cost(state: EncodedRegistry, item: Mapping[str, object], now: datetime) -> Cost:
    """Calculate the cost for a body or a batch item. Raises `Invalid`, `Malformed`, `UnknownModel` or `AmbiguousModel`."""
    values = validate(item, COST_CHECKS, COST_REQUIRED)
    return model_cost(resolve_model(state, values["model"]), values, values.get("at") or now)


def model_cost(model: ModelInfo, call: Mapping[str, Any], at: datetime) -> Cost:
    """Return the cost of a validated call (`CALL_FIELDS`) on a model."""
    return price_call(model.price_at(at), call, at, model.ref)


def price_call(price: Price | None, call: Mapping[str, Any], at: datetime, model: str | None = None) -> Cost:
    tier = call.get("service_tier") or STANDARD
    return cost_of(price, call["usage"], at=at, service_tier=tier, attributes=call.get("attributes"), model=model)


class CostTotals(NamedTuple):
    """Totals by currency, whether they include every cost in full, and the number of items whose cost is unknown."""

    totals: Mapping[str, Decimal]
    complete: bool
    unknown: int

    @property
    def total(self) -> Decimal | None:
        """The total, or None if it is unknown or in several currencies. The total of no costs is zero."""
        if len(self.totals) > 1 or (self.unknown and not any(self.totals.values())):
            return None
        return next(iter(self.totals.values()), ZERO)


def post_costs() -> Response:
    """Calculate many costs, in order. An invalid item becomes a problem document in its place."""
    state, now = request_registry(), utc_now()
    costs = [_cost_or_error(state, item, now) for item in _batch_items(read_json_object(parse_decimal))]
    parts = [state.encode_cost(cost) if isinstance(cost, Cost) else encode(problem_document(cost)).decode() for cost in costs]
    result = _total_costs(costs)
    summary = {
        "total": None if (total := result.total) is None else format_decimal(total),
        "totals": {currency: format_decimal(total) for currency, total in result.totals.items()},
        "complete": result.complete,
    }
    body = f'{{"data":[{",".join(parts)}],{encode(summary)[1:].decode()}'
    return json_response(state.snapshot, body.encode())


def _batch_items(body: Mapping[str, Any]) -> list[Any]:
    items: list[Any] = validate(body, {"items": _check_items}, ("items",))["items"]
    return items


def _check_items(value: object, field: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise Invalid.field(field, f"must be a list of at most {MAX_ITEMS:,}")
    return value


def _cost_or_error(state: EncodedRegistry, item: object, now: datetime) -> Cost | ModeldeskError:
    try:
        if not isinstance(item, dict):
            raise Malformed("An item must be an object with model and usage.")
        return calculate_cost(state, item, now)
    except ModeldeskError as error:
        return error


def _total_costs(costs: Iterable[Cost | ModeldeskError]) -> CostTotals:
    """Sum the costs by currency. Amounts in different currencies are never added."""
    totals: dict[str, Decimal] = {}
    complete, unknown = True, 0
    for cost in costs:
        amount = known_amount(cost.total, complete=cost.complete) if isinstance(cost, Cost) else None
        complete = complete and isinstance(cost, Cost) and cost.complete
        if amount is None or not isinstance(cost, Cost) or cost.currency is None:
            unknown += 1
        else:
            add_to(totals, cost.currency, amount)
    return CostTotals(totals, complete, unknown)


def post_quote() -> Response:
    state = request_registry()
    values = validate(read_json_object(parse_decimal), QUOTE_CHECKS, ("price", "usage"))
    price = Price("priced" if values["price"]["rates"] else "unknown", EPOCH, **values["price"])
    cost = price_call(price, values, values.get("at") or utc_now())
    return json_response(state.snapshot, encode(cost_document(cost)))


def post_comparison() -> Response:
    state = request_registry()
    values = validate(read_json_object(parse_decimal), COMPARE_CHECKS, ("usage",))
    at = values.get("at") or utc_now()
    costs = [model_cost(model, values, at) for model in _list_matching_models(state, values)]
    costs.sort(key=_cheapest_first)
    return json_response(state.snapshot, f'{{"data":[{",".join(map(state.encode_cost, costs))}]}}'.encode())


def _list_matching_models(state: EncodedRegistry, values: Mapping[str, Any]) -> list[ModelInfo]:
    """Return the models that meet the requirements, from those named or from all supported models."""
    if values.get("models") is not None:
        candidates = {model.ref: model for model in (resolve_model(state, name) for name in values["models"])}
    else:
        candidates = {model.ref: model for model in state.snapshot.models if model.supported}
    capabilities, min_context, model_type = set(values.get("capabilities") or ()), values.get("min_context"), values.get("type")
    return [
        model
        for model in candidates.values()
        if model_type in (None, model.type)
        and capabilities.issubset(model.capabilities)
        and (not min_context or (model.context_window or 0) >= min_context)
    ]


def _cheapest_first(cost: Cost) -> tuple[bool, bool, str, Decimal, str]:
    """Sort key: incomplete costs after complete ones, because the missing part is not free. Unknown costs are last.

    Currencies stay together.
    """
    return cost.total is None, not cost.complete, cost.currency or "", cost.total or ZERO, cost.model or ""
