"""E12: an import is killed at a random point. Afterwards all of the file is there, or nothing of it; run again, it is whole."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

from factories import bulk_catalogue
from serving import environment_of

from webapp.config.settings import ROOT

IMPORT = [sys.executable, "-m", "flask", "--app", "wsgi", "registry", "import"]
# The negative control: the same rows, each in a transaction of its own.
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
    """Runs an import on a fresh copy of the same desk each time, and counts what is there after it."""

    def __init__(self, settings, file) -> None:
        self.file, self.database, self.environment = file, settings.sqlite_path, environment_of(settings)
        self.before = self.database.with_name("before.sqlite3")
        shutil.copy(self.database, self.before)

    def reset(self) -> None:
        for old in self.database.parent.glob(f"{self.database.name}*"):
            old.unlink()
        shutil.copy(self.before, self.database)

    def run(self, command: list[str], seconds: float | None = None) -> tuple[bool, float]:
        """Whether it ended by itself, and after how many seconds; it is killed after `seconds`."""
        began = time.monotonic()
        ran = subprocess.Popen([*command, str(self.file)], cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)
        try:
            assert ran.wait(seconds) == 0
            return True, time.monotonic() - began
        except subprocess.TimeoutExpired:
            ran.kill()
            ran.wait()
            return False, time.monotonic() - began

    def killed_after_the_first_row(self, command: list[str]) -> int:
        """How many rows are there when it is killed as soon as one can be seen."""
        ran = subprocess.Popen([*command, str(self.file)], cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)
        while ran.poll() is None and not self.found()[0]:
            time.sleep(0.001)
        ran.kill()
        ran.wait()
        return self.found()[0]

    def found(self) -> tuple[int, int, str]:
        """Models and prices of the file, and whether the database is whole."""
        count = "SELECT count(*) FROM {} JOIN providers p ON p.id = m.provider_id WHERE p.slug = 'bulk'"
        with closing(sqlite3.connect(self.database)) as connection:
            models = connection.execute(count.format("models m")).fetchone()[0]
            prices = connection.execute(count.format("prices r JOIN models m ON m.id = r.model_id")).fetchone()[0]
            return models, prices, connection.execute("PRAGMA integrity_check").fetchone()[0]


def test_e12_an_import_that_is_killed_leaves_all_or_nothing(settings, tmp_path, scale, report):
    points, count = scale(6, 200), scale(60, 5_000)
    file = tmp_path / "bulk.json"
    file.write_text(json.dumps(bulk_catalogue(count)))
    imports, chance = Imports(settings, file), random.Random(12)
    _, longest = imports.run(IMPORT)
    assert imports.found() == (count, count, "ok")
    seen = []
    for _ in range(points):
        imports.reset()
        imports.run(IMPORT, chance.uniform(0.3, 1.02) * longest)
        seen.append(imports.found())
    imports.reset()
    control = imports.killed_after_the_first_row(ROW_BY_ROW)
    whole = sum(models == count for models, _, _ in seen)
    report(f"{points} points within {longest:.1f} s: {whole} whole, {points - whole} nothing, control left {control} of {count}")
    assert set(seen) <= {(0, 0, "ok"), (count, count, "ok")}
    assert 0 < control < count
    imports.reset()
    imports.run(IMPORT)
    assert imports.found() == (count, count, "ok")
