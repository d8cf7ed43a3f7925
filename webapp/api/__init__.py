"""JSON API for other applications. Bearer tokens are the only authentication."""

from flask import Flask
from werkzeug.routing import PathConverter

from webapp.api import v1
from webapp.api.v1.fast_path import FastPath
from webapp.extensions import csrf
from webapp.runtime import container


class RefConverter(PathConverter):
    """A path that can start with a slash, because the id of a model can."""

    regex = ".+?"
    part_isolating = False


def init_app(app: Flask) -> None:
    app.url_map.converters["path"] = RefConverter  # Files of `static/` are still looked up below their folder only.
    blueprint = v1.create_blueprint()
    csrf.exempt(blueprint)  # Only bearer tokens give access, and no browser sends one on its own.
    app.register_blueprint(blueprint)
    fast_path = FastPath(app.wsgi_app, app.extensions[container.KEY], app.config["TRUSTED_HOSTS"])
    app.wsgi_app = fast_path  # type: ignore[method-assign] # Flask documents this way to add middleware.
