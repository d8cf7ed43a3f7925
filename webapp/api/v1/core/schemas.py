"""The shapes of the contract as JSON Schema, for the description."""

from collections.abc import Mapping

from webapp.api.v1.core.schema_types import (
    AMOUNT,
    COUNT,
    FLAG,
    INTEGER,
    OBJECT,
    TEXT,
    Schema,
    answered,
    listed,
    many,
    maybe,
    of,
    page_of,
    taken,
    to,
    words,
)
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.catalog.input_schemas import MODEL_REQUIRED, PRICE_REQUIRED, PROVIDER_REQUIRED
from webapp.domain.incidents.incidents import PRIORITIES, SEVERITIES, STATUSES, TYPES
from webapp.domain.pricing.pricing import PRICE_STATES, SERVICE_TIERS, SOURCE_KINDS
from webapp.domain.pricing.usage import MAX_QUANTITY, METER_ALIASES, METERS
from webapp.domain.usage.usage_summary import GROUPS

MOMENT = of("string", format="date-time", examples=["2026-11-21T00:00:00Z"])
DAY = of("string", format="date")
QUANTITY = of("integer", minimum=0, maximum=MAX_QUANTITY)
REF = of("string", examples=["openai/gpt-4o-mini"])
TIER = words(SERVICE_TIERS)
WINDOW = of(
    "object",
    description="Hours of the day in UTC, and days of the week (0 is Monday; none means all).",
    properties={"days": many(of("integer", minimum=0, maximum=6)), "from": TEXT, "to": TEXT},
)

MODEL_FIELDS: Mapping[str, Schema] = {
    "provider": TEXT,
    "model_id": TEXT,
    "display_name": TEXT,
    "type": words(MODEL_TYPES),
    "capabilities": many(TEXT),
    "context_window": maybe(INTEGER),
    "max_output_tokens": maybe(INTEGER),
    "active": FLAG,
    "default": FLAG,
    "aliases": many(TEXT),
    "sort_order": INTEGER,
    "released_on": maybe(DAY),
    "deprecated_on": maybe(DAY),
    "retires_on": maybe(DAY),
    "successor": maybe(TEXT),
    "description": TEXT,
    "quirks": OBJECT,
}
PROVIDER_FIELDS: Mapping[str, Schema] = {
    "slug": TEXT,
    "display_name": TEXT,
    "driver": TEXT,
    "base_url": maybe(TEXT),
    "active": FLAG,
    "default_temperature": maybe(AMOUNT),
    "default_max_tokens": maybe(INTEGER),
    "timeout_seconds": maybe(INTEGER),
    "config": OBJECT,
    "required_environment": many(TEXT),
    "allow_shared_key": FLAG,
    "allow_personal_keys": FLAG,
    "sort_order": INTEGER,
    "website": maybe(TEXT),
    "documentation_url": maybe(TEXT),
    "description": TEXT,
}
SHOWN_WITH_PROVIDER: Mapping[str, Schema] = {
    "id": maybe(INTEGER),
    "primary": FLAG,
    "models": COUNT,
    "has_key": FLAG,
    "updated_at": maybe(MOMENT),
    "version": INTEGER,
}
PUBLIC_OF_PROVIDER = (
    "slug",
    "display_name",
    "driver",
    "base_url",
    "active",
    "required_environment",
    "website",
    "documentation_url",
    "description",
    "sort_order",
)
PRICE_FIELDS: Mapping[str, Schema] = {
    "state": words(PRICE_STATES),
    "effective_from": MOMENT,
    "currency": of("string", pattern="^[A-Z]{3}$", examples=["USD"]),
    "rates": many(to("Rate")),
    "note": TEXT,
    "corrects": maybe(INTEGER),
}
COSTED: Mapping[str, Schema] = {"usage": to("Usage"), "at": maybe(MOMENT), "service_tier": maybe(TIER)}
MODEL = answered(id=maybe(INTEGER), ref=REF, **MODEL_FIELDS, supported=FLAG, price=maybe(to("Price")), updated_at=MOMENT, version=INTEGER)
PRICE_SOURCE = answered(kind=words(SOURCE_KINDS), name=maybe(TEXT), url=maybe(TEXT), verified_at=maybe(MOMENT))
USAGE = taken((), **dict.fromkeys((*METERS, *METER_ALIASES), QUANTITY)) | {
    "description": "Quantities by meter. `input` counts every input token, cached ones included; `output` includes `reasoning`.",
    "examples": [{"input": 12000, "output": 300, "cache_read": 8000}],
}

