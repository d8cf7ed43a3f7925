"""Commands for users and tokens."""

import getpass
import sys
from datetime import UTC, datetime

import click
from sqlalchemy import select

from webapp.cli.output import Failure, command, format_table
from webapp.config import server_address
from webapp.domain.accounts.permissions import ROLES, SCOPES
from webapp.domain.shared import validators
from webapp.extensions import db
from webapp.models import User
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, api_tokens, identities, second_factor


def operator() -> str:
    """Return the actor for the audit log: the operating-system user who runs the command."""
    return f"cli:{getpass.getuser()}"


def setup_url(secret: str) -> str:
    """Return the link at the configured address, or at that of the running server. Otherwise it is a guess, and a message says so."""
    settings = container.settings()
    address = settings.base_url if settings.base_url_configured else server_address.read(settings.instance_path)
    if address is None:
        click.echo(
            "No server runs on this instance folder, so the address of the link is taken from HOST and PORT. "
            "Set MODELDESK_BASE_URL if users reach it elsewhere.",
            err=True,
        )
    return f"{address or settings.base_url}/setup/{secret}"


@click.group()
def users() -> None:
    """Staff accounts."""


@users.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(list(ROLES)), required=True, help="What the user may do.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of printing a set-up link.")
@command
def create_user(email: str, role: str, password_stdin: bool) -> None:
    """Add a user. Prints a single-use set-up link unless a password is given."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    with writing(refresh=False) as session:
        user = accounts.create(session, email, role, actor=operator(), password=password)
        secret = None if password_stdin else accounts.make_link(session, user, actor=operator(), now=datetime.now(UTC))
    click.echo(f"Created {role} {accounts.normalize_email(email)}.")
    if secret:
        click.echo(f"Set a password within 30 minutes: {setup_url(secret)}")


@users.command("reset-password")
@click.argument("email")
@command
def reset_password(email: str) -> None:
    """Print a single-use link that sets a new password."""
    with writing(refresh=False) as session:
        user = accounts.find(session, email)
        secret = accounts.make_link(session, user, actor=operator(), now=datetime.now(UTC))
    click.echo(f"Set a new password within 30 minutes: {setup_url(secret)}")


@users.command("list")
@command
def list_users() -> None:
    """Show all users; the first column is the id."""
    rows = db.session.execute(select(User, User.password_hash.is_(None)).order_by(User.id))
    cells = [(str(user.id), user.email, user.role, _state(user, has_no_password)) for user, has_no_password in rows]
    click.echo(format_table(cells, ("ID", "EMAIL", "ROLE", "STATE")))


def _state(user: User, has_no_password: bool) -> str:
    if not user.is_active:
        return "disabled"
    return "invited" if has_no_password and not user.last_login_at else "active"


@users.command("disable")
@click.argument("email")
@command
def disable_user(email: str) -> None:
    """Keep a user out; open sessions end at once."""
    with writing(refresh=False) as session:
        accounts.set_active(session, accounts.find(session, email), False, actor=operator())
    click.echo(f"Disabled {accounts.normalize_email(email)}.")


@users.command("enable")
@click.argument("email")
@command
def enable_user(email: str) -> None:
    """Let a disabled user in again."""
    with writing(refresh=False) as session:
        accounts.set_active(session, accounts.find(session, email), True, actor=operator())
    click.echo(f"Enabled {accounts.normalize_email(email)}.")


@users.command("set-role")
@click.argument("email")
@click.argument("role", type=click.Choice(list(ROLES)))
@command
def set_role(email: str, role: str) -> None:
    """Give a user another role, from the next request on."""
    with writing(refresh=False) as session:
        accounts.set_role(session, accounts.find(session, email), role, actor=operator())
    click.echo(f"{accounts.normalize_email(email)} is {role} now.")


@users.command("remove-second-factor")
@click.argument("email")
@command
def remove_second_factor(email: str) -> None:
    """Let a user who lost device and recovery codes in with the password alone."""
    with writing(refresh=False) as session:
        second_factor.remove(session, accounts.find(session, email), actor=operator())
    click.echo(f"Removed the second factor of {accounts.normalize_email(email)}.")


@users.command("link-identity")
@click.argument("email")
@click.argument("subject")
@command
def link_identity(email: str, subject: str) -> None:
    """Say who a user is at the identity provider, by the subject (`sub`), where that vouches for no e-mail address."""
    openid = container.settings().openid
    if openid is None:
        raise Failure("MODELDESK_OIDC_ISSUER is not set, so there is nobody to link with")
    with writing(refresh=False) as session:
        identities.link(session, accounts.find(session, email), openid.issuer, subject, actor=operator())
    click.echo(f"Linked {accounts.normalize_email(email)}.")


@users.command("unlink-identity")
@click.argument("email")
@command
def unlink_identity(email: str) -> None:
    """Forget who a user is at the identity provider; open sessions end at once."""
    with writing(refresh=False) as session:
        identities.unlink(session, accounts.find(session, email), actor=operator())
    click.echo(f"Unlinked {accounts.normalize_email(email)}.")


@click.group()
def tokens() -> None:
    """Tokens of applications."""


@tokens.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(list(SCOPES)), help="What the token may do; repeatable.")
@click.option("--expires-days", type=click.IntRange(1, api_tokens.MAX_LIFETIME_DAYS), help="How many days it works; for ever if left out.")
@click.option("--project", help="The project that the token belongs to.")
@command
def create_token(name: str, scopes: tuple[str, ...], expires_days: int | None, project: str | None) -> None:
    """Make a token. It is printed once, alone on standard output, and cannot be shown again."""
    with writing(refresh=False) as session:
        expires_at = api_tokens.expiry_date(expires_days, now=datetime.now(UTC))
        project_slug = validators.optional(validators.slug)(project, "project")
        _, text = api_tokens.create(session, name, scopes, actor=operator(), expires_at=expires_at, project=project_slug)
    click.echo(text)


@tokens.command("list")
@command
def list_tokens() -> None:
    """Show all tokens, never their text; the first column is the id."""
    cells = []
    for token in api_tokens.list_all(db.session()):
        state = "revoked" if token.revoked_at else "active"
        expiry = f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never"
        cells.append((str(token.id), token.name, ",".join(token.scopes), state, expiry))
    click.echo(format_table(cells, ("ID", "NAME", "SCOPES", "STATE", "EXPIRES")))


@tokens.command("revoke")
@click.argument("token_id", metavar="ID", type=int)
@command
def revoke_token(token_id: int) -> None:
    """End a token; every worker refuses it within a second."""
    with writing(refresh=False) as session:
        token = api_tokens.revoke(session, token_id, actor=operator(), now=datetime.now(UTC))
        name = token.name
    click.echo(f"Revoked {name}.")
