"""What is installed is what is locked, and each part of it is listed with its licence (T40)."""

import re
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import supply  # noqa: E402 # a script, in no package

LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
RUN = supply.locked((ROOT / "requirements" / "run.lock").read_text())
# What may be run by the interpreter at every start; a trojan of 2026 came as such a file.
KNOWN_PTH = {"distutils-precedence.pth"}
FINE = re.compile(r"MIT|BSD|Apache|PSF|Python Software Foundation|ISC|MPL|Mozilla|LGPL|Zlib|CC0|Unlicense", re.IGNORECASE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_t40_every_locked_package_has_hashes_and_no_address(lock):
    text = lock.read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_what_runs_is_what_was_tested():
    tested = supply.locked((ROOT / "requirements" / "dev.lock").read_text())
    assert RUN
    assert {name: tested.get(name) for name in RUN} == RUN


def test_every_package_is_listed_with_a_licence_that_allows_this_use():
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    assert {name: version for name, version, _ in rows if name != "package"} == RUN
    assert [f"{name}: {licence}" for name, _, licence in rows if name != "package" and not FINE.search(licence)] == []


def test_t40_no_package_runs_code_at_every_start_of_the_interpreter():
    found = {path.name for folder in site.getsitepackages() for path in Path(folder).glob("*.pth")}
    assert found <= KNOWN_PTH


def test_t40_an_audit_that_looked_at_nothing_is_no_good_news(tmp_path):
    """The auditor is replaced by one that finds nothing because it looked at one package only, and by one that could not ask at all."""
    for answer, said in (
        ('{"dependencies": [{"name": "flask", "version": "3", "vulns": []}]}', "Not audited: alembic"),
        ("", "could not be made"),
    ):
        (tmp_path / "pip-audit").write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tmp_path / "pip-audit").chmod(0o755)
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / "supply.py", "audit", tmp_path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
