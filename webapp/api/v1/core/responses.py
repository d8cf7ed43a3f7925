"""JSON responses of the API: bytes, origin headers, and 304 for unchanged content."""

from collections.abc import Callable, Mapping

import msgspec
from flask import Response, request

from webapp.domain.catalog.snapshot import Snapshot

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
encode: Callable[[object], bytes] = msgspec.json.encode


def json_response(snapshot: Snapshot, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response from this snapshot."""
    return Response(body, status, {**JSON_HEADERS, **snapshot.headers, **(headers or {})})


def empty_response(snapshot: Snapshot) -> Response:
    """Return a 204 response without a body."""
    response = Response(status=204, headers=snapshot.headers)
    del response.headers["Content-Type"]
    return response


def conditional_response(
    snapshot: Snapshot, tag: str, body: Callable[[], bytes] | bytes, content_type: str = "application/json"
) -> Response:
    """Return a JSON response with a strong ETag, or 304 if the client has it already. `tag` must change whenever the body does."""
    quoted = f'"{tag}"'
    if_none_match = request.environ.get("HTTP_IF_NONE_MATCH")
    headers = {"Content-Type": content_type, "ETag": quoted, **snapshot.headers}
    if if_none_match is not None and _matches_etag(if_none_match, quoted):
        return Response(status=304, headers=headers)
    return Response(body if isinstance(body, bytes) else body(), 200, headers)


def _matches_etag(if_none_match: str, quoted: str) -> bool:
    return if_none_match == quoted or if_none_match.strip() == "*" or request.if_none_match.contains_weak(quoted[1:-1])
