"""JSON API for other applications. Bearer tokens are the only authentication."""

from flask import Flask

from webapp.api import v1
from webapp.api.v1.fast_path import FastPath
from webapp.extensions import csrf
from webapp.runtime import container


def init_app(app: Flask) -> None:
    blueprint = v1.create_blueprint()
    csrf.exempt(blueprint)  # Only bearer tokens give access, and no browser sends one on its own.
    app.register_blueprint(blueprint)
    fast_path = FastPath(app.wsgi_app, app.extensions[container.KEY], app.config["TRUSTED_HOSTS"])
    app.wsgi_app = fast_path  # type: ignore[method-assign] # Flask documents this way to add middleware.
