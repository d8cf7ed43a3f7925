"""Error responses: problem documents for the API, toast messages for htmx, and pages for browsers."""

import json
import logging

import msgspec
from flask import Flask, Response, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, SecurityError

from webapp.config.storage_errors import is_disk_full
from webapp.domain.shared.errors import DatabaseUnreachable, DiskFull, ModeldeskError, Unavailable
from webapp.observability.request_id import request_id
from webapp.runtime import container
from webapp.runtime.transaction import translate_database_error
from webapp.web import denied_requests

log = logging.getLogger(__name__)
CODE_BY_STATUS = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    412: "stale",
    413: "too_large",
    414: "too_long",
    415: "unsupported_media_type",
    429: "too_many_requests",
    500: "internal",
}
TITLE_BY_STATUS = {
    400: "The request is malformed",
    401: "Authentication is needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    414: "Too long",
    415: "Unsupported media type",
    422: "The values make no sense",
    429: "Too many requests",
    500: "Something went wrong",
    502: "The provider failed",
    503: "Not available just now",
}


def problem_document(error: ModeldeskError) -> dict[str, object]:
    """Return the problem document (RFC 9457) of an error."""
    return build_problem(error.status, error.code, error.detail) | error.extra()


def build_problem(status: int, code: str, detail: str) -> dict[str, object]:
    return {"type": f"/api/v1/docs#{code}", "title": TITLE_BY_STATUS.get(status, "Error"), "status": status, "code": code, "detail": detail}


def error_response(error: ModeldeskError) -> Response:
    """Return the response for a domain error, in the format of the client."""
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Unavailable) else {}
    return _problem_response(problem_document(error), headers)


def _problem_response(document: dict[str, object], headers: dict[str, str]) -> Response:
    status, detail = int(str(document["status"])), str(document["detail"])
    if request.path.startswith("/api/"):
        return Response(msgspec.json.encode(document), status, {**registry_headers(), **headers}, content_type="application/problem+json")
    if request.headers.get("HX-Request"):
        toast = json.dumps({"toast": {"msg": detail, "kind": "error"}})  # ASCII only, because it is sent in a header.
        return Response("", status, {"HX-Trigger": toast, "HX-Reswap": "none", **headers})
    page = render_template("errors/error.html", status=status, title=document["title"], detail=detail, request_id=request_id.get())
    return Response(page, status, headers)


def registry_headers() -> dict[str, str]:
    """Return the headers that describe the registry, for every API response."""
    return container.registry().snapshot.headers


def on_domain_error(error: ModeldeskError) -> Response:
    denied_requests.record_denial(error)
    return error_response(error)


def on_database_error(error: SQLAlchemyError) -> Response:
    translated = translate_database_error(error)
    if not isinstance(translated, DatabaseUnreachable) or container.current().registry.outage_log.should_log():
        log.warning("%s: %s", translated.code, type(error).__name__, exc_info=error)
    return error_response(translated)


def on_http_error(error: HTTPException) -> ResponseReturnValue:
    if isinstance(error, SecurityError):
        # URLs cannot be built for an untrusted host, so the response is plain text instead of a page.
        return Response(
            "This is not the name of this service. An operator can add it to MODELDESK_TRUSTED_HOSTS.\n", 400, mimetype="text/plain"
        )
    status = error.code or 500
    if error.response is not None or status < 400:
        return error.get_response()
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "WWW-Authenticate")}
    return _problem_response(
        build_problem(status, CODE_BY_STATUS.get(status, "error"), error.description or TITLE_BY_STATUS.get(status, "Error")), headers
    )


def on_system_error(error: OSError) -> Response:
    """A full disk is no fault of the program: an upload can fill the folder for temporary files."""
    if is_disk_full(error):
        log.warning("disk_full: %s", type(error).__name__, exc_info=error)
        return error_response(DiskFull("A disk of the server is full, so nothing was changed. Free some space there, then try again."))
    return on_unexpected_error(error)


def on_unexpected_error(error: Exception) -> Response:
    log.error("an error that nobody expected: %s", type(error).__name__, exc_info=error)
    detail = f"Something went wrong on our side. It was logged as {request_id.get()}; try again, and tell an admin if it stays."
    return _problem_response(build_problem(500, "internal", detail), {})


def init_app(app: Flask) -> None:
    app.register_error_handler(ModeldeskError, on_domain_error)
    app.register_error_handler(SQLAlchemyError, on_database_error)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(OSError, on_system_error)
    app.register_error_handler(Exception, on_unexpected_error)
