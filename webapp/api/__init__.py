"""JSON for other applications, by bearer token only."""

from flask import Flask

from webapp.api import v1
from webapp.extensions import csrf


def init_app(app: Flask) -> None:
    blueprint = v1.blueprint()
    csrf.exempt(blueprint)  # Only a bearer token opens it, and no browser sends one by itself.
    app.register_blueprint(blueprint)
