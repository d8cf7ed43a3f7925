"""Commands that export and import the registry: all of it as YAML or JSON, or its models as CSV."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command
from webapp.config.storage_errors import is_disk_full
from webapp.domain.catalog.name_changes import NamesConfirmation
from webapp.domain.shared.errors import Confirmation, ConfirmationRequired, DiskFull, Invalid
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.transaction import comparing, writing
from webapp.services.transfer import files
from webapp.services.transfer.files import FORMATS, YAML, Upload
from webapp.services.transfer.import_rows import ADDED, CHANGED, SAME, ImportReport
from webapp.services.transfer.registry_import import ImportContext


@click.command("export")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--format", "form", type=click.Choice(FORMATS), help="yaml if left out, or what the name of FILE ends in.")
@command
def export(file: Path | None, form: str | None) -> None:
    """Write the catalogue to FILE or standard output; never keys.

    YAML and JSON hold all of it: providers, models, aliases and every price. CSV holds one row a model, with the price that holds now.
    """
    file_format = form or files.format_of(file.name if file else "") or YAML
    text = files.export(db.session(), file_format, datetime.now(UTC))
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        if is_disk_full(error):
            if file.is_file():  # Half an export must not be mistaken for a whole one.
                file.unlink()
            raise DiskFull(
                f"There is no room for {file}. Nothing was exported. Free some space, or name a file on another disk."
            ) from error
        raise Failure(f"{file} cannot be written: {error.strerror}.") from error
    click.echo(f"Exported to {file}.", err=True)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option(
    "--confirm",
    "keys",
    multiple=True,
    help="The key that confirms names that get another meaning, or ids that differ from another only in case.",
)
@command
def import_file(file: Path, dry_run: bool, keys: tuple[str, ...]) -> None:
    """Bring the registry to what FILE says, all or nothing. What it does not name stays; keys never come from a file.

    A file that ends in .csv is read as models; a price that differs there becomes a new one from now on, or from `price_from`.
    """
    try:
        text = files.decode_text(file.read_bytes())
        upload = files.parse_upload(Upload(file.name, files.format_of(file.name) or YAML, text))
        context = ImportContext(operator(), container.current().outbound, keys, is_preview=dry_run)
        at = datetime.now(UTC)
        with comparing() as session:
            upload = files.prepare_upload(session, upload, at)
        with comparing() if dry_run else writing(refresh=False) as session:
            report = files.import_upload(session, upload, context, at)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.") from error
    except ConfirmationRequired as error:
        _print_confirmations(error.confirmations)
        raise Failure("Nothing was imported. Check the names, and confirm them with --confirm and the key.") from error
    except Invalid as error:
        for message in [field_error.message for field_error in error.errors][1:]:
            click.echo(message, err=True)
        raise Failure(error.errors[0].message if error.errors else error.detail) from error
    _print_report(report, "Would be" if dry_run else "Were")


def _print_confirmations(confirmations: Sequence[Confirmation]) -> None:
    for confirmation in confirmations:
        click.echo(f"confirm  {confirmation.message}")
        for change in confirmation.changes if isinstance(confirmation, NamesConfirmation) else ():
            click.echo(f"           {change} ({change.recent_calls:,} calls in 30 days)")
        click.echo(f"           key: {confirmation.key}")


def _print_report(report: ImportReport, prefix: str) -> None:
    for change in report.changes:
        if change.state != SAME:
            click.echo(f"{change.state:8} {change.kind:9} {change.name}{': ' + ', '.join(change.fields) if change.fields else ''}")
            for line in change.lines:
                before, after = (" ".join(text.split()) if text else "nothing" for text in (line.before, line.after))
                click.echo(f"           {line.field}: {before} -> {after}")
            for question in change.questions:
                click.echo(f"           look twice: {question}")
    _print_confirmations(report.confirmations)
    counts = ", ".join(f"{report.count(state)} {state}" for state in (ADDED, CHANGED, SAME))
    click.echo(f"{prefix} {counts}.")
