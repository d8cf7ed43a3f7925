"""JSON Schemas of incidents and runs."""

from collections.abc import Mapping

from webapp.api.v1.core.schema_types import (
    AMOUNT,
    COUNT,
    FLAG,
    OBJECT,
    REF,
    TEXT,
    Schema,
    array_of,
    enum_of,
    nullable,
    request_object,
    response_object,
    schema_of,
    schema_ref,
)
from webapp.domain.incidents.incidents import PRIORITIES, SEVERITIES, STATUSES, TYPES
from webapp.domain.pricing.spend import COST_STATES

RUN_SCHEMAS: Mapping[str, Schema] = {
    "Incident": request_object(
        ("title",),
        title=TEXT,
        description=TEXT,
        severity=enum_of(SEVERITIES),
        status=enum_of(STATUSES),
        metadata=OBJECT,
        alerts=array_of(request_object(("name",), name=TEXT, description=TEXT, labels=schema_of("object", additionalProperties=TEXT))),
    ),
    "RunRequest": request_object(("incident",), incident=schema_ref("Incident"), model=nullable(REF), template=nullable(TEXT), cache=FLAG),
    "Recommendation": response_object(
        type=enum_of(TYPES), priority=enum_of(PRIORITIES), title=TEXT, description=TEXT, details=OBJECT, actions=array_of(TEXT)
    ),
    "Run": response_object(
        id=TEXT,
        status=enum_of(("succeeded", "failed", "fell_back")),
        model=nullable(TEXT),
        served_model=nullable(TEXT),
        driver=TEXT,
        source=enum_of(("database", "environment", "local")),
        recommendations=array_of(schema_ref("Recommendation")),
        usage=nullable(OBJECT),
        cost=nullable(schema_ref("Cost")),
        cost_state=enum_of(COST_STATES),
        reported_cost=nullable(response_object(amount=AMOUNT, currency=TEXT)),
        reported_difference=nullable(TEXT),
        latency_ms=COUNT,
        cached=FLAG,
        error=nullable(response_object(code=TEXT, detail=TEXT)),
    ),
}
