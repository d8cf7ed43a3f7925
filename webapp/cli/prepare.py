"""`prepare`: creates, migrates and seeds the database. `make run` runs it; repeating it changes nothing."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import flask_migrate
from alembic.util import CommandError
from flask.cli import with_appcontext
from sqlalchemy.exc import DatabaseError, OperationalError

from webapp.cli.accounts import operator, setup_url
from webapp.cli.output import Failure, translate_error
from webapp.config.settings import ROOT
from webapp.domain.shared.errors import DatabaseUnreachable, DiskFull
from webapp.extensions import db
from webapp.extensions.database_file import journal_mode, use_journal_mode
from webapp.extensions.engine import create_file
from webapp.extensions.network_file_systems import find_network_type
from webapp.registry import database_health
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security import keyfiles
from webapp.services.accounts import accounts
from webapp.services.credentials import key_check
from webapp.services.operations import seed
from webapp.services.runs import prompt_templates

# States in which `prepare` may write to the database.
SWITCHABLE = (database_health.OK, database_health.EMPTY, database_health.OLDER, database_health.UNREACHABLE)


@click.command()
@click.option("--no-link", is_flag=True, help="Print no set-up link. The server prints it once it accepts requests.")
@with_appcontext
def prepare(no_link: bool) -> None:
    """Create the embedded database if there was none, migrate, seed, and print the set-up link while there is no user."""
    container.current().process_report.silence()
    _print_warnings()
    if not _ensure_database():
        return
    _require_known_version()
    try:
        _prepare_file()
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        _seed_database(with_link=not no_link)
    except SystemExit as error:  # flask_migrate logs an Alembic error and exits.
        raise Failure("This database was made by another version of Modeldesk. Start that version, or restore a backup.") from error
    except CommandError as error:
        raise Failure(f"The database cannot be migrated: {error}") from error
    except (OperationalError, DatabaseUnreachable, DiskFull) as error:
        _print_read_only_notice(error)
    except DatabaseError as error:
        if type(error) is not DatabaseError:  # The base class itself means that the file is not a database.
            raise translate_error(error) from error
        _print_read_only_notice(error)
    except Exception as error:
        raise translate_error(error) from error


def _print_warnings() -> None:
    settings = container.settings()
    for warning in (*keyfiles.exposure_warnings(settings.secret_files), *settings.ignored_settings):
        click.echo(f"modeldesk: {warning}", err=True)


def _prepare_file() -> None:
    """Switch the embedded database to the journal mode that suits its SQLite and the settings."""
    path, mode = container.settings().sqlite_path, journal_mode(wal=container.settings().sqlite_wal)
    if path is None or container.current().database_health.check() not in SWITCHABLE:
        return
    db.engine.dispose()  # Its own idle connections would count as users of the database.
    if use_journal_mode(path, mode) != mode:
        click.echo(
            f"modeldesk: the database cannot be switched to journal mode {mode} while other processes use it. Stop them and start again.",
            err=True,
        )


def _require_known_version() -> None:
    """Reject a database of a newer version before Alembic does, with a clearer message."""
    if container.current().database_health.check() == database_health.NEWER:
        raise Failure("This database was made by a newer version of Modeldesk. Start that version, or restore a backup.")


def _print_read_only_notice(error: Exception) -> None:
    failure = translate_error(error)
    click.echo(f"modeldesk: {failure} Serving what was last known, read-only.", err=True)


def _require_local_disk(path: Path) -> None:
    if kind := find_network_type(path):
        raise Failure(
            f"The database {path} is on a network file system ({kind}), where SQLite can be damaged. Use a local disk or PostgreSQL."
        )


def _ensure_database() -> bool:
    """Create the embedded database on the first start.

    Returns False if the database existed before and is gone. A new one must not replace it automatically.
    """
    settings = container.settings()
    path = settings.sqlite_path
    if path is None:
        return True
    _require_local_disk(path)
    if path.exists():
        return True
    if leftovers := keyfiles.list_leftovers(path, settings.last_good_path):
        click.echo(
            f"modeldesk: the database {path} is gone. Serving the last good copy, read-only. Put the file back (or restore a backup) "
            f"and it is used at once; to begin anew instead, move {' and '.join(map(str, leftovers))} away and start again.",
            err=True,
        )
        return False
    try:
        create_file(path)
    except OSError as error:
        raise Failure(
            f"The database {path} cannot be created: {error.strerror}. Check DATABASE_URL and the folder's permissions."
        ) from error
    return True


def _seed_database(*, with_link: bool) -> None:
    with writing(refresh=False) as session:
        key_check.ensure_key_check(session, container.current().vault)
        result = seed.seed(session)
        prompt_templates.seed(session)
    if result:
        click.echo(f"Seeded {len(result.providers)} providers and {len(result.models)} models.", err=True)
    if reason := container.current().vault.reason:
        click.echo(f"modeldesk: keys are locked: {reason}. Everything that needs no key works.", err=True)
    if with_link:
        print_setup_link()


def print_setup_link() -> None:
    """Print a link that creates the first admin, if there is no user yet."""
    with writing(refresh=False) as session:
        secret = None if accounts.count(session) else accounts.make_link(session, None, actor=operator(), now=datetime.now(UTC))
    if secret:
        click.echo(f"\nFirst start. Create the first admin within 30 minutes, with this link that works once:\n\n    {setup_url(secret)}\n")
        sys.stdout.flush()
