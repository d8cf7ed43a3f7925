"""Builders of JSON Schemas, and types that several schemas share."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Schema = dict[str, Any]
NO_PROPERTIES: Mapping[str, Schema] = MappingProxyType({})


def schema_ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def schema_of(kind: str, **keywords: object) -> Schema:
    return {"type": kind, **keywords}


def nullable(schema: Schema) -> Schema:
    """Return the schema with null allowed."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def array_of(item: Schema) -> Schema:
    return schema_of("array", items=item)


def enum_of(values: tuple[str, ...]) -> Schema:
    return schema_of("string", enum=list(values))


def response_object(optional: Mapping[str, Schema] = NO_PROPERTIES, /, **properties: Schema) -> Schema:
    """Return the schema of a response. All members but the `optional` ones are present.

    Later versions can add more, so clients should ignore unknown ones.
    """
    return schema_of("object", properties={**properties, **optional}, required=list(properties))


def request_object(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """Return the schema of a request body. Unknown members are rejected."""
    return schema_of("object", properties=properties, required=list(required), additionalProperties=False)


def page_of(name: str) -> Schema:
    return response_object(data=array_of(schema_ref(name)), next_cursor=nullable(TEXT), total=COUNT)


def list_of(name: str) -> Schema:
    return response_object(data=array_of(schema_ref(name)))


TEXT, FLAG, INTEGER = schema_of("string"), schema_of("boolean"), schema_of("integer")
COUNT = schema_of("integer", minimum=0)
ROW_ID = schema_of("integer", minimum=1)
OBJECT = schema_of("object")
REF = schema_of("string", examples=["openai/gpt-4o-mini"])
AMOUNT = schema_of("string", pattern=r"^[0-9]+(\.[0-9]+)?$", description="An exact decimal, as a string.", examples=["0.15"])
TIMESTAMP = schema_of("string", format="date-time", examples=["2026-11-21T00:00:00Z"])
