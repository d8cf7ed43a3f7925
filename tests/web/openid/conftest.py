"""Each test here has an identity provider of its own, and a desk that trusts it."""

import pytest
from environment import running
from fake_identity_provider import Provider
from openid_app import ANN, EVE, settings_with


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # For the provider: it is asked over plain HTTP here.
    made = Provider()
    made.person("s-ann", email=ANN, email_verified=True)
    made.person("s-eve", email=EVE, email_verified=True)
    yield made
    made.stop()


@pytest.fixture
def app(settings, provider):
    yield from running(settings_with(settings, provider))
