"""Alembic environment: the application's database connection, and the rendering of custom column types."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from flask import current_app

from webapp.extensions import db
from webapp.extensions.engine import WRITING

config = context.config


def render_item(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:  # any schema item
    """Render a custom column type as the plain type that it stores."""
    if kind == "type" and item.__class__.__module__.startswith("webapp."):
        return f"sa.{item.impl_instance!r}"
    return False


def run() -> None:
    options = current_app.extensions["migrate"].configure_args
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        context.configure(connection=connection, target_metadata=db.metadata, render_item=render_item, **options)
        with context.begin_transaction():
            context.run_migrations()


run()
