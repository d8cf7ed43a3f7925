"""`prepare`: everything between a checkout and a desk that serves. Run by `make run`; repeating it changes nothing."""

import sys
from datetime import UTC, datetime

import click
import flask_migrate
from alembic.util import CommandError
from flask.cli import with_appcontext
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from webapp.cli.accounts import operator, setup_url
from webapp.cli.output import Failure, failure
from webapp.config.settings import ROOT
from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.extensions.engine import create_file
from webapp.registry import database_health
from webapp.runtime import container
from webapp.runtime.transaction import in_words, writing
from webapp.security import keyfiles
from webapp.services.accounts import accounts
from webapp.services.credentials import key_check
from webapp.services.operations import seed
from webapp.services.runs import prompt_templates


@click.command()
@with_appcontext
def prepare() -> None:
    """Create the embedded database if there was none, migrate, seed, and print the set-up link while there is no user."""
    container.current().report.silence()
    _warn()
    if not _has_database():
        return
    _refuse_newer()
    try:
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        _fill()
    except SystemExit as error:  # flask_migrate logs an Alembic error and exits
        raise Failure("This database was made by another version of Modeldesk. Start that version, or restore a backup.") from error
    except CommandError as error:
        raise Failure(f"The database cannot be migrated: {error}") from error
    except (OperationalError, DatabaseUnreachable) as error:
        _go_on(error)
    except DatabaseError as error:
        if type(error) is not DatabaseError:  # The class itself stands for a file that is no database.
            raise failure(error) from error
        _go_on(error)
    except Exception as error:
        raise failure(error) from error


def _warn() -> None:
    settings = container.settings()
    for warning in (*keyfiles.exposed(settings.secret_files), *settings.unheeded):
        click.echo(f"modeldesk: {warning}", err=True)


def _refuse_newer() -> None:
    """Before Alembic says it in words of its own."""
    if container.current().watch.look() == database_health.NEWER:
        raise Failure("This database was made by a newer version of Modeldesk. Start that version, or restore a backup.")


def _go_on(error: Exception) -> None:
    detail = in_words(error).detail if isinstance(error, SQLAlchemyError) else str(error)
    click.echo(f"modeldesk: {detail} Serving what was last known, read-only.", err=True)


def _has_database() -> bool:
    """False when the embedded database was there before and is gone now: nothing may take its place by itself."""
    settings = container.settings()
    path = settings.sqlite_path
    if path is None or path.exists():
        return True
    if left := keyfiles.remains(path, settings.last_good_path):
        click.echo(
            f"modeldesk: the database {path} is gone. Serving the last good copy, read-only. Put the file back (or restore a backup) "
            f"and it is used at once; to begin anew instead, move {' and '.join(map(str, left))} away and start again.",
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


def _fill() -> None:
    with writing(refresh=False) as session:
        key_check.ensure_key_check(session, container.current().vault)
        done = seed.seed(session)
        prompt_templates.seed(session)
        secret = None if accounts.count(session) else accounts.make_link(session, None, actor=operator(), now=datetime.now(UTC))
    if done:
        click.echo(f"Seeded {len(done.providers)} providers and {len(done.models)} models.", err=True)
    if reason := container.current().vault.reason:
        click.echo(f"modeldesk: keys are locked: {reason}. Everything that needs no key works.", err=True)
    if secret:
        click.echo(f"\nFirst start. Create the first admin within 30 minutes, with this link that works once:\n\n    {setup_url(secret)}\n")
        sys.stdout.flush()
