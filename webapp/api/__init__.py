"""JSON for other applications, by bearer token only."""

from flask import Flask

from webapp.api import v1
from webapp.api.v1.fast_path import FastPath
from webapp.extensions import csrf
from webapp.runtime import container


def init_app(app: Flask) -> None:
    blueprint = v1.create_blueprint()
    csrf.exempt(blueprint)  # Only a bearer token opens it, and no browser sends one by itself.
    app.register_blueprint(blueprint)
    hot = FastPath(app.wsgi_app, app.extensions[container.KEY], app.config["TRUSTED_HOSTS"])
    app.wsgi_app = hot  # type: ignore[method-assign] # the way that Flask documents
