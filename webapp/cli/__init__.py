"""Commands for operators: `.venv/bin/flask --app wsgi ...`. Exit 0 on success, 2 on bad arguments, 1 with one clear line otherwise."""

from flask import Flask

from webapp.cli import accounts, doctor, incidents, prepare, registry
from webapp.cli import catalog_sync as catalog
from webapp.cli import credentials as keys
from webapp.cli import operations as backups
from webapp.cli import transfer as exchange


def init_app(app: Flask) -> None:
    app.cli.add_command(prepare.prepare)
    app.cli.add_command(accounts.users)
    app.cli.add_command(accounts.tokens)
    app.cli.add_command(registry.registry)
    registry.registry.add_command(exchange.export)
    registry.registry.add_command(exchange.import_file)
    app.cli.add_command(catalog.catalog)
    app.cli.add_command(doctor.doctor)
    app.cli.add_command(keys.keys)
    app.cli.add_command(incidents.incidents)
    app.cli.add_command(backups.backup)
    app.cli.add_command(backups.restore)
    app.cli.add_command(backups.database)
