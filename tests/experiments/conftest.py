"""Shared fixtures of the experiments in security.md: a real server, the scale, and the report.

`make test` runs the short form of each experiment. `make experiments` runs all of them at the size that the design requires.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import Serving, serving

from webapp.config.settings import ROOT, Settings

FULL = os.environ.get("EXPERIMENTS") == "full"
REPORT = ROOT / "build" / "experiments.md"
_writing = threading.Lock()


@pytest.fixture
def scale() -> Callable[[int, int], int]:
    """A function that returns its first number in `make test` and its second one in `make experiments`."""
    return lambda short, full: full if FULL else short


@pytest.fixture
def report(request) -> Callable[[str], None]:
    """A function that prints a line of results. In the full form, it also appends the line to build/experiments.md."""

    def write(line: str) -> None:
        print(f"{request.node.name}: {line}")  # noqa: T201 # shown by pytest -s
        if FULL:
            with _writing:
                REPORT.parent.mkdir(exist_ok=True)
                with REPORT.open("a") as file:
                    file.write(f"- `{request.node.name}`: {line}\n")

    return write


@pytest.fixture
def settings(sqlite_settings) -> Settings:
    """SQLite settings in every run, because an experiment names its engines itself."""
    return sqlite_settings


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def served(request, tmp_path: Path) -> Iterator[Serving]:
    """A server with four workers, once on each engine."""
    settings = request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")
    with serving(settings, tmp_path, workers=4) as server:
        yield server
