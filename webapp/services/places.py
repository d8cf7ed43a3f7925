"""Where a provider is asked: what its keys are bound to, stored ones and those of the server's environment."""

from typing import Protocol

from webapp.domain.errors import Invalid
from webapp.domain.server_keys import ServerKeys
from webapp.drivers import DRIVERS
from webapp.security.urlguard import origin


class Placed(Protocol):
    """A provider, as a row or as the registry knows it."""

    @property
    def driver(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...


class Keyed(Placed, Protocol):
    """A provider that may look for its key in the server's environment."""

    @property
    def required_environment(self) -> "list[str] | tuple[str, ...]": ...


def base_url_of(provider: Placed) -> str | None:
    """The provider's own address, or the one of its driver."""
    info = DRIVERS.get(provider.driver)
    return provider.base_url or (info.base_url if info else None)


def origin_of(provider: Placed) -> str | None:
    """Scheme, host and port of where a provider is asked; None where there is no address that makes sense."""
    address = base_url_of(provider)
    try:
        return origin(address) if address else None
    except Invalid:
        return None


def variable_of(provider: Keyed, environment: ServerKeys) -> str | None:
    """The environment variable whose key this provider is asked with where none is stored."""
    return environment.usable(provider.required_environment, origin_of(provider))


def barred_variable_of(provider: Keyed, environment: ServerKeys) -> str | None:
    """A variable that this provider names, and that may not be sent to where it is."""
    return environment.barred(provider.required_environment, origin_of(provider))
