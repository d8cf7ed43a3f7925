"""The driver registry, as data. The SDK of a vendor is imported only when its driver is first used."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from webapp.drivers.core.base import Adviser, Driver, DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """One driver: its module, the SDK that it needs, and the defaults for the form of a new provider."""

    name: str
    label: str
    package: str | None  # Import name of the SDK, or None if the driver needs none.
    requirement: str = ""  # Requirement for pip if the SDK is missing.
    base_url: str | None = None
    needs_key: bool = True
    needs_base_url: bool = False
    key_variable: str | None = None
    url_variable: str | None = None
    default_model: str | None = None

    @property
    def module(self) -> str:
        return f"webapp.drivers.{self.name}"


OPENAI = "openai>=3.52,<4"
DRIVERS: Mapping[str, DriverInfo] = {
    info.name: info
    for info in (
        DriverInfo("local", "Local rules", "psutil", "psutil>=7.2", needs_key=False),
        DriverInfo(
            "openai", "OpenAI", "openai", OPENAI, "https://api.openai.com/v1", key_variable="OPENAI_API_KEY", default_model="gpt-4o-mini"
        ),
        DriverInfo(
            "claude",
            "Anthropic Claude",
            "anthropic",
            "anthropic>=2.11,<3",
            "https://api.anthropic.com",
            key_variable="ANTHROPIC_API_KEY",
            default_model="claude-sonnet-4-20250514",
        ),
        DriverInfo(
            "gemini",
            "Google Gemini",
            "google.genai",
            "google-genai>=3.4,<4",
            "https://generativelanguage.googleapis.com",
            key_variable="GEMINI_API_KEY",
            default_model="gemini-2.0-flash",
        ),
        DriverInfo(
            "copilot",
            "GitHub Copilot",
            "openai",
            OPENAI,
            "https://api.githubcopilot.com",
            key_variable="GITHUB_TOKEN",
            default_model="gpt-4o",
        ),
        DriverInfo("grok", "xAI Grok", "openai", OPENAI, "https://api.x.ai/v1", key_variable="XAI_API_KEY", default_model="grok-3-mini"),
        DriverInfo(
            "ollama",
            "Ollama",
            "ollama",
            "ollama>=0.6.3,<0.7",
            "http://localhost:11434",
            needs_key=False,
            needs_base_url=True,
            url_variable="OLLAMA_HOST",
            default_model="llama3.2",
        ),
        DriverInfo(
            "mistral",
            "Mistral AI",
            "mistralai",
            "mistralai>=3.7,<4",
            "https://api.mistral.ai",
            key_variable="MISTRAL_API_KEY",
            default_model="mistral-small-latest",
        ),
        DriverInfo("custom", "Custom (OpenAI-compatible)", "openai", OPENAI, needs_key=False, needs_base_url=True),
    )
}


def needs_key(driver: str, required_environment: Sequence[str]) -> bool:
    """Return whether calls to a provider need a key: its driver needs one, or the provider names an environment variable for one."""
    info = DRIVERS.get(driver)
    return bool(required_environment) or (info is not None and info.needs_key)


def driver_names() -> tuple[str, ...]:
    """Return the names of all drivers, local first."""
    return tuple(DRIVERS)


def availability(name: str) -> tuple[bool, str | None]:
    """Return whether a driver can be used, and the reason if not. Imports nothing."""
    info = DRIVERS.get(name)
    if info is None:
        return False, f"unknown driver; known are {', '.join(DRIVERS)}"
    if info.package and not _is_installed(info.package):
        return False, f'not installed: run `.venv/bin/pip install "{info.requirement}"`, then restart'
    return True, None


def create_driver(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Create the driver of an endpoint. The first driver of a kind imports its SDK. Raises `DriverError` of kind `config`."""
    usable, reason = availability(endpoint.driver)
    if not usable:
        raise DriverError("config", f"The driver {endpoint.driver[:60]} cannot be used: {reason}.")
    module = importlib.import_module(DRIVERS[endpoint.driver].module)
    build = cast(Callable[[Endpoint, OutboundPolicy], Driver], module.build)
    return build(endpoint, policy)


def create_adviser() -> Adviser:
    """Create the adviser with the built-in rules. It also inspects this server if an incident is about it."""
    module = importlib.import_module(DRIVERS["local"].module)
    return cast(Adviser, module.LocalDriver())


def _is_installed(package: str) -> bool:
    """Return whether a package is installed. Only the first part of a dotted name is checked, because `find_spec` imports the parents."""
    return importlib.util.find_spec(package.partition(".")[0]) is not None
