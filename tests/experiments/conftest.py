"""What the experiments of security.md share: a desk that really serves, how far to go, and where the numbers are written.

`make test` runs each in its short form; `make experiments` runs all of them at the size that the design asks for.
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
    """How many: the first number in `make test`, the second in `make experiments`."""
    return lambda short, full: full if FULL else short


@pytest.fixture
def report(request) -> Callable[[str], None]:
    """Writes a line of numbers for people; in the full form also into build/experiments.md."""

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
    """An experiment names its engines itself; the plain one is SQLite in every run."""
    return sqlite_settings


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def served(request, tmp_path: Path) -> Iterator[Serving]:
    """A desk of four workers on either engine."""
    settings = request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")
    with serving(settings, tmp_path, workers=4) as found:
        yield found
