"""How commands end: errors become one line on standard error, never a traceback."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.errors import ModeldeskError
from webapp.web.transaction import in_words

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """One clear line, exit code 1."""

    def show(self, file: Any = None) -> None:  # noqa: ANN401 # click's signature
        click.echo(f"modeldesk: {' '.join(self.message.split())}", err=True)


def command(function: Command) -> Command:
    """Runs inside the application, and turns our errors into one line."""

    @with_appcontext
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # whatever the command takes
        try:
            return function(*args, **kwargs)
        except ModeldeskError as error:
            raise Failure(error.detail) from error
        except SQLAlchemyError as error:
            raise Failure(in_words(error).detail) from error

    return run  # type: ignore[return-value] # wraps keeps the signature


def table(rows: Sequence[tuple[str, ...]], headings: tuple[str, ...]) -> str:
    """Columns of text, the first one the id."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [headings, *rows])
