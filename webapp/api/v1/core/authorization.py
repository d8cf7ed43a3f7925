"""The one door of the API: who asks is checked first, then what they may, then the form of the question."""

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


class Route(NamedTuple):
    """One operation: how it is served and how it is described. `permission` None is for what strangers may read too."""

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
    def name(self) -> str:
        """The endpoint, unique in the table."""
        return self.view.__name__


def authorized_view(route: Route) -> View:
    """The view behind the door."""

    def view(**path: str) -> Response:
        if route.permission is not None:
            require_token_permission(route.permission)
        if request.query_string:
            require_known_parameters(route.query)
        return route.view(**path)

    view.permission = route.permission  # type: ignore[attr-defined] # read by the test that walks all routes
    return view


def require_token_permission(permission: Permission) -> None:
    """Raises 401 without a good token, `Forbidden` if it does not hold the permission."""
    token = token_from_request()
    if token is None:
        detail = "Send a valid token in the header Authorization: Bearer <token>. It may be missing, misspelt, expired or revoked."
        raise Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "Modeldesk"}))
    g.token = token  # Also of whoever is refused: the trail names who it was.
    if not scopes_allow(token.scopes, permission):
        scopes = " or ".join(scope for scope, granted in SCOPES.items() if permission in granted)
        raise Forbidden(f"This token does not have the scope {scopes}.")
