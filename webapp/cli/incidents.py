"""`incidents analyze`: runs an incident from a file or a pipe on a model or the built-in rules. The output is text or JSON."""

import json
import sys
from pathlib import Path

import click

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command
from webapp.domain.incidents import parsing
from webapp.domain.incidents.parsing import MAX_INPUT_LENGTH
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import Invalid
from webapp.models import Run
from webapp.runtime.run_pipeline import RunOptions, run_incident
from webapp.services.credentials.key_access import OPERATOR
from webapp.services.runs import records


@click.group()
def incidents() -> None:
    """Incidents, and what to do about them."""


@incidents.command("analyze")
@click.argument("file", metavar="FILE|-")
@click.option("--model", metavar="REF", help="The model to ask; without one Modeldesk chooses.")
@click.option("--template", metavar="NAME", help="The prompt template; incident-analysis if left out.")
@click.option("--no-cache", is_flag=True, help="Ask anew, also where the template would give a remembered answer.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as the HTTP API answers it.")
@command
def analyze(file: str, model: str | None, template: str | None, no_cache: bool, as_json: bool) -> None:
    """Run an incident (JSON, an Alertmanager payload, or text whose first line is the title) and print the result."""
    try:
        incident = parsing.parse_incident(_read_text(file)).incident
    except Invalid as error:
        raise Failure(error.detail) from error
    run = run_incident(incident, RunOptions(model, template, skip_cache=no_cache, caller=OPERATOR), actor=operator())
    click.echo(json.dumps(records.run_document(run), indent=2, ensure_ascii=False) if as_json else _format_run(run))
    if run.status == "failed":
        raise Failure(f"The model did not answer: {run.error_detail}")
    if run.status == "fell_back":
        click.echo(f"modeldesk: the model did not answer, so the local rules did: {run.error_detail}", err=True)


def _read_text(file: str) -> str:
    try:
        text = sys.stdin.read(MAX_INPUT_LENGTH + 1) if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.") from error
    return text


def _cost_text(run: Run) -> str:
    cost = run.call_cost
    if cost.amount is None:
        return "cost unknown" if cost.sent else "no cost"
    return f"{'' if cost.complete else 'at least '}{money_text.format_amount(cost.amount, cost.currency)}"


def _format_run(run: Run) -> str:
    lines = []
    for position, recommendation in enumerate(run.recommendations, 1):
        lines += [
            f"{position}. [{recommendation.priority}] {recommendation.title} ({recommendation.type})",
            f"   {recommendation.description}",
        ]
        lines += [f"   - {action}" for action in recommendation.actions]
    model = "local rules" if run.answered_by == "local" else run.model_ref or run.driver
    usage = run.usage or {}
    tokens = f", {usage.get('input', 0):,} tokens in and {usage.get('output', 0):,} out" if usage else ""
    cost = _cost_text(run)
    cached = f", answered from the cache of {run.cached_from}" if run.cached else ""
    return "\n".join([*lines, "", f"{model}{tokens}, {cost}, {run.latency_ms:,} ms{cached}. Run {run.public_id}."])
