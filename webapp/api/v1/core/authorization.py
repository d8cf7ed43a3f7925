"""Authorization of API requests: first the token, then its permission, then the query parameters."""

from collections.abc import Callable
from typing import NamedTuple

from flask import Response, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from webapp.api.v1.core.parameters import Parameter, require_known_parameters
from webapp.domain.accounts.permissions import SCOPES, Permission, scopes_allow
from webapp.domain.shared.errors import Forbidden
from webapp.web.auth import token_from_request

View = Callable[..., Response]


ROW_SCHEMAS = ("Model", "ManagedProvider")


class Route(NamedTuple):
    """One operation: its view and its description. A route whose `permission` is None needs no token."""

    method: str
    rule: str
    view: View
    permission: Permission | None
    summary: str
    response_schema: str
    status: int = 200
    query: tuple[Parameter, ...] = ()
    request_schema: str | None = None
    error_statuses: tuple[int, ...] = ()

    @property
    def has_location(self) -> bool:
        """Whether the response names the address of what was created."""
        return self.status == 201 and not self.is_repeatable

    @property
    def has_row_tag(self) -> bool:
        """Whether the response to a change carries the new ETag of the row."""
        return self.method != "GET" and self.response_schema in ROW_SCHEMAS

    @property
    def is_repeatable(self) -> bool:
        """Whether a request with the same Idempotency-Key and content gets the first record again, with the status 200."""
        return (self.method, self.rule) == ("POST", "/usage")

    @property
    def name(self) -> str:
        """The endpoint name, unique in the route table."""
        return self.view.__name__


def authorized_view(route: Route) -> View:
    """Wrap the view of a route in the checks of its permission and its query parameters."""

    def view(**path: str) -> Response:
        if route.permission is not None:
            require_token_permission(route.permission)
        if request.query_string:
            require_known_parameters(route.query)
        return route.view(**path)

    view.permission = route.permission  # type: ignore[attr-defined] # Read by the test that checks every route.
    return view


def require_token_permission(permission: Permission) -> None:
    """Check the token of the request. Raises `Unauthorized` without a valid token, and `Forbidden` without the permission."""
    token = token_from_request()
    if token is None:
        detail = "Send a valid token in the header Authorization: Bearer <token>. It may be missing, misspelt, expired or revoked."
        raise Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "Modeldesk"}))
    g.token = token  # Set before the check, so that the audit log also names the token of a denied request.
    if not scopes_allow(token.scopes, permission):
        scopes = " or ".join(scope for scope, granted in SCOPES.items() if permission in granted)
        raise Forbidden(f"This token does not have the scope {scopes}.")
