"""Builders of JSON Schemas, and the types that several schemas share."""

from typing import Any

Schema = dict[str, Any]


def to(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def of(kind: str, **more: object) -> Schema:
    return {"type": kind, **more}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def many(item: Schema) -> Schema:
    return of("array", items=item)


def words(values: tuple[str, ...]) -> Schema:
    return of("string", enum=list(values))


def answered(**properties: Schema) -> Schema:
    """An answer: every member is there. More may come with time, so callers should overlook what they do not know."""
    return of("object", properties=properties, required=list(properties))


def taken(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """A body: unknown members are refused."""
    return of("object", properties=properties, required=list(required), additionalProperties=False)


def page_of(name: str) -> Schema:
    return answered(data=many(to(name)), next_cursor=maybe(TEXT), total=COUNT)


def listed(name: str) -> Schema:
    return answered(data=many(to(name)))


TEXT, FLAG, INTEGER = of("string"), of("boolean"), of("integer")
COUNT = of("integer", minimum=0)
OBJECT = of("object")
AMOUNT = of("string", pattern=r"^[0-9]+(\.[0-9]+)?$", description="An exact decimal, as a string.", examples=["0.15"])
