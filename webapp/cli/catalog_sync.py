"""Commands that compare public catalogs with the registry."""

from datetime import UTC, datetime
from pathlib import Path

import click

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command
from webapp.cli.registry import load_registry
from webapp.domain.catalog.catalog_guards import GUARDS, GuardLimits
from webapp.domain.shared.errors import Conflict
from webapp.models import ProposalRow
from webapp.price_sources import sources
from webapp.price_sources.sources import MAX_BYTES, SOURCES, SourceCatalog
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog_sync import proposals
from webapp.services.catalog_sync.proposals import Comparison

MAX_SHOWN = 40


@click.group()
def catalog() -> None:
    """Public catalogues of models and prices."""


@catalog.command("sync")
@click.argument("source", type=click.Choice(list(SOURCES)))
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="The file of the catalogue; only genai-prices needs none.")
@click.option("--propose", is_flag=True, help="Open a proposal, which somebody else chooses from and approves in the admin.")
@command
def sync(source: str, file: Path | None, propose: bool) -> None:
    """Say how the catalogue SOURCE differs from the registry. Changes nothing, and fetches nothing from the network."""
    comparison = Comparison(load_registry().snapshot, sources.read_catalog(source, _read_file(file)), None, _limits(), datetime.now(UTC))
    if not propose:
        rows, problems = proposals.build_rows(comparison)
        _print_comparison(rows, comparison.catalog, [*comparison.catalog.problems, *problems])
        return
    try:
        with writing(refresh=False) as session:
            proposal = proposals.open_proposal(session, comparison, actor=operator())
            proposal_id, counts = proposal.id, proposal.counts
    except Conflict as error:
        click.echo(error.detail)
        return
    summary = f"{counts['added']:,} new, {counts['changed']:,} changed, {counts['gone']:,} gone"
    click.echo(
        f"Opened the proposal {proposal_id}: {summary}. Look at it under {container.settings().base_url}/admin/proposals/{proposal_id}/"
    )


def _limits() -> GuardLimits:
    return GuardLimits(percent=container.settings().sync_percent)


def _read_file(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.") from error


def _print_comparison(rows: list[ProposalRow], catalog: SourceCatalog, problems: list[str]) -> None:
    counts = proposals.count_rows(rows)
    for row in [row for row in rows if row.kind != "added"][:MAX_SHOWN]:
        click.echo(f"{row.kind:8} {row.ref}")
        for field, before, after, percent, *_ in row.lines:
            click.echo(f"         {field}: {before or '-'} -> {after or '-'}{f' ({percent})' if percent else ''}")
    marks = "".join(f"\n  {count:,} marked: {GUARDS[name].label}" for name, count in counts["guards"].items())
    click.echo(f"{counts['added']:,} new, {counts['changed']:,} changed, {counts['gone']:,} gone.{marks}")
    click.echo(f"Price fields: {catalog.fields_read:,} in rates, {catalog.fields_noted:,} named in notes.")
    if problems:
        click.echo(f"{len(problems):,} problem{'s' if len(problems) != 1 else ''} in the source, such as {problems[0]}", err=True)
