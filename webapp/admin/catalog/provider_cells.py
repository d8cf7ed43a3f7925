"""Cells of the provider list, and the state of a key without the key itself."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from flask import g, url_for
from markupsafe import Markup
from sqlalchemy import ColumnElement, exists, select

from webapp.admin.core.formatters import NOTHING, icon, tag, time_tag
from webapp.admin.runs.model_choices import unavailable_reason
from webapp.domain.shared.money import format_decimal
from webapp.drivers import DRIVERS, availability, needs_key
from webapp.models import Credential, Provider
from webapp.runtime import container
from webapp.services.credentials import endpoints

Cell = Callable[[object, object, Provider, str], object]


NOT_NEEDED = "not needed"
LOST_KEY_MESSAGE = "It was encrypted with an encryption key that is not there any more. Enter it again."


class KeyState(NamedTuple):
    """State of a key as pages show it: a short text, its tone, and details."""

    text: str
    tone: str
    stored: bool = False
    last_four: str = ""
    since: datetime | None = None
    fingerprint: str = ""
    variable: str | None = None
    locked: str | None = None
    lost: str | None = None  # The reason, if only this key cannot be read.

    @property
    def usable(self) -> bool:
        """Return whether requests can be sent to a provider with this key state."""
        return not self.lost and (self.stored or self.variable is not None or self.text == NOT_NEEDED)


def has_key() -> ColumnElement[bool]:
    return exists(select(Credential.id).where(Credential.provider_id == Provider.id, Credential.scope == "shared", Credential.owner == ""))


def key_state(provider: Provider | None, credential: Credential | None) -> KeyState:
    """Return the state of the key that a provider would use."""
    reason = container.vault().reason
    variable = endpoints.key_variable(provider, container.settings().environment) if provider else None
    if credential is not None:
        lost = LOST_KEY_MESSAGE if container.vault().lacks_key(credential.key_id) else None
        mark = "unreadable key" if lost else f"key …{credential.last_four}" if credential.last_four else "key"
        tone = "red" if reason or lost else "green"
        return KeyState(mark, tone, True, credential.last_four, credential.created_at, credential.fingerprint, variable, reason, lost)
    if variable:
        return KeyState("from environment", "blue", variable=variable, locked=reason)
    if provider is not None and not needs_key(provider.driver, provider.required_environment):
        return KeyState(NOT_NEEDED, "neutral", locked=reason)
    return KeyState("no key", "yellow", locked=reason)


def key_mark(state: KeyState) -> Markup:
    sign = Markup("{} ").format(icon("lock" if state.locked or state.lost else "check")) if state.stored else ""
    locked = "Stored, but locked: the encryption key is missing" if state.stored and state.locked else ""
    title = state.lost or locked or state.variable or ""
    return Markup('<span class="tag tag-{}"{}>{}{}</span>').format(
        state.tone, Markup(' title="{}"').format(title) if title else "", sign, state.text
    )


def driver_cell(provider: Provider) -> Markup:
    info = DRIVERS.get(provider.driver)
    usable, _ = availability(provider.driver)
    label = info.label if info else provider.driver
    if usable:
        return Markup("{}").format(label)
    return Markup("{} {}").format(
        label, tag("driver not installed", "yellow", unavailable_reason(provider.display_name, provider.driver) or "")
    )


def active_switch(provider: Provider) -> Markup:
    if not g.get("may_edit", True):
        return tag("Active", "green") if provider.is_active else tag("Inactive")
    address = url_for("provider.set_active", id=provider.id, to=0 if provider.is_active else 1)
    return Markup(
        '<button type="submit" class="switch" role="switch" aria-checked="{0}" data-switch form="row_form" formaction="{1}" '
        'hx-post="{1}" aria-label="{2} active"></button>'
    ).format("true" if provider.is_active else "false", address, provider.display_name)


def primary_cell(provider: Provider) -> Markup:
    """Return the mark of the primary provider, and the button that sets or clears it."""
    if not g.get("may_edit", True):
        return tag("Primary", "blue") if provider.is_primary else Markup("")
    if not provider.is_primary and unavailable_reason(provider.display_name, provider.driver):
        return NOTHING
    address = url_for("provider.set_primary", id=provider.id, to=0 if provider.is_primary else 1)
    question, label, mark = (
        ("Have no primary provider? Incidents are then answered by the local rules.", "Clear", Markup("{} ").format(tag("Primary", "blue")))
        if provider.is_primary
        else (
            f"Make {provider.display_name} the primary provider? It then answers incidents where nobody chose a model.",
            "Make primary",
            "",
        )
    )
    return Markup(
        '{0}<button type="submit" class="btn btn-sm btn-quiet" form="row_form" formaction="{1}" hx-post="{1}" hx-swap="none" '
        'hx-confirm="{2}" aria-label="{3}: {4}">{3}</button>'
    ).format(mark, address, question, label, provider.display_name)


def _name_cell(_: object, __: object, provider: Provider, ___: str) -> Markup:
    return Markup('{}<span class="row-ref">{}</span>').format(provider.display_name, provider.slug)


def _base_url_cell(provider: Provider) -> Markup:
    return Markup('<span class="cell-url" title="{0}">{0}</span>').format(provider.base_url) if provider.base_url else NOTHING


def _model_count_cell(_: object, __: object, provider: Provider, ___: str) -> Markup:
    count = g.get("model_counts", {}).get(provider.id, 0)
    address = url_for("model.index_view", flt0_provider_equals=provider.slug)
    return Markup('<a href="{}" aria-label="{} models of {}">{:,}</a>').format(address, count, provider.display_name, count)


def _connection_cell(provider: Provider) -> Markup:
    """Return the result and the time of the last connection test."""
    check = g.get("checks", {}).get(provider.id)
    if check is None:
        return NOTHING
    return Markup("{} {}").format(tag("Works", "green") if check.ok else tag("Fails", "red", check.detail), time_tag(check.created_at))


CELLS: Mapping[str, Cell] = {
    "display_name": _name_cell,
    "driver": lambda _, __, provider, ___: driver_cell(provider),
    "key": lambda _, __, provider, ___: key_mark(key_state(provider, g.get("keys", {}).get(provider.id))),
    "check": lambda _, __, provider, ___: _connection_cell(provider),
    "models": _model_count_cell,
    "base_url": lambda _, __, provider, ___: _base_url_cell(provider),
    "is_primary": lambda _, __, provider, ___: primary_cell(provider),
    "is_active": lambda _, __, provider, ___: active_switch(provider),
}


def _effective_base_url(provider: Provider) -> str | None:
    environment = container.settings().environment
    address, variable = endpoints.base_url_of(provider, environment), endpoints.base_url_variable(provider, environment)
    return f"{address}, as {variable} of the server's environment says" if variable else address


def description_list(provider: Provider) -> list[tuple[str, Any]]:
    """Return the terms and values of a provider's description list."""
    temperature = provider.default_temperature
    config = provider.config or {}
    return [
        ("Slug", provider.slug),
        ("Driver", driver_cell(provider)),
        ("Base URL", _effective_base_url(provider)),
        ("State", tag("Active", "green") if provider.is_active else tag("Inactive")),
        ("Temperature", None if temperature is None else format_decimal(temperature)),
        ("Longest answer", None if provider.default_max_tokens is None else f"{provider.default_max_tokens:,} tokens"),
        ("Timeout", None if provider.timeout_seconds is None else f"{provider.timeout_seconds} seconds"),
        ("Header of the key", config.get("auth_header")),
        ("Path", config.get("path")),
        ("Request template", json.dumps(config["request_template"], ensure_ascii=False) if config.get("request_template") else None),
        ("Extra headers", ", ".join(config.get("extra_headers") or {})),
        ("Environment variables", ", ".join(provider.required_environment)),
        ("Website", provider.website),
        ("Documentation", provider.documentation_url),
        ("Changed", time_tag(provider.updated_at)),
        ("Description", provider.description),
    ]
