"""Choices of models for pages: grouped by provider, in the order of the registry, with what stands against a model said."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from webapp.domain.catalog import ModelInfo, ProviderInfo
from webapp.domain.snapshot import Snapshot
from webapp.drivers import available, needs_key


class ModelOption(NamedTuple):
    """One option: its value, its text, and whether it is chosen."""

    ref: str
    text: str
    chosen: bool


class ModelGroup(NamedTuple):
    """The models of one provider."""

    label: str
    options: list[ModelOption]


def model_groups(
    snapshot: Snapshot, models: Iterable[ModelInfo], chosen: set[str], remarks: Mapping[str, str] | None = None
) -> list[ModelGroup]:
    """The models by provider; `remarks` are said behind the names of providers."""
    groups: dict[str, list[ModelOption]] = {}
    for model in models:
        state = "" if model.supported else f" ({(model.unsupported_because or 'not supported').replace('_', ' ')})"
        option = ModelOption(model.ref, f"{model.display_name} · {model.ref}{state}", model.ref in chosen)
        groups.setdefault(model.provider, []).append(option)
    ordered = (slug for slug in snapshot.providers if slug in groups)
    return [ModelGroup(_label(snapshot.providers[slug], remarks or {}), groups[slug]) for slug in ordered]


def _label(provider: ProviderInfo, remarks: Mapping[str, str]) -> str:
    remark = remarks.get(provider.slug)
    return f"{provider.display_name} ({remark})" if remark else provider.display_name


def remark_on(provider: ProviderInfo, environment: Mapping[str, str]) -> str | None:
    """Why a run on this provider would fail before it is asked, as far as can be told without asking."""
    usable, _ = available(provider.driver)
    if not usable:
        return f"driver {provider.driver} is not available yet"
    in_environment = any(environment.get(name, "").strip() for name in provider.required_environment)
    missing = not provider.has_key and not in_environment and needs_key(provider.driver, provider.required_environment)
    return "no key" if missing else None
