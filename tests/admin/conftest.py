"""Browsers of the admin's tests stand outside of the application's context, so that one request's `g` is never the next one's."""

from contextvars import Context

import pytest
from flask.testing import FlaskClient


class OutsideClient(FlaskClient):
    """Sends each request from an empty context, as a server does."""

    def open(self, *args, **options):
        return Context().run(super().open, *args, **options)


@pytest.fixture
def app(app):
    app.test_client_class = OutsideClient
    return app
