"""Answers of the API: JSON bytes, the headers that say where they came from, and 304 for what has not changed."""

from collections.abc import Callable, Mapping

import msgspec
from flask import Response, request

from webapp.domain.catalog.snapshot import Snapshot

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
encode: Callable[[object], bytes] = msgspec.json.encode


def json_response(snapshot: Snapshot, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """This JSON, from this snapshot."""
    return Response(body, status, {**JSON_HEADERS, **snapshot.headers, **(headers or {})})


def empty_response(snapshot: Snapshot) -> Response:
    """Done, and nothing to say."""
    response = Response(status=204, headers=snapshot.headers)
    del response.headers["Content-Type"]
    return response


def conditional_response(
    snapshot: Snapshot, tag: str, body: Callable[[], bytes] | bytes, content_type: str = "application/json"
) -> Response:
    """This JSON with its strong ETag, or 304 if the caller holds it already. `tag` must change whenever the body does."""
    quoted = f'"{tag}"'
    asked = request.environ.get("HTTP_IF_NONE_MATCH")
    headers = {"Content-Type": content_type, "ETag": quoted, **snapshot.headers}
    if asked is not None and _matches_etag(asked, quoted):
        return Response(status=304, headers=headers)
    return Response(body if isinstance(body, bytes) else body(), 200, headers)


def _matches_etag(asked: str, quoted: str) -> bool:
    return asked == quoted or asked.strip() == "*" or request.if_none_match.contains_weak(quoted[1:-1])
