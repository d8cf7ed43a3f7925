"""Filters and sort orders of the model list."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, String, cast, select

from webapp.admin.catalog.model_cells import snapshot
from webapp.admin.core.filters import ChoiceFilter, Options, SinceFilter, YesNoFilter
from webapp.admin.core.formatters import humanize
from webapp.admin.core.price_sql import current_price_state, current_rate, is_pinned, is_scheduled, is_stale
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.pricing.pricing import PRICE_STATES
from webapp.models import Model, Provider
from webapp.runtime import container

SLUG = select(Provider.slug).where(Provider.id == Model.provider_id).scalar_subquery()
PROVIDER_NAME = select(Provider.display_name).where(Provider.id == Model.provider_id).scalar_subquery()
PRICE_CONDITIONS = [("stale", "not verified lately"), ("scheduled", "about to change"), ("pinned", "entered by hand (pinned)")]


def has_capability(name: str) -> ColumnElement[bool]:
    """Match models that have a capability. The list is stored as JSON text, in which every name is in quotation marks."""
    return cast(Model.capabilities, String).contains(f'"{name}"', autoescape=True)


def price_condition(name: str) -> ColumnElement[bool]:
    conditions = {"stale": lambda: is_stale(container.settings().stale_price_days), "scheduled": is_scheduled, "pinned": is_pinned}
    return conditions[name]()


def provider_options() -> Options:
    return [(provider.slug, provider.display_name) for provider in snapshot().providers.values()]


def capability_options() -> Options:
    known = dict.fromkeys(name for model in snapshot().models for name in model.capabilities)
    return [(name, humanize(name)) for name in sorted(known)]


SORT_BY: Mapping[str, Any] = {
    "display_name": Model.display_name,
    "provider": PROVIDER_NAME,
    "type": Model.type,
    "context_window": Model.context_window,
    "input": current_rate("input"),
    "output": current_rate("output"),
    "is_default": Model.is_default,
    "is_active": Model.is_active,
}
FILTERS = (
    ChoiceFilter("Provider", lambda slug: slug == SLUG, provider_options),
    ChoiceFilter("Type", lambda name: Model.type == name, [(name, humanize(name)) for name in MODEL_TYPES]),
    YesNoFilter("Active", lambda value: Model.is_active.is_(value)),
    YesNoFilter("Default", lambda value: Model.is_default.is_(value)),
    ChoiceFilter("Price state", lambda state: current_price_state() == state, [(state, state) for state in PRICE_STATES]),
    ChoiceFilter("Price is", price_condition, PRICE_CONDITIONS),
    ChoiceFilter("Capability", has_capability, capability_options),
    SinceFilter("Changed", lambda at: Model.updated_at >= at),
)
