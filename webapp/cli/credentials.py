"""Commands for the encryption key: its status and its rotation."""

import time

import click

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command, format_table
from webapp.domain.shared.errors import KeysLocked
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.vault import Vault
from webapp.services.credentials import rotation

MAX_NAMED = 20


@click.group()
def keys() -> None:
    """The key that encrypts providers' keys."""


def _require_unlocked_vault() -> Vault:
    vault = container.vault()
    if vault.locked:
        raise KeysLocked(f"Keys are locked: {vault.reason}. Run `doctor`: it says what to do.")
    return vault


@keys.command("status")
@command
def status() -> None:
    """Show what each encryption key can read, and whether the older ones can be dropped."""
    vault = _require_unlocked_vault()
    tallies = rotation.tally(db.session(), vault)
    rows = [(tally.column, str(tally.current), str(tally.older), str(len(tally.unreadable))) for tally in tallies]
    click.echo(format_table(rows, ("COLUMN", "FIRST KEY", "OLDER KEYS", "UNREADABLE")))
    _print_unreadable({tally.column: tally.unreadable for tally in tallies})
    if any(tally.older for tally in tallies):
        click.echo("Older keys are still needed: run `keys rotate`.")
    else:
        click.echo(f"Everything that can be read is under the first key ({vault.key_id}). No other one is needed for what is stored.")
        if vault.other_key_ids:
            click.echo(
                f"Behind it: {', '.join(vault.other_key_ids)}. Keep one that you are about to rotate to; drop one that you rotated from."
            )
    if any(tally.unreadable for tally in tallies):
        click.echo("What no key reads has to be entered again, or needs the key that encrypted it.")


@keys.command("rotate")
@command
def rotate() -> None:
    """Re-encrypt everything with the first key of MODELDESK_ENCRYPTION_KEYS. Can be stopped, and run again."""
    vault = _require_unlocked_vault()
    if any(tally.older for tally in rotation.tally(db.session(), vault)):
        with writing(refresh=False) as session:
            rotation.record_start(session, vault, actor=operator())
    rotated = 0
    unreadable: dict[str, tuple[int, ...]] = {}
    for column in rotation.encrypted_columns():
        column_name = f"{column.table.name}.{column.name}"
        resume_after: int | None = 0
        while resume_after is not None:
            started_at = time.monotonic()
            with writing(refresh=False) as session:
                step = rotation.rotate_batch(session, vault, column, resume_after)
            # SQLite does not queue writers: a waiting writer gets its turn only while no one writes.
            time.sleep(time.monotonic() - started_at)
            rotated, resume_after = rotated + step.rotated, step.resume_after
            unreadable[column_name] = (*unreadable.get(column_name, ()), *step.unreadable)
    lost = sum(map(len, unreadable.values()))
    if rotated or lost:
        with writing() as session:
            rotation.record_rotation(session, vault, rotated, lost, actor=operator())
    click.echo(f"Re-encrypted {rotated} with the first key ({vault.key_id}).")
    _print_unreadable(unreadable)
    if lost:
        raise Failure(
            f"{lost} could not be read with any key. Add the key that encrypted them, or enter those keys anew; then run this again."
        )
    click.echo("Older keys can be dropped from MODELDESK_ENCRYPTION_KEYS once every worker was restarted with the new one first.")


@keys.command("accept")
@click.option("--yes", is_flag=True, help="Do it. Without this, only say what cannot be read.")
@command
def accept(yes: bool) -> None:
    """When the key is lost for good: work with a new one, though it reads nothing of what there is.

    Nothing is deleted. Providers' keys are entered again; should the old key turn up, put it behind the new one and all can be read.
    """
    if not container.vault().locked:
        raise Failure("The present key reads what this database holds, so nothing is lost. To change it, use `keys rotate`.")
    # This vault has not been compared with the database.
    vault = Vault(container.settings().encryption_keys, container.settings().encryption_keys_source)
    if vault.locked:
        raise KeysLocked(f"There is no new key to work with: {vault.reason}.")
    lost = {tally.column: tally.unreadable for tally in rotation.tally(db.session(), vault)}
    _print_unreadable(lost)
    if not yes:
        raise Failure("This stays unreadable, and the desk would accept the new key. If that is meant, say --yes. Nothing was changed.")
    with writing() as session:
        # The key check itself does not count, because it is written again.
        rotation.accept_keys(session, vault, sum(map(len, lost.values())) - 1, actor=operator())
    click.echo(f"The desk works with the key {vault.key_id} now. Enter the providers' keys again on their pages.")
    click.echo("Whoever has a second factor signs in with a recovery code, or asks for `users remove-second-factor`.")


def _print_unreadable(rows: dict[str, tuple[int, ...]]) -> None:
    for column_name, row_ids in rows.items():
        for name in rotation.describe_rows(db.session(), column_name, row_ids[:MAX_NAMED]):
            click.echo(f"No key reads {name}.", err=True)
        if len(row_ids) > MAX_NAMED:
            click.echo(f"Nor {len(row_ids) - MAX_NAMED:,} more of {column_name}.", err=True)
