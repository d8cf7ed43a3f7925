"""Pages outside the admin: sign-in and sign-out, set-up, and health."""

from flask import Flask

from webapp.pages import health, openid, sign_in, step_up


def init_app(app: Flask) -> None:
    app.register_blueprint(sign_in.blueprint)
    app.register_blueprint(step_up.blueprint)
    app.register_blueprint(openid.blueprint)
    app.register_blueprint(health.blueprint)
