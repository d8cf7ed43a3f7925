"""Commands that query and seed the registry."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.explanation import explain as explained
from webapp.domain.catalog.serializers import model_document
from webapp.domain.costing.calculator import parse_attributes
from webapp.domain.pricing.cost_gaps import gaps_of
from webapp.domain.pricing.costs import Cost, CostLine
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.rate_text import describe_conditions, describe_terms
from webapp.domain.pricing.serializers import cost_document
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD, parse_service_tier
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Malformed
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp, parse_timestamp
from webapp.registry.registry import ModelRegistry
from webapp.runtime import container
from webapp.runtime.transaction import dry_run_transaction, writing
from webapp.services.operations import seed as seeding
from webapp.services.operations.seed import SeedResult


@click.group()
def registry() -> None:
    """Models, prices and costs."""


def load_registry() -> ModelRegistry:
    """Return the registry, read once. A command needs no refresh thread."""
    model_registry = container.current().registry
    model_registry.refresh()
    return model_registry


@registry.command("seed")
@click.option("--update-keys", is_flag=True, help="Also copy the keys that the environment holds into the database.")
@click.option("--dry-run", is_flag=True, help="Only say what would be added.")
@command
def seed(update_keys: bool, dry_run: bool) -> None:
    """Add the built-in providers and models that are missing. What staff edited or removed stays as it is."""
    result = SeedResult()
    with dry_run_transaction() if dry_run else writing(refresh=False) as session:
        result = seeding.seed(session)
        if update_keys:
            keys = seeding.update_keys(session, container.settings().environment, vault=container.current().vault, actor=operator())
            result.keys, result.notes = keys.keys, result.notes + keys.notes
    _print_seeding(result, "Would add" if dry_run else "Added")


def _print_seeding(result: SeedResult, verb: str) -> None:
    if not result:
        click.echo("Nothing is missing.")
    for kind, names in (("provider", result.providers), ("model", result.models), ("key", result.keys)):
        for name in names:
            click.echo(f"{verb} {kind} {name}")
    for note in result.notes:
        click.echo(f"Note: {note}")


@registry.command("show")
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Print what the HTTP API answers.")
@command
def show(ref: str, as_json: bool) -> None:
    """Show a model and its price."""
    model = load_registry().resolve(ref)
    if as_json:
        click.echo(json.dumps(model_document(model)))
        return
    for name, value in _model_fields(model):
        click.echo(f"{name:<16} {value}")


@registry.command("explain")
@click.argument("ref")
@click.option("--at", help="The moment, such as 2026-11-21T18:00:00Z; now if left out.")
@command
def explain(ref: str, at: str | None) -> None:
    """Say how the name REF becomes a model and a price, step by step, or why it does not."""
    timestamp = parse_timestamp(at, "at") if at else datetime.now(UTC).replace(microsecond=0)
    explanation = explained(load_registry().snapshot.names, ref, timestamp)
    for step in explanation.steps:
        click.echo(f"{step.name:<16} {step.query} -> {', '.join(step.refs) or 'nothing'}")
    if explanation.model is None:
        similar = explanation.candidates or explanation.suggestions
        hint = f" {'Candidates' if explanation.candidates else 'Similar'}: {', '.join(similar)}." if similar else ""
        raise Failure(f"{ref} is {explanation.reason}.{hint}")
    click.echo(f"{'model':<16} {explanation.model.ref}{'' if explanation.supported else f' (not supported: {explanation.reason})'}")
    since = f", price {explanation.price.id} since {format_timestamp(explanation.price.effective_from)}" if explanation.price else ""
    click.echo(f"{'price':<16} {_format_price(explanation.price)}{since}")


def _model_fields(model: ModelInfo) -> list[tuple[str, Any]]:
    state = "supported" if model.supported else f"not supported ({(model.unsupported_because or '').replace('_', ' ')})"
    return [
        ("ref", model.ref),
        ("name", model.display_name),
        ("type", model.type),
        ("state", state),
        ("default", "yes" if model.default else "no"),
        ("capabilities", ", ".join(model.capabilities) or "—"),
        ("context window", f"{model.context_window:,} tokens" if model.context_window else "unknown"),
        ("aliases", ", ".join(model.aliases) or "—"),
        ("price", _format_price(model.price)),
    ]


def _format_price(price: Price | None) -> str:
    if price is None or price.state == "unknown":
        return "unknown"
    if price.state == "free":
        return "free"
    rates = ", ".join(_format_rate(rate) for rate in price.rates)
    terms = "".join(f"; {term}" for term in describe_terms(price))
    return f"{rates} {price.currency}, since {price.effective_from:%Y-%m-%d}{terms}"


def _format_rate(rate: Rate) -> str:
    conditions = ", ".join(describe_conditions(rate))
    return f"{rate.meter} {format_decimal(rate.amount)} per {rate.per:,}{f' ({conditions})' if conditions else ''}"


@registry.command("cost")
@click.argument("ref")
@click.option("--input-tokens", type=int, default=0, help="All input tokens, cached ones included.")
@click.option("--output-tokens", type=int, default=0, help="All output tokens, reasoning included.")
@click.option("--image-count", type=int, default=0)
@click.option("--usage", "usage_json", help='Usage by meter as JSON, such as {"input": 1000, "cache_read": 400} or {"second": 8.47}.')
@click.option("--service-tier", "tier", default=STANDARD, help=f"One of {', '.join(SERVICE_TIERS)}.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="An attribute of the call, such as quality=high.")
@click.option("--at", "time_text", help="The time, such as 2026-11-21T00:00:00Z; now if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print what the HTTP API answers.")
@command
def cost(  # noqa: PLR0913 # one parameter per option
    ref: str, *, usage_json: str | None, tier: str, attributes: tuple[str, ...], time_text: str | None, as_json: bool, **counts: int
) -> None:
    """Say what a usage costs, exactly and itemised."""
    usage = _parse_usage(usage_json, counts)
    at = parse_timestamp(time_text, "at") if time_text is not None else datetime.now(UTC).replace(microsecond=0)
    service_tier, call_attributes = parse_service_tier(tier), parse_attributes(attributes)
    result = load_registry().calculate_cost(ref, usage=usage, at=at, service_tier=service_tier, attributes=call_attributes)
    click.echo(json.dumps(cost_document(result)) if as_json else _format_cost(result, usage))


def _parse_usage(usage_json: str | None, counts: dict[str, int]) -> Usage:
    counts_by_meter = {name: count for name, count in counts.items() if count}
    if usage_json is None:
        return Usage.of(counts_by_meter)
    try:
        usage = json.loads(usage_json, parse_float=Decimal, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        raise Malformed.field("usage", "must be a JSON object of meters and numbers") from None
    if not isinstance(usage, dict):
        raise Malformed.field("usage", "must be a JSON object of meters and numbers")
    return Usage.of({**counts_by_meter, **usage})


def _reject_constant(name: str) -> None:
    raise ValueError(name)


def _format_cost(result: Cost, usage: Usage) -> str:
    total = "unknown: no price is known for this moment" if result.total is None else f"{format_decimal(result.total)} {result.currency}"
    lines = [f"{result.model} at {format_timestamp(result.at) if result.at else 'now'}"]
    lines += [_format_cost_line(line) for line in result.lines]
    if result.surcharge is not None:
        lines.append(f"  {'surcharge':<59} = {format_decimal(result.surcharge)}")
    lines.append(f"  {'total':<16} {total}{' (rounded after 18 decimals)' if result.rounded else ''}")
    if result.missing and result.total is not None:
        lines += [f"  incomplete: {sentence}" for sentence in gaps_of(result, usage).sentences()]
    return "\n".join(lines)


def _format_cost_line(line: CostLine) -> str:
    rate = f"{format_decimal(line.rate.amount)} per {line.rate.per:,}"
    notes = [f"billed as {line.billed_as}"] if line.billed_as != line.meter else []
    notes += describe_conditions(line.rate) + ["minimum of a line"] * line.is_minimum + ["rounded"] * line.rounded
    note = f" ({', '.join(notes)})" if notes else ""
    return f"  {line.meter:<16} {line.quantity:>16,}  x {rate:<24} = {format_decimal(line.cost)}{note}"
