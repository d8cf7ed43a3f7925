"""Commands for the encryption key: what it encrypted, and rotating it."""

import click

from webapp.cli.accounts import operator
from webapp.cli.output import Failure, command, table
from webapp.domain.errors import KeysLocked
from webapp.extensions import db
from webapp.security.vault import Vault
from webapp.services import rotation
from webapp.web import current
from webapp.web.transaction import writing


@click.group()
def keys() -> None:
    """The key that encrypts providers' keys."""


def _open_vault() -> Vault:
    vault = current.vault()
    if vault.locked:
        raise KeysLocked(f"Keys are locked: {vault.reason}. Run `doctor`: it says what to do.")
    return vault


@keys.command("status")
@command
def status() -> None:
    """Show what each encryption key can read, and whether the older ones can be dropped."""
    vault = _open_vault()
    found = rotation.tally(db.session(), vault)
    rows = [(one.place, str(one.current), str(one.older), str(len(one.unreadable))) for one in found]
    click.echo(table(rows, ("COLUMN", "FIRST KEY", "OLDER KEYS", "UNREADABLE")))
    _unreadable({one.place: one.unreadable for one in found})
    if any(one.older for one in found):
        click.echo("Older keys are still needed: run `keys rotate`.")
    else:
        click.echo(f"Everything that can be read is under the first key ({vault.key_id}). Older keys can be dropped.")


@keys.command("rotate")
@command
def rotate() -> None:
    """Re-encrypt everything with the first key of MODELDESK_ENCRYPTION_KEYS. Can be stopped, and run again."""
    vault = _open_vault()
    rotated = 0
    unreadable: dict[str, tuple[int, ...]] = {}
    for column in rotation.encrypted_columns():
        place = f"{column.table.name}.{column.name}"
        after: int | None = 0
        while after is not None:
            with writing(refresh=False) as session:
                step = rotation.step(session, vault, column, after)
            rotated, after = rotated + step.rotated, step.after
            unreadable[place] = (*unreadable.get(place, ()), *step.unreadable)
    lost = sum(map(len, unreadable.values()))
    if rotated or lost:
        with writing() as session:
            rotation.record(session, vault, rotated, lost, actor=operator())
    click.echo(f"Re-encrypted {rotated} with the first key ({vault.key_id}).")
    _unreadable(unreadable)
    if lost:
        raise Failure(
            f"{lost} could not be read with any key. Add the key that encrypted them, or enter those keys anew; then run this again."
        )
    click.echo("Older keys can be dropped from MODELDESK_ENCRYPTION_KEYS once every worker was restarted with the new one first.")


def _unreadable(rows: dict[str, tuple[int, ...]]) -> None:
    for place, numbers in rows.items():
        if numbers:
            click.echo(
                f"No key reads {place} of row {', '.join(map(str, numbers[:20]))}{' and more' if len(numbers) > 20 else ''}.", err=True
            )
