"""`doctor`: checks settings, database, keys and revisions, and says how to fix each problem."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click
from sqlalchemy.exc import SQLAlchemyError

from webapp.cli.output import Failure, command
from webapp.config.sqlite_driver import LIBRARY, WAL
from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.drivers.core.base import DriverError
from webapp.extensions import db
from webapp.extensions.engine import journal_reason
from webapp.extensions.network_file_systems import find_network_type
from webapp.registry import database_health
from webapp.runtime import container, descriptors
from webapp.security import keyfiles
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.credentials import rotation
from webapp.services.jobs import queue_status

Diagnosis = tuple[bool, str]
MAX_JOB_WAIT = timedelta(seconds=60)


@click.command()
@command
def doctor() -> None:
    """Check everything that can be checked from here, and say what to do about what is wrong."""
    findings = [
        *_check_database(),
        *_check_settings(),
        *_check_keys(),
        *_check_users(),
        *_check_audit_log(),
        *_check_jobs(),
        *_check_identity_provider(),
    ]
    for passed, text in findings:
        click.echo(f"{'ok  ' if passed else 'FAIL'}  {text}")
    if not all(passed for passed, _ in findings):
        raise Failure("some checks failed; each line above says what to do")


def _check_database() -> Iterator[Diagnosis]:
    state = container.current().database_health.check()
    if state in database_health.ADVICE:
        yield False, f"The database is {state}. {database_health.ADVICE[state]}"
        return
    try:
        revision_mark = container.current().source.read_revision()
    except DatabaseUnreachable as error:
        yield False, f"The database does not answer: {error.detail} Run `prepare`."
        return
    yield True, f"The database answers, at revision {revision_mark.revision}."
    yield True, "Its tables are up to date."
    yield from _check_sqlite()


def _check_sqlite() -> Iterator[Diagnosis]:
    """Name the SQLite that runs and, without WAL, what is not guaranteed."""
    path = container.settings().sqlite_path
    if path is None:
        return
    if kind := find_network_type(path):
        yield False, f"The database is on a network file system ({kind}), where SQLite can be damaged. Use a local disk or PostgreSQL."
    with db.engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one().upper()
    if mode == WAL:
        yield True, f"{LIBRARY} runs in journal mode {mode}: readers and writers do not wait for each other."
    else:
        yield (
            True,
            f"{LIBRARY} runs in journal mode {mode}, because {journal_reason(mode)}. Readers and writers wait for each other: during a "
            "long report, changes can be refused with `database_busy`, and a commit can delay a page.",
        )


def _check_settings() -> Iterator[Diagnosis]:
    for warning in keyfiles.exposure_warnings(container.settings().secret_files):
        yield False, warning
    for notice in container.settings().ignored_settings:
        yield True, notice
    descriptors.raise_limit()
    for warning in descriptors.warnings():
        yield False, warning


def _check_keys() -> Iterator[Diagnosis]:
    current = container.current()
    try:
        check = current.source.load().key_check
    except DatabaseUnreachable:
        return
    if check is not None:
        current.vault.verify_key_check(check)
    if current.vault.locked:
        yield (
            False,
            f"Keys are locked: {current.vault.reason}. Set the key that was in use before, behind a newer one if there is one; "
            "if it is lost for good, see `keys accept`.",
        )
        return
    session = db.session()
    lost = [
        name for tally in rotation.tally(session, current.vault) for name in rotation.describe_rows(session, tally.column, tally.unreadable)
    ]
    if lost:
        yield False, f"No encryption key reads {'; '.join(lost)}. Enter what is lost again, or put the key that encrypted it behind."
    else:
        yield True, f"Everything encrypted can be read (encryption key {current.vault.key_id})."


def _check_users() -> Iterator[Diagnosis]:
    try:
        count = accounts.count(db.session())
    except SQLAlchemyError:
        return
    yield count > 0, f"{count} user(s)." if count else "There is no user: run `prepare` for a set-up link, or `users create`."


def _check_audit_log() -> Iterator[Diagnosis]:
    try:
        first_break = audit_log.get_first_break_or_none(db.session())
    except SQLAlchemyError:
        return
    if first_break is None:
        yield True, "The audit trail is whole."
    else:
        yield False, f"The audit trail was changed by hand: {first_break.message}. Compare it with a backup."


def _check_jobs() -> Iterator[Diagnosis]:
    now = datetime.now(UTC)
    try:
        status = queue_status.read(db.session(), now)
    except SQLAlchemyError:
        return
    counts = f"Jobs: {status.queued:,} queued, {status.running:,} running; job workers: {status.workers:,}."
    if status.wait(now) > MAX_JOB_WAIT:
        yield False, f"{counts} The oldest job has waited for {int(status.wait(now).total_seconds()):,} seconds. {queue_status.ADVICE}"
    else:
        yield True, counts


def _check_identity_provider() -> Iterator[Diagnosis]:
    provider = container.identity_provider()
    if provider is None:
        return
    try:
        provider.metadata()
    except DriverError as error:
        yield False, f"Nobody can sign in through MODELDESK_OIDC_ISSUER: {error.detail}"
        return
    yield (
        True,
        f"The identity provider answers; it must know {container.settings().base_url}{container.OPENID_CALLBACK_PATH} as the way back.",
    )
