"""`doctor`: checks settings, database, keys and revisions, and says what to do."""

from collections.abc import Iterator

import click
from sqlalchemy.exc import SQLAlchemyError

from webapp.cli.output import Failure, command
from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.drivers.core.base import DriverError
from webapp.extensions import db
from webapp.registry import database_health
from webapp.runtime import container
from webapp.security import keyfiles
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.credentials import rotation

Finding = tuple[bool, str]


@click.command()
@command
def doctor() -> None:
    """Check everything that can be checked from here, and say what to do about what is wrong."""
    findings = [*_database(), *_settings(), *_keys(), *_users(), *_trail(), *_identity()]
    for good, text in findings:
        click.echo(f"{'ok  ' if good else 'FAIL'}  {text}")
    if not all(good for good, _ in findings):
        raise Failure("some checks failed; each line above says what to do")


def _database() -> Iterator[Finding]:
    state = container.current().watch.look()
    if state in database_health.WORDS:
        yield False, f"The database is {state}. {database_health.WORDS[state]}"
        return
    try:
        mark = container.current().source.look()
    except DatabaseUnreachable as error:
        yield False, f"The database does not answer: {error.detail} Run `prepare`."
        return
    yield True, f"The database answers, at revision {mark.revision}."
    yield True, "Its tables are up to date."


def _settings() -> Iterator[Finding]:
    for warning in keyfiles.exposed(container.settings().secret_files):
        yield False, warning
    for notice in container.settings().unheeded:
        yield True, notice


def _keys() -> Iterator[Finding]:
    desk = container.current()
    try:
        check = desk.source.load().key_check
    except DatabaseUnreachable:
        return
    if check is not None:
        desk.vault.verify(check)
    if desk.vault.locked:
        yield (
            False,
            f"Keys are locked: {desk.vault.reason}. Set the key that was in use before, behind a newer one if there is one; "
            "if it is lost for good, see `keys accept`.",
        )
        return
    session = db.session()
    lost = [name for one in rotation.tally(session, desk.vault) for name in rotation.names(session, one.place, one.unreadable)]
    if lost:
        yield False, f"No encryption key reads {'; '.join(lost)}. Enter what is lost again, or put the key that encrypted it behind."
    else:
        yield True, f"Everything encrypted can be read (encryption key {desk.vault.key_id})."


def _users() -> Iterator[Finding]:
    try:
        count = accounts.count(db.session())
    except SQLAlchemyError:
        return
    yield count > 0, f"{count} user(s)." if count else "There is no user: run `prepare` for a set-up link, or `users create`."


def _trail() -> Iterator[Finding]:
    try:
        broken = audit_log.first_break(db.session())
    except SQLAlchemyError:
        return
    if broken is None:
        yield True, "The audit trail is whole."
    else:
        yield False, f"The audit trail was changed by hand: {broken.said}. Compare it with a backup."


def _identity() -> Iterator[Finding]:
    provider = container.identity_provider()
    if provider is None:
        return
    try:
        provider.metadata()
    except DriverError as error:
        yield False, f"Nobody can sign in through MODELDESK_OIDC_ISSUER: {error.detail}"
        return
    yield True, f"The identity provider answers; it must know {container.settings().base_url}{container.WAY_BACK} as the way back."
