"""View models of runs. They hold plain values only, so that model output stays text."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from webapp.admin.core.cost_lines import cost_line, surcharge_line
from webapp.domain.pricing.cost_gaps import gaps_of_document
from webapp.domain.pricing.meters import METER_TABLE, METERS, label_of
from webapp.domain.pricing.repricing import attributes_of
from webapp.domain.pricing.serializers import cost_line_from
from webapp.domain.pricing.spend import NO_COST
from webapp.domain.shared import money_text
from webapp.drivers import DRIVERS
from webapp.models import Run, RunRecommendation
from webapp.services.runs import records

STATUSES: Mapping[str, tuple[str, str]] = {
    "succeeded": ("Succeeded", "green"),
    "failed": ("Failed", "red"),
    "fell_back": ("Fell back", "yellow"),
    "running": ("Running", "blue"),
}
PRIORITIES: Mapping[str, str] = {"critical": "red", "high": "yellow", "medium": "blue", "low": "neutral"}
ICONS: Mapping[str, str] = {
    "memory": "stack-2",
    "disk": "database",
    "cpu": "cpu",
    "process": "activity",
    "network": "network",
    "general": "info-circle",
}
KEY_SOURCE_LABELS: Mapping[str, str] = {
    "database": "the key stored in Modeldesk",
    "environment": "a key in the server's environment",
    "local": "no key was needed",
}
DECISIONS: Mapping[str, str] = {
    "explicit ref": "It was chosen by name",
    "explicit choice": "They were chosen by name",
    "primary provider": "Modeldesk chose the primary provider's model",
    "template": "The template's preferred model was chosen",
    "default text model": "Modeldesk chose the default text model",
    "environment": "Modeldesk found OPENAI_API_KEY in the server's environment",
    "local rules": "There is no primary provider and no OPENAI_API_KEY in the environment",
}
PROVIDER_ERRORS = frozenset({"auth", "config", "permission", "billing", "not_found", "no_key", "connect", "redirect", "unsupported_param"})


def view_model(run: Run) -> dict[str, Any]:
    """Return everything that templates show of a run."""
    label, tone = STATUSES.get(run.status, (run.status, "neutral"))
    return {
        "run": run,
        "status": label,
        "tone": tone,
        "title": title_of(run),
        "asked": requested_model(run),
        "answered_by": "the local rules" if run.answered_by == "local" else run.model_ref or driver_label(run.answered_by),
        "decided": DECISIONS.get(run.decided_by, run.decided_by),
        "key": "no key" if run.error_code == "no_key" else describe_key(run),
        "advice": [_recommendation_view_model(recommendation) for recommendation in run.recommendations],
        "tokens": _token_rows(run),
        "cost": cost_view_model(run),
        "reported": _reported_view_model(run),
        "attributes": [f"{name.replace('_', ' ')} {value}" for name, value in attributes_of(run.cost).items()],
        "lines": [cost_line(cost_line_from(line), run.currency) for line in (run.cost or {}).get("lines", [])],
        "surcharge": _surcharge(run),
        "latency": format_latency(run.latency_ms),
        "look_at_provider": run.provider_slug if run.error_code in PROVIDER_ERRORS else None,
        "incident": as_json(run.incident),
    }


def describe_key(run: Run) -> str:
    """Return the source of the key that a run used."""
    scope, _, owner = (run.key_source or "").partition(":")
    descriptions = {
        "shared": "the shared key stored in Modeldesk",
        "personal": f"the key of {owner}",
        "project": f"the key of the project {owner}",
        "environment": f"{owner} of the server's environment",
        "none": "no key, as none is needed",
    }
    return descriptions.get(scope) or KEY_SOURCE_LABELS.get(run.source, run.source)


def brief_view_model(run: Run) -> dict[str, Any]:
    """Return the values of a run for a row of a short list."""
    label, tone = STATUSES.get(run.status, (run.status, "neutral"))
    return {
        "run": run,
        "status": label,
        "tone": tone,
        "title": title_of(run),
        "asked": requested_model(run),
        "cost": cost_view_model(run),
        "latency": format_latency(run.latency_ms),
    }


def title_of(run: Run) -> str:
    title = run.incident.get("title")
    return title if isinstance(title, str) and title.strip() else run.public_id


def requested_model(run: Run) -> str:
    """Return the model that a run called or was meant to call."""
    return "Local rules" if run.driver == "local" else run.model_ref or driver_label(run.driver)


def driver_label(driver: str) -> str:
    info = DRIVERS.get(driver)
    return info.label if info else driver


def format_latency(milliseconds: int) -> str:
    return f"{milliseconds:,} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.1f} s"


def cost_view_model(run: Run) -> dict[str, str | None]:
    """Return the exact cost, or the reason why there is none. An unknown cost is never shown as zero."""
    cost = run.call_cost
    if cost.state == NO_COST:
        return _cost_without_amount("No cost", _no_cost_reason(run))
    if cost.amount is None:
        return _cost_without_amount("Unknown", _unknown_cost_reason(run))
    exact = money_text.format_amount(cost.amount, run.currency)
    if not cost.complete:
        gaps = gaps_of_document(run.cost or {}, run.usage or {})
        return _cost_without_amount(f"{gaps.prefix or 'at least '}{exact}", " ".join(gaps.sentences()) or "a part of it is unknown")
    return {"text": exact, "rounded": money_text.format_rounded(cost.amount, run.currency), "why": None}


def _cost_without_amount(text: str, reason: str) -> dict[str, str | None]:
    return {"text": text, "rounded": None, "why": reason}


def _no_cost_reason(run: Run) -> str:
    if run.cached:
        return f"answered from the cache: the model was asked by {run.cached_from}"
    return "the local rules use no model" if run.driver == "local" else "nothing was sent"


def _unknown_cost_reason(run: Run) -> str:
    if run.usage is None:
        succeeded = run.status == "succeeded"
        return "the provider did not say how much was used" if succeeded else "no usage was reported; the provider may bill all the same"
    if run.cost is None:
        return "the registry does not know the model"
    return "no price was known for the model at that moment" if run.cost_total is None else "no rate was known for what was used"


def _reported_view_model(run: Run) -> dict[str, str | None] | None:
    """Return the provider's own cost and its difference to the calculated cost, or None if it reported none."""
    if run.reported_cost is None:
        return None
    return {
        "text": money_text.format_amount(run.reported_cost, run.reported_currency),
        "difference": _difference_text(records.reported_difference(run), run.reported_currency),
    }


