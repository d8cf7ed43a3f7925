"""Schemas of prices, usage and costs in the OpenAPI document."""

from collections.abc import Mapping

from webapp.api.v1.core.schema_types import (
    AMOUNT,
    COUNT,
    FLAG,
    INTEGER,
    REF,
    TEXT,
    TIMESTAMP,
    Schema,
    array_of,
    enum_of,
    list_of,
    nullable,
    request_object,
    response_object,
    schema_of,
    schema_ref,
)
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.catalog.rate_schemas import MAX_PER
from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.pricing import PRICE_STATES, SOURCE_KINDS
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, TIER_SYNONYMS
from webapp.domain.pricing.usage import MAX_QUANTITY, METER_ALIASES

QUANTITY = schema_of("integer", minimum=0, maximum=MAX_QUANTITY)
TIER = enum_of(SERVICE_TIERS)
REQUESTED_TIER = enum_of((*SERVICE_TIERS, *TIER_SYNONYMS))
ATTRIBUTES = schema_of(
    "object",
    description="Conditions of a call or a rate, such as quality, size, region or speed: at most five.",
    propertyNames={"pattern": "^[a-z_]{1,40}$"},
    additionalProperties=schema_of("string", minLength=1, maxLength=60),
    maxProperties=5,
)
SECONDS = {
    "description": "Up to three decimals, as a number or a decimal string.",
    "anyOf": [schema_of("number", minimum=0, maximum=MAX_QUANTITY), schema_of("string", pattern=r"^[0-9]{1,12}(\.[0-9]{1,3})?$")],
}
QUANTITY_RESULT = {"anyOf": [COUNT, AMOUNT]}
WINDOW = schema_of(
    "object",
    description="Hours of the day, and days of the week (0 is Monday; none means all), in the IANA time zone `tz` or in UTC.",
    properties={"days": array_of(schema_of("integer", minimum=0, maximum=6)), "from": TEXT, "to": TEXT, "tz": nullable(TEXT)},
)

PRICE_FIELDS: Mapping[str, Schema] = {
    "state": enum_of(PRICE_STATES),
    "effective_from": TIMESTAMP,
    "currency": schema_of("string", pattern="^[A-Z]{3}$", examples=["USD"]),
    "rates": array_of(schema_ref("Rate")),
    "media_at_text_rate": FLAG,
    "minimum": nullable(AMOUNT),
    "surcharge_percent": nullable(AMOUNT),
    "note": TEXT,
    "corrects": nullable(INTEGER),
}
COST_INPUT_FIELDS: Mapping[str, Schema] = {
    "usage": schema_ref("Usage"),
    "at": nullable(TIMESTAMP),
    "service_tier": nullable(REQUESTED_TIER),
    "attributes": nullable(ATTRIBUTES),
}
CANCELS = FLAG | {"description": "Whether this row cancels the scheduled price that it corrects. The price before continues."}
QUOTED_PRICE_FIELDS = ("currency", "rates", "media_at_text_rate", "minimum", "surcharge_percent")
PRICE_SOURCE = response_object(kind=enum_of(SOURCE_KINDS), name=nullable(TEXT), url=nullable(TEXT), verified_at=nullable(TIMESTAMP))
USAGE = request_object((), **dict.fromkeys((*METERS, *METER_ALIASES), QUANTITY) | {"second": SECONDS}) | {
    "description": "Quantities by meter. `input` counts every input token, cached ones included; `output` includes `reasoning`.",
    "examples": [{"input": 12000, "output": 300, "cache_read": 8000}],
}

PRICING_SCHEMAS: Mapping[str, Schema] = {
    "Price": response_object(id=nullable(INTEGER), **PRICE_FIELDS, cancels=CANCELS, effective_to=nullable(TIMESTAMP), source=PRICE_SOURCE),
    "PriceList": list_of("Price"),
    "Rate": schema_of(
        "object",
        required=["meter", "amount", "per"],
        additionalProperties=False,
        properties={
            "meter": enum_of(METERS),
            "amount": AMOUNT,
            "per": schema_of("integer", minimum=1, maximum=MAX_PER),
            "above": nullable(COUNT),
            "service_tier": REQUESTED_TIER,
            "window": nullable(WINDOW),
            "when": nullable(ATTRIBUTES),
        },
    ),
    "Usage": USAGE,
    "Cost": response_object(
        {"rounded": FLAG, "surcharge": AMOUNT, "attributes": ATTRIBUTES},
        model=nullable(TEXT),
        at=nullable(TIMESTAMP),
        currency=nullable(TEXT),
        total=nullable(AMOUNT),
        complete=FLAG,
        price_id=nullable(INTEGER),
        price_state=enum_of(PRICE_STATES),
        service_tier=TIER,
        lines=array_of(schema_ref("CostLine")),
        missing=array_of(TEXT),
    ),
    "CostLine": response_object(
        {"rounded": FLAG},
        meter=enum_of(METERS),
        quantity=QUANTITY_RESULT,
        billed_as=enum_of(METERS),
        amount=AMOUNT,
        per=COUNT,
        above=nullable(COUNT),
        cost=AMOUNT,
    ),
    "CostRequest": request_object(("model", "usage"), model=REF, **COST_INPUT_FIELDS),
    "CostBatchRequest": request_object(("items",), items=schema_of("array", items=schema_ref("CostRequest"), maxItems=1000)),
    "CostBatch": response_object(
        data=array_of({"anyOf": [schema_ref("Cost"), schema_ref("Problem")]}),
        total=nullable(AMOUNT),
        totals=schema_of("object", additionalProperties=AMOUNT),
        complete=FLAG,
    ),
    "QuoteRequest": request_object(
        ("price", "usage"),
        price=request_object(("currency", "rates"), **{name: PRICE_FIELDS[name] for name in QUOTED_PRICE_FIELDS}),
        **COST_INPUT_FIELDS,
    ),
    "CompareRequest": request_object(
        ("usage",),
        models=nullable(array_of(REF)),
        type=nullable(enum_of(MODEL_TYPES)),
        capabilities=nullable(array_of(TEXT)),
        min_context=nullable(COUNT),
        **COST_INPUT_FIELDS,
    ),
    "Comparison": list_of("Cost"),
}
