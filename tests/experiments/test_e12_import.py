"""E12: an import is killed at a random point. Either the whole file is imported or nothing. A second run imports the whole file."""

import json
import random
import shutil
import subprocess
import sys
import time
from contextlib import closing

from factories import bulk_catalogue
from serving import environment_of

from webapp.config.settings import ROOT
from webapp.config.sqlite_driver import sqlite

IMPORT = [sys.executable, "-m", "flask", "--app", "wsgi", "registry", "import"]
# Negative control: the same rows, each in a separate transaction.
ROW_BY_ROW = [
    sys.executable,
    "-c",
    """
import json, os, sys
from webapp.app import create_app
from webapp.config.loading import load
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers
found = json.load(open(sys.argv[1]))
with create_app(load(os.environ)).app_context():
    with writing(refresh=False) as session:
        providers.create(session, found["providers"][0], actor="control")
    for row in found["models"]:
        with writing(refresh=False) as session:
            models.create(session, {name: value for name, value in row.items() if name != "prices"}, actor="control")
""",
]


class Imports:
    """Runs imports on fresh copies of the same database and counts the imported rows."""

    def __init__(self, settings, file) -> None:
        self.file, self.database, self.environment = file, settings.sqlite_path, environment_of(settings)
        self.before = self.database.with_name("before.sqlite3")
        shutil.copy(self.database, self.before)

    def reset(self) -> None:
        for old in self.database.parent.glob(f"{self.database.name}*"):
            old.unlink()
        shutil.copy(self.before, self.database)

    def run(self, command: list[str], seconds: float | None = None) -> tuple[bool, float]:
        """Run the import and kill it after `seconds`. Return whether it finished, and its run time in seconds."""
        start = time.monotonic()
        process = subprocess.Popen([*command, str(self.file)], cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)
        try:
            assert process.wait(seconds) == 0
            return True, time.monotonic() - start
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False, time.monotonic() - start

    def killed_after_the_first_row(self, command: list[str]) -> int:
        """Kill the import as soon as one row is visible. Return the number of models."""
        process = subprocess.Popen([*command, str(self.file)], cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and not self.found()[0]:
            time.sleep(0.001)
        process.kill()
        process.wait()
        return self.found()[0]

    def found(self) -> tuple[int, int, str]:
        """Return the number of models and prices from the file, and the result of the integrity check."""
        count = "SELECT count(*) FROM {} JOIN providers p ON p.id = m.provider_id WHERE p.slug = 'bulk'"
        with closing(sqlite.connect(self.database)) as connection:
            models = connection.execute(count.format("models m")).fetchone()[0]
            prices = connection.execute(count.format("prices r JOIN models m ON m.id = r.model_id")).fetchone()[0]
            return models, prices, connection.execute("PRAGMA integrity_check").fetchone()[0]


def test_e12_an_import_that_is_killed_leaves_all_or_nothing(settings, tmp_path, scale, report):
    points, count = scale(6, 200), scale(60, 5_000)
    file = tmp_path / "bulk.json"
    file.write_text(json.dumps(bulk_catalogue(count)))
    imports, rng = Imports(settings, file), random.Random(12)
    _, full_seconds = imports.run(IMPORT)
    assert imports.found() == (count, count, "ok")
    outcomes = []
    for _ in range(points):
        imports.reset()
        imports.run(IMPORT, rng.uniform(0.3, 1.02) * full_seconds)
        outcomes.append(imports.found())
    imports.reset()
    control = imports.killed_after_the_first_row(ROW_BY_ROW)
    complete = sum(models == count for models, _, _ in outcomes)
    report(f"{points} points within {full_seconds:.1f} s: {complete} whole, {points - complete} nothing, control left {control} of {count}")
    assert set(outcomes) <= {(0, 0, "ok"), (count, count, "ok")}
    assert 0 < control < count
    imports.reset()
    imports.run(IMPORT)
    assert imports.found() == (count, count, "ok")
