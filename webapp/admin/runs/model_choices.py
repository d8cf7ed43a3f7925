"""Choices of models for pages: grouped by provider, in the order of the registry, with what stands against a model said."""

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from webapp.domain.catalog.entities import ModelInfo, ProviderInfo
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.credentials.environment_keys import EnvironmentKeys
from webapp.drivers import DRIVERS, availability, needs_key
from webapp.services.credentials import endpoints


class ModelOption(NamedTuple):
    """One option: its value, its text, whether it is chosen, and whether it cannot be."""

    ref: str
    text: str
    selected: bool
    disabled: bool = False


class ModelGroup(NamedTuple):
    """The models of one provider."""

    label: str
    options: list[ModelOption]


def model_groups(
    snapshot: Snapshot, models: Iterable[ModelInfo], chosen: set[str], remarks: Mapping[str, str] | None = None, barred: Container[str] = ()
) -> list[ModelGroup]:
    """The models by provider; `remarks` are said behind the names of providers, and those that are `barred` come last."""
    groups: dict[str, list[ModelOption]] = {}
    for model in models:
        state = "" if model.supported else f" ({(model.unsupported_because or 'not supported').replace('_', ' ')})"
        # What is chosen stays choosable: a browser would not send it otherwise, and something else would be asked.
        off = model.provider in barred and model.ref not in chosen
        option = ModelOption(model.ref, f"{model.display_name} · {model.ref}{state}", model.ref in chosen, off)
        groups.setdefault(model.provider, []).append(option)
    ordered = sorted((slug for slug in snapshot.providers if slug in groups), key=lambda slug: slug in barred)
    return [ModelGroup(_label(snapshot.providers[slug], remarks or {}), groups[slug]) for slug in ordered]


def _label(provider: ProviderInfo, remarks: Mapping[str, str]) -> str:
    remark = remarks.get(provider.slug)
    return f"{provider.display_name} ({remark})" if remark else provider.display_name


def unavailable_reason(name: str, driver: str) -> str | None:
    """Why nothing can be run on the models of a provider, whatever key it has; a sentence."""
    usable, reason = availability(driver)
    return None if usable else f"Models of {name} cannot be run: the driver for {_driver_label(driver)} is {reason}."


def _driver_label(name: str) -> str:
    info = DRIVERS.get(name)
    return info.label if info else name


def provider_remark(provider: ProviderInfo, environment: EnvironmentKeys) -> str | None:
    """Why a run on this provider would fail before it is asked, as far as can be told without asking."""
    if unavailable_reason(provider.display_name, provider.driver):
        return "driver not installed"
    in_environment = endpoints.key_variable(provider, environment) is not None
    missing = not provider.has_key and not in_environment and needs_key(provider.driver, provider.required_environment)
    return "no key" if missing else None
