"""Providers on loopback, and drivers that can reach only those."""

import pytest
from fake_provider import ASK, KEY, Upstream

import webapp.drivers
from webapp.drivers.core.base import DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy


@pytest.fixture
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def make_driver():
    """Return a factory of drivers for a loopback provider. `allow` defaults to its host and port."""

    def make(base_url, allow=None, key=KEY, **more):
        allowed = frozenset({base_url.split("/")[2]} if allow is None else allow)
        policy = OutboundPolicy(allowed, **more)
        return webapp.drivers.create_driver(Endpoint("acme", "openai", base_url, key, timeout_s=5.0), policy)

    return make


@pytest.fixture
def driver(upstream, make_driver):
    return make_driver(upstream.base_url)


@pytest.fixture
def failing(upstream, driver):
    """Return a function that sends a request, with these answers of the provider, and returns the error."""

    def fail(*answers, request=ASK):
        upstream.says(*answers)
        with pytest.raises(DriverError) as caught:
            driver.chat(request)
        return caught.value

    return fail
