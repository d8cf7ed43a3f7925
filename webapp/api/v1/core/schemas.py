"""JSON Schemas of all requests and responses, for the OpenAPI document."""

from collections.abc import Mapping

from webapp.api.v1.core.pricing_schemas import NEW_RATES, PRICE_FIELDS, PRICING_SCHEMAS, QUANTITY_RESULT
from webapp.api.v1.core.run_schemas import RUN_SCHEMAS
from webapp.api.v1.core.schema_types import (
    AMOUNT,
    COUNT,
    FLAG,
    INTEGER,
    OBJECT,
    REF,
    TEXT,
    TIMESTAMP,
    Schema,
    array_of,
    enum_of,
    list_of,
    nullable,
    page_of,
    request_object,
    response_object,
    schema_of,
    schema_ref,
)
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.catalog.input_schemas import MODEL_REQUIRED, PRICE_REQUIRED, PROVIDER_REQUIRED
from webapp.domain.usage.usage_summary import GROUPS

DAY = schema_of("string", format="date")
MODEL_FIELDS: Mapping[str, Schema] = {
    "provider": TEXT,
    "model_id": TEXT,
    "display_name": TEXT,
    "type": enum_of(MODEL_TYPES),
    "capabilities": array_of(TEXT),
    "context_window": nullable(INTEGER),
    "max_output_tokens": nullable(INTEGER),
    "active": FLAG,
    "default": FLAG,
    "aliases": array_of(TEXT),
    "sort_order": INTEGER,
    "released_on": nullable(DAY),
    "deprecated_on": nullable(DAY),
    "retires_on": nullable(DAY),
    "successor": nullable(TEXT),
    "description": TEXT,
    "quirks": OBJECT,
}
PROVIDER_FIELDS: Mapping[str, Schema] = {
    "slug": TEXT,
    "display_name": TEXT,
    "driver": TEXT,
    "base_url": nullable(TEXT),
    "active": FLAG,
    "default_temperature": nullable(AMOUNT),
    "default_max_tokens": nullable(INTEGER),
    "timeout_seconds": nullable(INTEGER),
    "config": OBJECT,
    "required_environment": array_of(TEXT),
    "allow_shared_key": FLAG,
    "allow_personal_keys": FLAG,
    "sort_order": INTEGER,
    "website": nullable(TEXT),
    "documentation_url": nullable(TEXT),
    "description": TEXT,
}
PROVIDER_STATUS_FIELDS: Mapping[str, Schema] = {
    "id": nullable(INTEGER),
    "primary": FLAG,
    "models": COUNT,
    "has_key": FLAG,
    "updated_at": nullable(TIMESTAMP),
    "version": INTEGER,
}
PUBLIC_PROVIDER_FIELDS = (
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
CONFIRM = array_of(TEXT) | {"description": "Keys of the `confirmations` of a response with the code `confirmation_required`."}
_name_change = response_object(name=TEXT, before=REF, after=array_of(REF), recent_calls=INTEGER)
CONFIRMATION = response_object({"names": array_of(_name_change)}, code=TEXT, message=TEXT, key=TEXT)
MODEL = response_object(
    id=nullable(INTEGER),
    ref=REF,
    **MODEL_FIELDS,
    supported=FLAG,
    price=nullable(schema_ref("Price")),
    updated_at=TIMESTAMP,
    version=INTEGER,
)
_registry: Mapping[str, Schema] = {
    "Model": MODEL,
    "ModelPage": page_of("Model"),
    "Provider": response_object(**{name: PROVIDER_FIELDS[name] for name in PUBLIC_PROVIDER_FIELDS}, **PROVIDER_STATUS_FIELDS),
    "ProviderList": list_of("Provider"),
    # Copies of the registry hold only the public fields, so the others are absent while the database is unreachable.
    "ManagedProvider": response_object(
        {name: schema for name, schema in PROVIDER_FIELDS.items() if name not in PUBLIC_PROVIDER_FIELDS},
        **{name: PROVIDER_FIELDS[name] for name in PUBLIC_PROVIDER_FIELDS},
        **PROVIDER_STATUS_FIELDS,
    ),
    "ManagedProviderPage": page_of("ManagedProvider"),
    "Supported": response_object(
        model=REF,
        ref=nullable(TEXT),
        supported=FLAG,
        successor=nullable(TEXT),
        reason=nullable(enum_of(("unknown", "ambiguous", "inactive", "provider_inactive", "retired"))),
    ),
    "Defaults": response_object(data=schema_of("object", additionalProperties=schema_ref("Model"))),
    "Snapshot": response_object(
        instance=TEXT,
        revision=INTEGER,
        providers=array_of(schema_ref("Provider")),
        patterns=array_of(array_of(TEXT)),
        models=array_of({"allOf": [schema_ref("Model"), response_object(prices=array_of(schema_ref("Price")))]}),
    ),
    "Explanation": response_object(
        ref=TEXT,
        at=TIMESTAMP,
        supported=FLAG,
        reason=nullable(TEXT),
        steps=array_of(response_object(step=TEXT, looked_for=TEXT, found=array_of(TEXT))),
        model=nullable(schema_ref("Model")),
        price=nullable(schema_ref("Price")),
        candidates=array_of(TEXT),
        suggestions=array_of(TEXT),
    ),
}
SUMMARY: Mapping[str, Schema] = {
    "records": COUNT,
    "usage": schema_of("object", additionalProperties=QUANTITY_RESULT),
    "totals": schema_of("object", additionalProperties=AMOUNT),
    "complete": FLAG,
    "unpriced": COUNT,
    "incomplete": COUNT,
}
_usage: Mapping[str, Schema] = {
    "UsageRecord": response_object(
        id=TEXT, model=REF, project=nullable(TEXT), usage=schema_ref("Usage"), at=TIMESTAMP, cost=schema_ref("Cost"), created_at=TIMESTAMP
    ),
    # A group has the name that `group_by` selects. It is null for usage without a project.
    "UsageGroup": schema_of("object", properties={name: nullable(TEXT) for name in GROUPS} | dict(SUMMARY), required=list(SUMMARY)),
    "UsageSummary": response_object(
        since=TIMESTAMP,
        until=TIMESTAMP,
        group_by=enum_of(GROUPS),
        data=array_of(schema_ref("UsageGroup")),
        total=response_object(**SUMMARY),
    ),
}
_entries: Mapping[str, Schema] = {
    "NewModel": request_object(MODEL_REQUIRED, **MODEL_FIELDS, confirm=CONFIRM),
    "ModelChange": request_object((), **MODEL_FIELDS, confirm=CONFIRM),
    "NewProvider": request_object(PROVIDER_REQUIRED, **PROVIDER_FIELDS, confirm=CONFIRM),
    "ProviderChange": request_object((), **PROVIDER_FIELDS, confirm=CONFIRM),
    "NewPrice": request_object(
        PRICE_REQUIRED,
        **PRICE_FIELDS,
        rates=NEW_RATES,
        source=request_object(
            (), kind=enum_of(("manual", "import")), name=nullable(TEXT), url=nullable(TEXT), verified_at=nullable(TIMESTAMP)
        ),
    ),
    "NewCredential": request_object(("api_key",), api_key=schema_of("string", writeOnly=True, minLength=4, maxLength=4096)),
}
_files: Mapping[str, Schema] = {
    "Imported": response_object(
        dry_run=FLAG,
        added=COUNT,
        changed=COUNT,
        same=COUNT,
        changes=array_of(
            response_object(
                kind=enum_of(("provider", "model", "price")),
                name=TEXT,
                state=enum_of(("added", "changed")),
                fields=array_of(response_object(field=TEXT, before=nullable(TEXT), after=nullable(TEXT))),
                questions=array_of(TEXT),
            )
        ),
        confirmations=array_of(CONFIRMATION),
    )
}
PROBLEM = response_object(type=TEXT, title=TEXT, status=INTEGER, code=TEXT, detail=TEXT)
PROBLEM["properties"] |= {
    "errors": array_of(response_object(field=TEXT, message=TEXT)),
    "suggestions": array_of(TEXT),
    "candidates": array_of(TEXT),
    "users": array_of(TEXT),
    "confirmations": array_of(CONFIRMATION),
}
SCHEMAS: Mapping[str, Schema] = {**_registry, **PRICING_SCHEMAS, **_usage, **_entries, **RUN_SCHEMAS, **_files, "Problem": PROBLEM}
