"""Version 1 of the HTTP API: one table of routes, served behind one door and described by one document."""

from flask import Blueprint

from webapp.api.v1.core.authorization import authorized_view
from webapp.api.v1.routes import ROUTES

PREFIX = "/api/v1"


def create_blueprint() -> Blueprint:
    """All routes of the table. Nothing answers to OPTIONS: no other site's page has any business here."""
    made = Blueprint("api", __name__, url_prefix=PREFIX)
    for route in ROUTES:
        made.add_url_rule(
            route.rule, route.name, authorized_view(route), methods=[route.method], strict_slashes=True, provide_automatic_options=False
        )
    return made
