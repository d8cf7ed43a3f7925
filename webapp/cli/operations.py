"""`backup`, `restore` and `database move`: back up the database, restore it, and move it to another engine."""

from pathlib import Path

import click
import flask_migrate
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command
from webapp.config.settings import ROOT, Settings
from webapp.extensions import db
from webapp.extensions.database_file import journal_mode
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.credentials import key_check
from webapp.services.operations import backups, database_move

MIGRATIONS = str(ROOT / "migrations")
RESTORE_NOTICE = (
    "Everybody is signed out. Users, their rights and API tokens are as they were when the backup was made: whoever was switched off "
    "since is let in again, and a token that was revoked since works again. Look at `users list` and `tokens list`."
)
FILE_PATH = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=FILE_PATH)
@click.option("--replace", is_flag=True, help="Overwrite the file if it exists.")
@command
def backup(file: Path, replace: bool) -> None:
    """Write a backup of the database to FILE. The server can keep running.

    The file holds no encryption key: keep that elsewhere.
    """
    contents = backups.back_up(container.settings(), file, replace=replace)
    click.echo(f"Backed up {_format_contents(contents)} to {file}.")
    click.echo("The keys in it are encrypted. Keep MODELDESK_ENCRYPTION_KEYS somewhere else, or they cannot be read again.", err=True)


@click.command()
@click.argument("file", type=FILE_PATH)
@click.option("--replace", is_flag=True, help="Put it in the place of the present database.")
@command
def restore(file: Path, replace: bool) -> None:
    """Replace the database with the backup in FILE. Running workers use it within a second or two."""
    settings = container.settings()
    kind = backups.kind_of(file)
    if (kind == "sqlite") != (settings.sqlite_path is not None):
        raise backups.BackupRefused(f"{file.name} is a backup of {kind}, but DATABASE_URL names another engine. Set DATABASE_URL to match.")
    db.session.remove()  # An open reader would block the restore.
    previous_copy = _restore_backup(settings, file, replace)
    if previous_copy:  # Printed first, because a failed migration ends the command.
        click.echo(f"What was there before lies at {previous_copy}.")
    flask_migrate.upgrade(directory=MIGRATIONS)
    with writing(refresh=False) as session:
        key_check.mark_restored(session, file.name, actor=operator())
    click.echo(f"Restored {file}.")
    click.echo(RESTORE_NOTICE, err=True)
    if container.vault().locked:
        raise Failure(
            f"The database is restored, but its keys are locked: {container.vault().reason}. Set the encryption key of that time."
        )


def _restore_backup(settings: Settings, file: Path, replace: bool) -> Path | None:
    known_revisions = {script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions()}
    if backups.migration_of(file) not in known_revisions:
        raise backups.BackupRefused(f"{file.name} was made by a newer Modeldesk. Restore it with that version; nothing was changed.")
    if settings.sqlite_path is None:
        previous_copy = _dump_before_restore(settings, replace) if inspect(db.engine).has_table("registry_state") else None
        backups.restore_postgresql(file, settings.database_url)
        return previous_copy
    return backups.restore_sqlite(file, settings.sqlite_path, replace=replace, journal_mode=journal_mode(wal=settings.sqlite_wal))


def _dump_before_restore(settings: Settings, replace: bool) -> Path:
    if not replace:
        raise Failure("Restoring replaces every table of the database. Say --replace if that is meant; what is there is kept as a dump.")
    dump = backups.replaced_database_path(settings.instance_path / "postgresql.dump")
    settings.instance_path.mkdir(parents=True, exist_ok=True)
    backups.back_up(settings, dump)
    return dump


def _format_contents(contents: backups.BackupContents) -> str:
    size = f"{contents.bytes / 1_000_000:,.1f} MB"
    return f"{size}, revision {contents.revision}, {contents.models} models, {contents.users} users" if contents.migration else size


@click.group("database")
def database() -> None:
    """The database as a whole."""


@database.command("move")
@click.argument("target_url", metavar="URL")
@command
def move(target_url: str) -> None:
    """Copy everything to the empty database at URL (usually from SQLite to PostgreSQL), and prove that both hold the same.

    Stop the server first, so that nothing changes while the copy is made. The old database is not touched.
    """
    proofs = database_move.move(db.engine, target_url)
    for proof in proofs:
        click.echo(f"ok    {proof.table}: {proof.rows:,} rows{''.join(f', sum of {name} {value}' for name, value in proof.sums.items())}")
    click.echo(
        f"Moved {sum(proof.rows for proof in proofs):,} rows in {len(proofs)} tables. Set DATABASE_URL to the new address and start."
    )
