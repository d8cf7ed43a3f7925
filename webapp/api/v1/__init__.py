"""Version 1 of the HTTP API: one route table, one authorization check and one OpenAPI document."""

from flask import Blueprint

from webapp.api.v1.core.authorization import authorized_view
from webapp.api.v1.routes import ROUTES

PREFIX = "/api/v1"


def create_blueprint() -> Blueprint:
    """Create the blueprint of all routes. `OPTIONS` is off, because pages of other sites must not call the API."""
    blueprint = Blueprint("api", __name__, url_prefix=PREFIX)
    for route in ROUTES:
        blueprint.add_url_rule(
            route.rule, route.name, authorized_view(route), methods=[route.method], strict_slashes=True, provide_automatic_options=False
        )
    return blueprint
