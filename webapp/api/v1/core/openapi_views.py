"""The API description as an OpenAPI document and as an HTML page. It is the same for all clients, so it needs no token."""

import zlib
from collections.abc import Sequence

from flask import Response, render_template

from webapp.api.v1.core import openapi
from webapp.api.v1.core.authorization import Route
from webapp.api.v1.core.encoded_registry import request_registry
from webapp.api.v1.core.responses import conditional_response, encode


def documentation_routes(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return the documentation routes, which describe these routes and themselves."""

    def get_openapi() -> Response:
        return conditional_response(request_registry().snapshot, tag, body)

    def get_docs() -> Response:
        page = render_template("api/docs.html", document=document, operations=operations, codes=openapi.CODE_DESCRIPTIONS)
        return Response(page, 200, request_registry().snapshot.headers)

    documentation = (
        Route("GET", "/openapi.json", get_openapi, None, "This description, for programs", "OpenApi"),
        Route("GET", "/docs", get_docs, None, "This description, for people", "Page"),
    )
    document = openapi.openapi_document((*routes, *documentation))
    body = encode(document)
    tag = f"{zlib.crc32(body):08x}"
    operations = [(method, path, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]
    return documentation