def _difference_text(difference: Decimal | None, currency: str | None) -> str | None:
    if difference is None:
        return None
    amount = money_text.format_amount(abs(difference), currency)
    return f"{amount} {'more' if difference > 0 else 'less'} than calculated" if difference else "as calculated"


def _surcharge(run: Run) -> dict[str, str] | None:
    surcharge = (run.cost or {}).get("surcharge")
    return surcharge_line(None if surcharge is None else Decimal(surcharge), None, run.currency)


def _token_rows(run: Run) -> list[tuple[str, str]]:
    usage = run.usage or {}
    return [(_meter_label(meter), f"{Decimal(usage[meter]):,}") for meter in METERS if usage.get(meter)]


def _meter_label(meter: str) -> str:
    return f"of which {label_of(meter).lower()}" if METER_TABLE[meter].parents else label_of(meter)


def _recommendation_view_model(recommendation: RunRecommendation) -> dict[str, Any]:
    return {
        "type": recommendation.type,
        "icon": ICONS.get(recommendation.type, "info-circle"),
        "priority": recommendation.priority,
        "tone": PRIORITIES.get(recommendation.priority, "neutral"),
        "title": recommendation.title,
        "description": recommendation.description,
        "actions": recommendation.actions,
        "details": as_json(recommendation.details) if recommendation.details else None,
    }


def as_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
