"""Commands that compare public catalogs with the registry."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command
from webapp.cli.registry import load_registry
from webapp.domain.catalog.catalog_diff import ADDED
from webapp.domain.catalog.catalog_guards import GUARDS, GuardLimits
from webapp.domain.catalog.price_diff import ModelDiffLine
from webapp.domain.shared.errors import Conflict
from webapp.extensions import db
from webapp.price_sources import sources
from webapp.price_sources.sources import MAX_BYTES, SOURCES, SourceCatalog
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog_sync import proposal_names, proposals, source_copies
from webapp.services.catalog_sync.proposals import Comparison

MAX_SHOWN = 40


@click.group()
def catalog() -> None:
    """Public catalogues of models and prices."""


@catalog.command("sync")
@click.argument("source", type=click.Choice(list(SOURCES)))
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="The file of the catalogue; genai-prices and seed need none.")
@click.option("--propose", is_flag=True, help="Open a proposal, which somebody else chooses from and approves in the admin.")
@command
def sync(source: str, file: Path | None, propose: bool) -> None:
    """Say how the catalogue SOURCE differs from the registry. Changes nothing, and fetches nothing from the network."""
    catalog = sources.read_catalog(source, _read_file(file))
    if propose:
        _open_proposal(catalog)
    else:
        _report(catalog)


def _report(catalog: SourceCatalog) -> None:
    session = db.session()
    second, shrunk = source_copies.get_second_opinion_or_none(session, catalog.name), source_copies.is_shrunk(session, catalog, _limits())
    rows, problems = proposals.build_rows(Comparison(load_registry().snapshot, catalog, second, _limits(), datetime.now(UTC), shrunk))
    for row in [row for row in rows if row.kind != ADDED or proposal_names.GUARD in row.guards][:MAX_SHOWN]:
        click.echo(f"{row.kind:8} {row.ref}")
        for line in row.lines:
            click.echo(f"         {_describe_line(ModelDiffLine(*line))}")
    _print_counts(proposals.count_rows(rows) | proposals.count_source(catalog, problems))
    _print_problems([*catalog.problems, *problems])


def _open_proposal(catalog: SourceCatalog) -> None:
    now = datetime.now(UTC)
    try:
        with writing(refresh=False) as session:
            second = source_copies.keep_and_find_second(session, catalog, None, now)
            shrunk = source_copies.is_shrunk(session, catalog, _limits())
            comparison = Comparison(load_registry().snapshot, catalog, second, _limits(), now, shrunk)
            proposal = proposals.open_proposal(session, comparison, actor=operator())
            proposal_id, counts, problems = proposal.id, proposal.counts, proposal.problems
    except Conflict as error:
        with writing(refresh=False) as session:  # Nothing is proposed, but the file is the last one of its source.
            source_copies.keep_and_find_second(session, catalog, None, now)
        click.echo(error.detail)
        return
    summary = f"{counts['added']:,} new, {counts['changed']:,} changed, {counts['gone']:,} gone"
    click.echo(
        f"Opened the proposal {proposal_id}: {summary}. Look at it under {container.settings().base_url}/admin/proposals/{proposal_id}/"
    )
    _print_counts(counts)
    _print_problems(problems, counts["problems"])


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


def _describe_line(line: ModelDiffLine) -> str:
    if line.unstated:
        return f"{line.field}: {line.before}, not stated by this source: stays"
    return f"{line.field}: {line.before or '-'} -> {line.after or '-'}{f' ({line.percent})' if line.percent else ''}"


def _print_counts(counts: Mapping[str, Any]) -> None:
    marks = "".join(f"\n  {count:,} marked: {GUARDS[name].label}" for name, count in counts["guards"].items())
    click.echo(f"{counts['added']:,} new, {counts['changed']:,} changed, {counts['gone']:,} gone.{marks}")
    click.echo(f"Records: {counts['records_read']:,} read, {counts['records_left_out']:,} left out.")
    click.echo(f"Price fields: {counts['fields_read']:,} in rates, {counts['fields_noted']:,} named in notes.")


def _print_problems(problems: Sequence[str], count: int | None = None) -> None:
    total = len(problems) if count is None else count
    if problems:
        click.echo(f"{total:,} problem{'s' if total != 1 else ''} in the source, such as {problems[0]}", err=True)
