"""Commands for operators: `flask --app wsgi ...`. Exit 0 on success, 2 on bad arguments, 1 with one clear line otherwise."""

from flask import Flask

from webapp.cli import accounts, prepare


def init_app(app: Flask) -> None:
    app.cli.add_command(prepare.prepare)
    app.cli.add_command(accounts.users)
    app.cli.add_command(accounts.tokens)
