"""Commands for operators: `.venv/bin/flask --app wsgi ...`. Exit codes: 0 on success, 2 for invalid arguments, 1 with a one-line error."""

from flask import Flask

from webapp.cli import accounts, catalog_sync, credentials, doctor, incidents, operations, prepare, registry, transfer, worker


def init_app(app: Flask) -> None:
    app.cli.add_command(prepare.prepare)
    app.cli.add_command(accounts.users)
    app.cli.add_command(accounts.tokens)
    app.cli.add_command(registry.registry)
    registry.registry.add_command(transfer.export)
    registry.registry.add_command(transfer.import_file)
    app.cli.add_command(catalog_sync.catalog)
    app.cli.add_command(doctor.doctor)
    app.cli.add_command(credentials.keys)
    app.cli.add_command(incidents.incidents)
    app.cli.add_command(operations.backup)
    app.cli.add_command(operations.restore)
    app.cli.add_command(operations.database)
    app.cli.add_command(worker.worker)
