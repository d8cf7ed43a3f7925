"""Output of commands. Errors become one line on standard error, never a traceback."""

import functools
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from webapp.config.storage_errors import is_disk_full
from webapp.domain.shared.errors import DiskFull, Invalid, ModeldeskError
from webapp.runtime import container
from webapp.runtime.transaction import translate_database_error

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """A failed command: a one-line error, exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"modeldesk: {' '.join(self.message.split())}", err=True)


class BadArguments(Failure):
    """A command with invalid arguments: a one-line error, exit code 2."""

    exit_code = 2


def translate_error(error: Exception) -> Exception:
    """Return the exception that ends a command after `error`."""
    # A BrokenPipeError comes from `| head`: click exits silently.
    if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort | BrokenPipeError):
        return error
    if isinstance(error, Invalid):
        return BadArguments(error.detail)
    if isinstance(error, DiskFull):
        return Failure(f"{error.code}: {error.detail}")
    if is_disk_full(error):
        return translate_error(DiskFull())
    if isinstance(error, ModeldeskError):
        return Failure(error.detail)
    if isinstance(error, SQLAlchemyError):
        return Failure(translate_database_error(error).detail)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        f"an error that nobody expected: {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}. Please report it."
    )


def command(function: Command) -> Command:
    """Run a command in the application context, and turn its errors into one line."""

    @with_appcontext
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            container.current().process_report.silence()
            return function(*args, **kwargs)
        except Exception as error:
            raise translate_error(error) from error

    return run  # type: ignore[return-value] # wraps keeps the signature


def format_table(rows: Sequence[tuple[str, ...]], headings: tuple[str, ...]) -> str:
    """Return a table as text. The first column holds the id."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [headings, *rows])
