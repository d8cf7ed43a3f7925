"""Fixtures: an identity provider for each test, and an application that trusts it."""

import pytest
from environment import running
from fake_identity_provider import Provider
from openid_app import ANN, EVE, settings_with


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # The test provider uses plain HTTP.
    server = Provider()
    server.person("s-ann", email=ANN, email_verified=True)
    server.person("s-eve", email=EVE, email_verified=True)
    yield server
    server.stop()


@pytest.fixture
def app(settings, provider):
    yield from running(settings_with(settings, provider))
