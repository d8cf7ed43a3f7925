"""Where a provider is asked: what its keys are bound to, stored ones and those of the server's environment."""

import re
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from webapp.domain.credentials.environment_keys import EnvironmentKeys
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.urls import parse_origin
from webapp.drivers import DRIVERS, DriverInfo

_PORT = re.compile(r":[0-9]+/?$")


class HasEndpoint(Protocol):
    """A provider, as a row or as the registry knows it."""

    @property
    def driver(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...


class HasEnvironmentKey(HasEndpoint, Protocol):
    """A provider that may look for its key in the server's environment."""

    @property
    def required_environment(self) -> Sequence[str]: ...


def base_url_of(provider: HasEndpoint, environment: EnvironmentKeys) -> str | None:
    """The provider's own address, the one that the environment gives its driver, or the driver's own."""
    info = DRIVERS.get(provider.driver)
    if provider.base_url or info is None:
        return provider.base_url
    return _environment_base_url(info, environment) or info.base_url


def base_url_variable(provider: HasEndpoint, environment: EnvironmentKeys) -> str | None:
    """The variable that says where this provider is; None where the provider or its driver does."""
    info = DRIVERS.get(provider.driver)
    named = info.url_variable if info and not provider.base_url else None
    return named if named and environment.value_of(named) else None


def _environment_base_url(info: DriverInfo, environment: EnvironmentKeys) -> str | None:
    """As Ollama reads `OLLAMA_HOST`: a whole address, or a host with or without a port."""
    given = environment.value_of(info.url_variable) if info.url_variable else ""
    if not given or "://" in given:
        return given or None
    usual = urlsplit(info.base_url or "").port
    return f"http://{given}" if _PORT.search(given) or usual is None else f"http://{given}:{usual}"


def origin_of(provider: HasEndpoint, environment: EnvironmentKeys) -> str | None:
    """Scheme, host and port of where a provider is asked; None where there is no address that makes sense."""
    address = base_url_of(provider, environment)
    try:
        return parse_origin(address) if address else None
    except Invalid:
        return None


def key_variable(provider: HasEnvironmentKey, environment: EnvironmentKeys) -> str | None:
    """The environment variable whose key this provider is asked with where none is stored."""
    return environment.first_usable(provider.required_environment, origin_of(provider, environment))


def blocked_key_variable(provider: HasEnvironmentKey, environment: EnvironmentKeys) -> str | None:
    """A variable that this provider names, and that may not be sent to where it is."""
    return environment.first_unbound(provider.required_environment, origin_of(provider, environment))
