"""Pages outside the admin: signing in and out, set-up, and health."""

from flask import Flask

from webapp.pages import health, openid
from webapp.pages import sign_in as account
from webapp.pages import step_up as signing


def init_app(app: Flask) -> None:
    app.register_blueprint(account.blueprint)
    app.register_blueprint(signing.blueprint)
    app.register_blueprint(openid.blueprint)
    app.register_blueprint(health.blueprint)
