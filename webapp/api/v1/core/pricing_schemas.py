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
from webapp.domain.catalog.rate_schemas import MAX_PER, MAX_RATES
from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.pricing import PRICE_STATES, PRICE_TERMS, SOURCE_KINDS
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
# An amount that can be entered. A cost can be longer.
ENTERED_AMOUNT = {**AMOUNT, "pattern": r"^[0-9]{1,9}(\.[0-9]{1,18})?$"}
TIME_OF_DAY = "([01][0-9]|2[0-3]):[0-5][0-9]"
WINDOW = schema_of(
    "object",
    description="Hours of the day, and days of the week (0 is Monday; none means all), in the IANA time zone `tz` or in UTC. "
    "The same `from` and `to`, or `00:00` to `24:00`, is the whole day.",
    properties={
        "days": schema_of("array", items=schema_of("integer", minimum=0, maximum=6), maxItems=7),
        "from": schema_of("string", pattern=f"^{TIME_OF_DAY}$", examples=["16:30"]),
        "to": schema_of("string", pattern=f"^({TIME_OF_DAY}|24:00)$", examples=["24:00"]),
        "tz": nullable(schema_of("string", maxLength=50, examples=["Asia/Shanghai"])),
    },
    required=["from", "to"],
    additionalProperties=False,
)
RATE_FIELDS: Mapping[str, Schema] = {
    "meter": enum_of(METERS),
    "amount": ENTERED_AMOUNT,
    "per": schema_of("integer", minimum=1, maximum=MAX_PER, description="The units that the amount is for, such as 60 or 1000000."),
    "above": nullable(schema_of("integer", minimum=0, maximum=MAX_QUANTITY)),
    "window": nullable(WINDOW),
    "when": nullable(ATTRIBUTES),
}

PRICE_FIELDS: Mapping[str, Schema] = {
    "state": enum_of(PRICE_STATES),
    "effective_from": TIMESTAMP,
    "currency": schema_of("string", pattern="^[A-Z]{3}$", examples=["USD"]),
    "media_at_text_rate": FLAG | {"description": "Whether media without a rate of their own cost what text costs."},
    "minimum": nullable(ENTERED_AMOUNT | {"description": "A line that costs more than 0 and less than this costs this."}),
    "surcharge_percent": nullable(ENTERED_AMOUNT | {"description": "Percent that are added to the total: at most 1000, three decimals."}),
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
NEW_RATES = schema_of("array", items=schema_ref("NewRate"), maxItems=MAX_RATES)
PRICE_SOURCE = response_object(kind=enum_of(SOURCE_KINDS), name=nullable(TEXT), url=nullable(TEXT), verified_at=nullable(TIMESTAMP))
USAGE = request_object((), **dict.fromkeys((*METERS, *METER_ALIASES), QUANTITY) | {"second": SECONDS}) | {
    "description": "Quantities by meter. `input` counts every input token, cached ones included; `output` includes `reasoning`.",
    "examples": [{"input": 12000, "output": 300, "cache_read": 8000}],
}

PRICING_SCHEMAS: Mapping[str, Schema] = {
    "Price": response_object(
        id=nullable(INTEGER),
        **PRICE_FIELDS,
        rates=array_of(schema_ref("Rate")),
        cancels=CANCELS,
        effective_to=nullable(TIMESTAMP),
        source=PRICE_SOURCE,
    ),
    "PriceList": list_of("Price"),
    "Rate": response_object(**RATE_FIELDS, service_tier=TIER),
    "NewRate": request_object(("meter", "amount", "per"), **RATE_FIELDS, service_tier=REQUESTED_TIER),
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
        price=request_object(("currency", "rates"), **{name: PRICE_FIELDS[name] for name in ("currency", *PRICE_TERMS)}, rates=NEW_RATES),
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
