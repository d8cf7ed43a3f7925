"""The base URLs of providers, and the environment keys that are bound to their origins."""

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
    """A provider, as a row or from the registry."""

    @property
    def driver(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...


class HasEnvironmentKey(HasEndpoint, Protocol):
    """A provider that can take its key from the server's environment."""

    @property
    def required_environment(self) -> Sequence[str]: ...


def base_url_of(provider: HasEndpoint, environment: EnvironmentKeys) -> str | None:
    """Return the provider's own base URL, else the one in the environment for its driver, else the driver's default."""
    info = DRIVERS.get(provider.driver)
    if provider.base_url or info is None:
        return provider.base_url
    return _environment_base_url(info, environment) or info.base_url


def base_url_variable(provider: HasEndpoint, environment: EnvironmentKeys) -> str | None:
    """Return the variable that sets this provider's base URL, or None if the provider or its driver sets it."""
    info = DRIVERS.get(provider.driver)
    variable = info.url_variable if info and not provider.base_url else None
    return variable if variable and environment.value_of(variable) else None


def _environment_base_url(info: DriverInfo, environment: EnvironmentKeys) -> str | None:
    """Read a whole URL, or a host with or without a port, as Ollama reads `OLLAMA_HOST`."""
    value = environment.value_of(info.url_variable) if info.url_variable else ""
    if not value or "://" in value:
        return value or None
    default_port = urlsplit(info.base_url or "").port
    return f"http://{value}" if _PORT.search(value) or default_port is None else f"http://{value}:{default_port}"


def origin_of(provider: HasEndpoint, environment: EnvironmentKeys) -> str | None:
    """Return the scheme, host and port of a provider's base URL, or None if there is no valid one."""
    base_url = base_url_of(provider, environment)
    try:
        return parse_origin(base_url) if base_url else None
    except Invalid:
        return None


def key_variable(provider: HasEnvironmentKey, environment: EnvironmentKeys) -> str | None:
    """Return the environment variable whose key this provider uses when no key is stored."""
    return environment.first_usable(provider.required_environment, origin_of(provider, environment))


def blocked_key_variable(provider: HasEnvironmentKey, environment: EnvironmentKeys) -> str | None:
    """Return a variable that this provider names but whose key must not be sent to its origin."""
    return environment.first_unbound(provider.required_environment, origin_of(provider, environment))
