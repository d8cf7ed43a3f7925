"""Model options for select elements: grouped by provider in registry order, with remarks on unavailable models."""

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from webapp.domain.catalog.entities import ModelInfo, ProviderInfo
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.credentials.environment_keys import EnvironmentKeys
from webapp.drivers import DRIVERS, availability, needs_key
from webapp.services.credentials import endpoints


class ModelOption(NamedTuple):
    """One option of a select element."""

    ref: str
    text: str
    selected: bool
    disabled: bool = False


class ModelGroup(NamedTuple):
    """The options of one provider."""

    label: str
    options: list[ModelOption]


def model_groups(
    snapshot: Snapshot,
    models: Iterable[ModelInfo],
    selected: set[str],
    remarks: Mapping[str, str] | None = None,
    unavailable: Container[str] = (),
) -> list[ModelGroup]:
    """Return the models grouped by provider.

    `remarks` are shown after provider names. The models of `unavailable` providers are disabled and come last.
    """
    groups: dict[str, list[ModelOption]] = {}
    for model in models:
        state = "" if model.supported else f" ({(model.unsupported_because or 'not supported').replace('_', ' ')})"
        # A selected model stays enabled. A browser does not submit a disabled option, so another model would run.
        disabled = model.provider in unavailable and model.ref not in selected
        option = ModelOption(model.ref, f"{model.display_name} · {model.ref}{state}", model.ref in selected, disabled)
        groups.setdefault(model.provider, []).append(option)
    ordered = sorted((slug for slug in snapshot.providers if slug in groups), key=lambda slug: slug in unavailable)
    return [ModelGroup(_label(snapshot.providers[slug], remarks or {}), groups[slug]) for slug in ordered]


def _label(provider: ProviderInfo, remarks: Mapping[str, str]) -> str:
    remark = remarks.get(provider.slug)
    return f"{provider.display_name} ({remark})" if remark else provider.display_name


def unavailable_reason(name: str, driver: str) -> str | None:
    """Return why the models of a provider cannot run with any key, as a sentence. Returns None if they can."""
    usable, reason = availability(driver)
    return None if usable else f"Models of {name} cannot be run: the driver for {_driver_label(driver)} is {reason}."


def _driver_label(name: str) -> str:
    info = DRIVERS.get(name)
    return info.label if info else name


def provider_remark(provider: ProviderInfo, environment: EnvironmentKeys) -> str | None:
    """Return why a run on this provider would fail, as far as this is known without calling the provider."""
    if unavailable_reason(provider.display_name, provider.driver):
        return "driver not installed"
    in_environment = endpoints.key_variable(provider, environment) is not None
    missing = not provider.has_key and not in_environment and needs_key(provider.driver, provider.required_environment)
    return "no key" if missing else None
