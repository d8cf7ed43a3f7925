"""The OpenAPI 3.1 document, generated from the route table."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from webapp import __version__
from webapp.api.v1.core.authorization import Route
from webapp.api.v1.core.parameters import Parameter
from webapp.api.v1.core.schema_types import OBJECT, ROW_ID, TEXT, schema_ref
from webapp.api.v1.core.schemas import SCHEMAS
from webapp.domain.accounts.permissions import SCOPES, Permission
from webapp.web.errors import TITLE_BY_STATUS

Document = dict[str, Any]
PATH_VARIABLE = re.compile(r"<(?:path:)?([a-z_]+)>")
PATH_VARIABLE_DESCRIPTIONS: Mapping[str, str] = {
    "ref": "A ref, alias or bare model id. It can contain `/`, `:`, `@` and `~`, literal or percent-encoded. Slashes are never merged.",
    "number": "The id of the row.",
    "price": "The id of the price.",
    "slug": "The slug of the provider.",
    "model_type": "A type of models, such as text.",
    "run_id": "The id of the run.",
}
# The meaning of each problem `code`, and what to do. The HTML page has an anchor for each, and a problem's `type` links to it.
CODE_DESCRIPTIONS: Mapping[str, str] = {
    "malformed": "The request has a form that is not allowed here: an unknown field or parameter, one given twice, a float for an integer.",
    "malformed_json": "The body is not one JSON object in UTF-8, or it is nested too deeply.",
    "bad_request": "The request could not be understood, or names a host that is not served here.",
    "unauthenticated": "The token is missing, misspelt, expired or revoked.",
    "forbidden": "The token does not have the scope that this takes.",
    "not_found": "There is no such address or row.",
    "unknown_model": "No model answers to this ref. Nothing is guessed; `suggestions` are refs that look alike.",
    "no_default": "No model is the default for this type.",
    "unknown_template": "There is no template of that name.",
    "method_not_allowed": "This address exists, but not for this method. `Allow` says which it takes.",
    "timeout": "The request took too long to arrive.",
    "ambiguous_model": "Several models answer to this ref. Use one of the `candidates`.",
    "conflict": "It clashes with what is there.",
    "duplicate": "Such a row exists already.",
    "idempotency_key_reused": "The Idempotency-Key was used for another report. Nothing was recorded; use a new key for each call.",
    "in_use": "Other rows depend on it; `users` names them. Deactivate it instead, or choose another default or primary first.",
    "corrected": "The price was corrected by another one: use that one.",
    "started": "The price has started, so it cannot be canceled. Add a new price, or correct this one.",
    "canceled": "The price was canceled before it started.",
    "confirmation_required": "Send the request again with the keys of `confirmations` in the field `confirm` to accept its consequences.",
    "inactive": "It must be activated first.",
    "no_key": "The provider that should answer has no key.",
    "stale": "Somebody else changed the row since it was read. Load it again and repeat the change.",
    "too_large": "The body has more than 1,000,000 bytes; 10,000,000 for an import.",
    "too_long": "The address is too long.",
    "unsupported_media_type": "The body must be sent as application/json in UTF-8; an import also as application/yaml or text/csv.",
    "import_refused": "The file cannot be imported, and nothing was changed; `errors` names each wrong line.",
    "invalid": "The values make no sense; `errors` names each field and what is wrong with it.",
    "too_many_requests": "Too many requests. Wait as long as `Retry-After` says.",
    "internal": "Something went wrong on our side, and was logged under the request's id.",
    "error": "Something went wrong that has no code of its own.",
    "unavailable": "Not available just now. Try again after `Retry-After` seconds.",
    "database_unreachable": "The database is away. Reading goes on from the last good state; changes have to wait.",
    "disk_full": "The disk of the database is full. Reading goes on; changes are accepted again when an operator has freed some space.",
    "database_busy": "Another change holds the database. Try again shortly.",
    "database_read_only": "The database may only be read from here. Reading goes on.",
    "database_other_version": "The database is that of another version of Modeldesk. Reading goes on, nothing is written.",
    "keys_locked": "The encryption key is missing or wrong, so nothing that needs a provider's key works.",
}
INTRODUCTION = (
    "What models there are, whether they may be used and what they cost, exactly. Amounts are strings that hold exact decimals; times are "
    "RFC 3339 in UTC. Answers name the revision of the registry that they come from. Errors are problem documents (RFC 9457)."
)
# Bodies that are not JSON, or not only JSON.
OTHER_CONTENT_TYPES: Mapping[str, Mapping[str, Document]] = {
    "Page": {"text/html": TEXT},
    "CatalogueFile": {"application/json": OBJECT, "application/yaml": OBJECT, "text/csv": TEXT},
}
ORIGIN_HEADERS: Mapping[str, str] = {
    "Modeldesk-Revision": "The revision of the registry that this answer comes from.",
    "Modeldesk-Source": "`database`, `last-good` or `constants`.",
    "Modeldesk-As-Of": "When the database last confirmed it.",
    "X-Request-Id": "Names this request in the log and in the trail.",
}
HEADERS: Mapping[str, str] = {
    **ORIGIN_HEADERS,
    "ETag": "Names this state of the response, for If-None-Match. Of a row also for If-Match.",
    "Location": "The address of what was created.",
}
ROW_IDS = ("number", "price")  # Variables of addresses that are row ids.
TAGS: Mapping[str, str] = {
    "Models": "Models, their defaults and prices.",
    "Providers": "Providers and their keys.",
    "Registry": "The whole registry, as a snapshot or a file.",
    "Costs": "Costs of calls.",
    "Runs": "Incidents that a model analyzes.",
    "Usage": "Usage that applications report.",
    "Description": "The description of this API.",
}
# The tag of an operation, by the first part of its address after `/admin`.
_TAG_BY_SEGMENT: Mapping[str, str] = {
    **dict.fromkeys(("models", "supported", "defaults", "explain"), "Models"),
    "providers": "Providers",
    **dict.fromkeys(("snapshot", "export", "import"), "Registry"),
    **dict.fromkeys(("cost", "quote", "compare"), "Costs"),
    "runs": "Runs",
    "usage": "Usage",
    **dict.fromkeys(("openapi.json", "docs"), "Description"),
}


def openapi_document(routes: Iterable[Route]) -> Document:
    """Return the OpenAPI document of these routes."""
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Modeldesk", "version": __version__, "description": INTRODUCTION},
        "servers": [{"url": "/api/v1"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "An application's token: mdk_..."}},
            "schemas": dict(SCHEMAS),
            "headers": {name: {"description": text, "schema": TEXT} for name, text in HEADERS.items()},
        },
    }


def path_of(route: Route) -> str:
    return PATH_VARIABLE.sub(r"{\1}", route.rule)


def scope_of(permission: Permission) -> str:
    """Return the scope that grants this permission."""
    return next(scope for scope, granted in SCOPES.items() if permission in granted)


def _operation(route: Route) -> Document:
    operation: Document = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_TAG_BY_SEGMENT[route.rule.removeprefix("/admin").split("/")[1]]],
        "parameters": [*_path_parameters(route), *(_query_parameter(parameter) for parameter in route.query), *_header_parameters(route)],
        "responses": {**_success_responses(route), **{str(status): _error_response(status) for status in _error_statuses(route)}},
    }
    if route.permission is None:
        operation["security"] = []
    else:
        operation["description"] = f"Needs the scope `{scope_of(route.permission)}`."
    if route.request_schema:
        operation["requestBody"] = {"required": True, "content": _content(route.request_schema)}
    return operation


def _path_parameters(route: Route) -> list[Document]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": ROW_ID if name in ROW_IDS else TEXT,
            "description": PATH_VARIABLE_DESCRIPTIONS[name],
        }
        for name in PATH_VARIABLE.findall(route.rule)
    ]


def _query_parameter(parameter: Parameter) -> Document:
    document = {"name": parameter.name, "in": "query", "schema": dict(parameter.schema), "description": parameter.description}
    return document | ({"required": True} if parameter.required else {})


def _header_parameters(route: Route) -> list[Document]:
    """Return the request headers for conditional requests and for idempotency."""
    if route.is_repeatable:
        key_parameter = _header_parameter("Idempotency-Key", "Names this one call: sent again with the same key, it is counted once.")
        return [key_parameter | {"required": True}]
    if _is_conditional(route):
        return [_header_parameter("If-None-Match", "The ETag of the answer that you hold; 304 if it is still right.")]
    if 412 in route.error_statuses:
        return [_header_parameter("If-Match", "The ETag of the row that you edited; 412 if somebody else changed it since.")]
    return []


def _header_parameter(name: str, description: str) -> Document:
    return {"name": name, "in": "header", "schema": TEXT, "description": description}


def _is_conditional(route: Route) -> bool:
    return route.method == "GET" and route.response_schema != "Page"


def _success_responses(route: Route) -> Document:
    """Return the responses without an error by status: also 304 for an unchanged one, and 200 for a repeated request."""
    names = [*ORIGIN_HEADERS, *(["ETag"] if _is_conditional(route) or route.has_row_tag else [])]
    responses = {str(route.status): _response(route, route.summary, [*names, *(["Location"] if route.has_location else [])])}
    if route.is_repeatable:
        responses["200"] = _response(route, "The record of the first request with this Idempotency-Key and content", names)
    if _is_conditional(route):
        responses["304"] = {"description": "Not modified: you have this response", "headers": _header_refs(names)}
    return responses


def _response(route: Route, description: str, header_names: Iterable[str]) -> Document:
    response: Document = {"description": description, "headers": _header_refs(header_names)}
    return response | {"content": _content(route.response_schema)} if route.response_schema else response


def _header_refs(names: Iterable[str]) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _content(name: str) -> Document:
    """Return the schema of a body for each of its content types."""
    if name in OTHER_CONTENT_TYPES:
        return {content_type: {"schema": schema} for content_type, schema in OTHER_CONTENT_TYPES[name].items()}
    return {"application/json": {"schema": schema_ref(name) if name in SCHEMAS else {"type": "object"}}}


def _error_statuses(route: Route) -> list[int]:
    statuses = {*route.error_statuses, 400}
    statuses |= {401, 403} if route.permission else set()
    statuses |= {413, 415} if route.request_schema else set()
    return sorted(statuses)


def _error_response(status: int) -> Document:
    return {"description": TITLE_BY_STATUS[status], "content": {"application/problem+json": {"schema": schema_ref("Problem")}}}