_registry: Mapping[str, Schema] = {
    "Model": MODEL,
    "ModelPage": page_of("Model"),
    "Price": answered(id=maybe(INTEGER), **PRICE_FIELDS, effective_to=maybe(MOMENT), source=PRICE_SOURCE),
    "PriceList": listed("Price"),
    "Rate": of(
        "object",
        required=["meter", "amount", "per"],
        additionalProperties=False,
        properties={
            "meter": words(METERS),
            "amount": AMOUNT,
            "per": of("integer", minimum=1),
            "above": maybe(COUNT),
            "service_tier": TIER,
            "window": maybe(WINDOW),
        },
    ),
    "Provider": answered(**{name: PROVIDER_FIELDS[name] for name in PUBLIC_OF_PROVIDER}, **SHOWN_WITH_PROVIDER),
    "ProviderList": listed("Provider"),
    "ManagedProvider": answered(**PROVIDER_FIELDS, **SHOWN_WITH_PROVIDER),
    "ManagedProviderPage": page_of("ManagedProvider"),
    "Supported": answered(
        model=REF,
        ref=maybe(TEXT),
        supported=FLAG,
        successor=maybe(TEXT),
        reason=maybe(words(("unknown", "ambiguous", "inactive", "provider_inactive", "retired"))),
    ),
    "Defaults": answered(data=of("object", additionalProperties=to("Model"))),
    "Snapshot": answered(
        instance=TEXT,
        revision=INTEGER,
        providers=many(to("Provider")),
        patterns=many(many(TEXT)),
        models=many({"allOf": [to("Model"), answered(prices=many(to("Price")))]}),
    ),
    "Explanation": answered(
        ref=TEXT,
        at=MOMENT,
        supported=FLAG,
        reason=maybe(TEXT),
        steps=many(answered(step=TEXT, looked_for=TEXT, found=many(TEXT))),
        model=maybe(to("Model")),
        price=maybe(to("Price")),
        candidates=many(TEXT),
        suggestions=many(TEXT),
    ),
}
_costs: Mapping[str, Schema] = {
    "Usage": USAGE,
    "Cost": answered(
        model=maybe(TEXT),
        at=maybe(MOMENT),
        currency=maybe(TEXT),
        total=maybe(AMOUNT),
        complete=FLAG,
        price_id=maybe(INTEGER),
        price_state=words(PRICE_STATES),
        service_tier=TIER,
        lines=many(to("CostLine")),
        missing=many(TEXT),
    ),
    "CostLine": answered(
        meter=words(METERS), quantity=COUNT, billed_as=words(METERS), amount=AMOUNT, per=COUNT, above=maybe(COUNT), cost=AMOUNT
    ),
    "CostRequest": taken(("model", "usage"), model=REF, **COSTED),
    "CostBatchRequest": taken(("items",), items=of("array", items=to("CostRequest"), maxItems=1000)),
    "CostBatch": answered(
        data=many({"anyOf": [to("Cost"), to("Problem")]}),
        total=maybe(AMOUNT),
        totals=of("object", additionalProperties=AMOUNT),
        complete=FLAG,
    ),
    "QuoteRequest": taken(("price", "usage"), price=taken(("currency", "rates"), currency=TEXT, rates=many(to("Rate"))), **COSTED),
    "CompareRequest": taken(
        ("usage",),
        models=maybe(many(REF)),
        type=maybe(words(MODEL_TYPES)),
        capabilities=maybe(many(TEXT)),
        min_context=maybe(COUNT),
        **COSTED,
    ),
    "Comparison": listed("Cost"),
}
SUMMARY: Mapping[str, Schema] = {
    "records": COUNT,
    "usage": of("object", additionalProperties=COUNT),
    "totals": of("object", additionalProperties=AMOUNT),
    "complete": FLAG,
    "unpriced": COUNT,
    "incomplete": COUNT,
}
_usage: Mapping[str, Schema] = {
    "UsageRecord": answered(id=TEXT, model=REF, project=maybe(TEXT), usage=to("Usage"), at=MOMENT, cost=to("Cost"), created_at=MOMENT),
    "UsageSummary": answered(since=MOMENT, until=MOMENT, group_by=words(GROUPS), data=many(answered(**SUMMARY)), total=answered(**SUMMARY)),
}
_entries: Mapping[str, Schema] = {
    "NewModel": taken(MODEL_REQUIRED, **MODEL_FIELDS),
    "ModelChange": taken((), **MODEL_FIELDS),
    "NewProvider": taken(PROVIDER_REQUIRED, **PROVIDER_FIELDS),
    "ProviderChange": taken((), **PROVIDER_FIELDS),
    "NewPrice": taken(
        PRICE_REQUIRED,
        **PRICE_FIELDS,
        source=taken((), kind=words(("manual", "import")), name=maybe(TEXT), url=maybe(TEXT), verified_at=maybe(MOMENT)),
    ),
    "NewCredential": taken(("api_key",), api_key=of("string", writeOnly=True, minLength=4, maxLength=4096)),
}
_runs: Mapping[str, Schema] = {
    "Incident": taken(
        ("title",),
        title=TEXT,
        description=TEXT,
        severity=words(SEVERITIES),
        status=words(STATUSES),
        metadata=OBJECT,
        alerts=many(taken(("name",), name=TEXT, description=TEXT, labels=of("object", additionalProperties=TEXT))),
    ),
    "RunRequest": taken(("incident",), incident=to("Incident"), model=maybe(REF), template=maybe(TEXT), cache=FLAG),
    "Recommendation": answered(
        type=words(TYPES), priority=words(PRIORITIES), title=TEXT, description=TEXT, details=OBJECT, actions=many(TEXT)
    ),
    "Run": answered(
        id=TEXT,
        status=words(("succeeded", "failed", "fell_back")),
        model=maybe(TEXT),
        driver=TEXT,
        source=words(("database", "environment", "local")),
        recommendations=many(to("Recommendation")),
        usage=maybe(OBJECT),
        cost=maybe(to("Cost")),
        latency_ms=COUNT,
        cached=FLAG,
        error=maybe(answered(code=TEXT, detail=TEXT)),
    ),
}
_files: Mapping[str, Schema] = {
    "Imported": answered(
        dry_run=FLAG,
        added=COUNT,
        changed=COUNT,
        same=COUNT,
        changes=many(
            answered(
                kind=words(("provider", "model", "price")),
                name=TEXT,
                state=words(("added", "changed")),
                fields=many(answered(field=TEXT, before=maybe(TEXT), after=maybe(TEXT))),
                questions=many(TEXT),
            )
        ),
    )
}
PROBLEM = answered(type=TEXT, title=TEXT, status=INTEGER, code=TEXT, detail=TEXT)
PROBLEM["properties"] |= {
    "errors": many(answered(field=TEXT, message=TEXT)),
    "suggestions": many(TEXT),
    "candidates": many(TEXT),
    "users": many(TEXT),
}
SCHEMAS: Mapping[str, Schema] = {**_registry, **_costs, **_usage, **_entries, **_runs, **_files, "Problem": PROBLEM}
