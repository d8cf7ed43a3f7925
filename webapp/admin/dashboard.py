"""The dashboard: the current registry status and the items that need attention."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import url_for
from flask_admin import expose
from markupsafe import Markup
from sqlalchemy import func, select

from webapp.admin.audit.event_text import latest_events
from webapp.admin.catalog.model_cells import snapshot
from webapp.admin.catalog.provider_cells import key_state
from webapp.admin.core.base import GuardedIndex
from webapp.admin.core.formatters import format_date, humanize, input_cell, output_cell, standard_rate
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.snapshot import DATABASE, Snapshot
from webapp.domain.pricing.meters import OUTPUT_METERS
from webapp.domain.pricing.rate_text import format_rate
from webapp.domain.shared import money_text
from webapp.extensions import db
from webapp.models import AuditEvent, Credential, Model, Provider, User
from webapp.runtime import container
from webapp.services.catalog import succession
from webapp.web.auth import has_permission

RETIREMENT_NOTICE = timedelta(days=90)
MAX_NAMED_MODELS = 3
MAX_USAGE_LOOKUPS = 8  # Each lookup takes several queries.


class Dashboard(GuardedIndex):
    """The first page after sign-in."""

    needs = Permission.REGISTRY_READ

    @expose("/")
    def index(self) -> str:
        registry = snapshot()
        providers = _list_providers()
        now = datetime.now(UTC)
        return self.render(
            "admin/dashboard.html",
            getting_started=_setup_steps(registry, providers) if has_permission(Permission.ACCOUNTS_MANAGE) else None,
            stats=_stats(registry, providers),
            attention=list(map(_hide_forbidden_action, _attention_items(registry, providers, now))),
            defaults=_default_models(registry),
            providers=[_provider_view_model(row, state, registry) for row, state in providers],
            changes=latest_events(AuditEvent.target_kind.not_in(("user", "request"))),
        )


def _list_providers() -> list[tuple[Provider, Any]]:
    """Return all providers with the state of their keys, using two queries."""
    rows = db.session.execute(select(Provider).order_by(Provider.sort_order, Provider.slug)).scalars().all()
    shared = select(Credential).where(Credential.scope == "shared", Credential.owner == "")
    keys = {key.provider_id: key for key in db.session.execute(shared).scalars()}
    return [(row, key_state(row, keys.get(row.id))) for row in rows]


def _setup_steps(registry: Snapshot, providers: list[tuple[Provider, Any]]) -> list[dict[str, Any]]:
    has_key = any(state.stored or state.variable for _, state in providers)
    user_count = db.session.execute(select(func.count()).select_from(User)).scalar_one()
    key_url = url_for("provider.edit_view", id=providers[0][0].id) if providers else url_for("provider.create_view")
    return [
        {"text": "Add a provider", "done": bool(providers), "url": url_for("provider.create_view")},
        {"text": "Enter a key for a provider that you use", "done": has_key, "url": key_url},
        {
            "text": "Choose a default text model",
            "done": "text" in registry.defaults,
            "url": url_for("model.index_view", flt0_type_equals="text"),
        },
        {
            "text": "Make one provider primary, so that it answers incidents",
            "done": any(row.is_primary for row, _ in providers),
            "url": url_for("provider.index_view"),
        },
        {"text": "Invite a colleague", "done": user_count > 1, "url": url_for("user.create_view")},
        {"text": "Make a token for an application", "done": bool(registry.tokens), "url": url_for("token.create_view")},
    ]


def _stats(registry: Snapshot, providers: list[tuple[Provider, Any]]) -> list[dict[str, Any]]:
    active = [model for model in registry.models if model.active]
    states = [model.price_state for model in active]
    usable = sum(state.usable for _, state in providers)
    unknown = states.count("unknown")
    models_url = url_for("model.index_view")
    return [
        {
            "label": "Active models",
            "value": f"{len(active):,}",
            "hint": f"of {len(registry.models):,}",
            "icon": "box",
            "tone": "blue",
            "url": url_for("model.index_view", flt0_active_equals=1),
        },
        {
            "label": "Priced or free",
            "value": f"{len(states) - unknown:,}",
            "hint": "of the active ones",
            "icon": "coin",
            "tone": "green",
            "url": models_url,
        },
        {
            "label": "Unknown price",
            "value": f"{unknown:,}",
            "hint": "their costs are incomplete" if unknown else "every cost is complete",
            "icon": "help-circle",
            "tone": "yellow" if unknown else "green",
            "url": url_for("model.index_view", flt0_active_equals=1, flt1_price_state_equals="unknown"),
        },
        {
            "label": "Providers with a key",
            "value": f"{usable} of {len(providers)}",
            "hint": "or that need none",
            "icon": "key",
            "url": url_for("provider.index_view"),
        },
        {
            "label": "Applications",
            "value": f"{len(registry.tokens):,}",
            "hint": "tokens that work",
            "icon": "api",
            "url": url_for("token.index_view") if has_permission(Permission.ACCOUNTS_MANAGE) else "",
        },
    ]


def _attention_items(registry: Snapshot, providers: list[tuple[Provider, Any]], now: datetime) -> Iterator[dict[str, Any]]:
    yield from _instance_items(registry)
    for row, state in providers:
        if state.lost:
            yield {
                "text": f"The key of {row} cannot be read",
                "detail": state.lost,
                "action": "Enter the key",
                "icon": "key-off",
                "tone": "red",
                "url": url_for("provider.edit_view", id=row.id),
            }
        if row.is_primary and state.text == "no key":
            yield {
                "text": f"{row} is primary and has no key",
                "detail": "Runs on it fail and say so.",
                "action": "Enter a key",
                "icon": "key-off",
                "url": url_for("provider.edit_view", id=row.id),
            }
    unknown = [model for model in registry.models if model.active and model.price_state == "unknown"]
    if unknown:
        yield {
            "text": f"{len(unknown):,} active model{'s have' if len(unknown) > 1 else ' has'} no known price",
            "detail": f"{_join_names(unknown)}: costs are reported as incomplete, never as zero.",
            "action": "Add prices",
            "icon": "coin",
            "url": url_for("model.index_view", flt0_active_equals=1, flt1_price_state_equals="unknown"),
        }
    for position, model in enumerate(sorted((model for model in registry.models if _retires_soon(model, now)), key=_retirement_key)):
        detail = f"{_successor_text(model)} {_usage_text(model) if position < MAX_USAGE_LOOKUPS else ''}".strip()
        is_retired = (model.retired_at() or now) <= now
        text = f"{model.display_name} {'retired' if is_retired else 'retires'} on {format_date(model.retires_on)}"
        yield {
            "text": text,
            "detail": detail,
            "icon": "calendar-event",
            "tone": "red",
            "action": "Decide",
            "url": url_for("model.details_view", id=model.id),
        }


def _successor_text(model: ModelInfo) -> str:
    if not model.successor:
        return "No successor is named."
    switch_text = f", which takes over on {format_date(model.switches_on)}" if model.switches_on else ", and no day to switch over"
    return f"Successor: {model.successor}{switch_text}."


def _usage_text(model: ModelInfo) -> str:
    """Return who still uses a model."""
    row = db.session.get(Model, model.id) if model.id else None
    uses = succession.list_affected(db.session(), row) if row else []
    return f"Used: {'; '.join(uses)}." if uses else "Nobody used it in 30 days."


def _hide_forbidden_action(item: dict[str, Any]) -> dict[str, Any]:
    """Remove the action from an item if the user has no permission for it. The notice remains."""
    return (
        item
        if has_permission(Permission.REGISTRY_WRITE)
        else {name: value for name, value in item.items() if name not in ("url", "action")}
    )


def _instance_items(registry: Snapshot) -> Iterator[dict[str, Any]]:
    if registry.source != DATABASE:
        yield {
            "text": "The registry is not read from the database",
            "detail": "Answers come from a copy; nothing can be changed.",
            "tone": "red",
            "icon": "database",
        }
    if reason := container.vault().reason:
        yield {"text": "Keys are locked", "detail": f"{reason}.", "tone": "red", "icon": "lock"}
    if "text" not in registry.defaults:
        yield {
            "text": "There is no default text model",
            "detail": "Whoever asks for the default gets none.",
            "icon": "star",
            "action": "Choose one",
            "url": url_for("model.index_view", flt0_type_equals="text"),
        }


def _retires_soon(model: ModelInfo, now: datetime) -> bool:
    retired = model.retired_at()
    return model.active and retired is not None and retired <= now + RETIREMENT_NOTICE


def _retirement_key(model: ModelInfo) -> tuple[str, str]:
    return str(model.retires_on), model.ref


def _join_names(models: list[ModelInfo]) -> str:
    names = ", ".join(model.display_name for model in models[:MAX_NAMED_MODELS])
    return f"{names} and {len(models) - MAX_NAMED_MODELS:,} more" if len(models) > MAX_NAMED_MODELS else names


def _default_models(registry: Snapshot) -> list[dict[str, Any]]:
    """Return the default model of each type that has models."""
    rows = []
    for kind in dict.fromkeys(model.type for model in registry.models):
        model = registry.defaults.get(kind)
        url = url_for("model.details_view", id=model.id) if model and model.id else ""
        rows.append({"type": humanize(kind), "name": model.display_name if model else "", "url": url, "price": _price_text(model)})
    return rows


def _price_text(model: ModelInfo | None) -> Markup | str:
    """Return the price, with its unit, of the meters that dominate the cost: tokens, otherwise the output meter."""
    if model is None:
        return ""
    price = model.price
    if price is None or price.state != "priced":
        return input_cell(model)
    tokens = [(label, standard_rate(price, meter)) for label, meter in (("in", "input"), ("out", "output"))]
    amounts = [(label, rate.per_million) for label, rate in tokens if rate]
    texts = [f"{money_text.format_amount(amount, price.currency)} {label}" for label, amount in amounts if amount is not None]
    if texts:
        return f"{' · '.join(texts)} per 1M tokens"
    main_rate = next((rate for meter in ("input", *OUTPUT_METERS) if (rate := standard_rate(price, meter))), None)
    return format_rate(main_rate, price.currency) if main_rate else output_cell(model)


def _provider_view_model(row: Provider, state: Any, registry: Snapshot) -> dict[str, Any]:
    info = registry.providers.get(row.slug)
    count = info.models if info else 0
    detail = f"{count:,} model{'' if count == 1 else 's'}{', primary' if row.is_primary else ''}"
    label, tone = (state.text, state.tone) if row.is_active else ("inactive", "neutral")
    return {"name": row.display_name, "url": url_for("provider.details_view", id=row.id), "detail": detail, "state": label, "tone": tone}
