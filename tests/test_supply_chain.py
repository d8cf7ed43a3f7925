"""The installed packages match the lock files, and each one is listed with its license (T40)."""

import json
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import supply  # noqa: E402 # a script outside of any package

LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
RUN = supply.locked((ROOT / "requirements" / "run.lock").read_text())
# The interpreter runs these files at every start. A trojan of 2026 was such a file.
KNOWN_PTH = {"distutils-precedence.pth", "a1_coverage.pth"}  # Only tests install the second one. It is inert unless its variable is set.
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
    files = {path.name for folder in site.getsitepackages() for path in Path(folder).glob("*.pth")}
    assert files <= KNOWN_PTH


def report_of(**vulnerable: list[dict]) -> str:
    """Return an auditor report that covers every locked package."""
    rows = [{"name": name, "version": version, "vulns": vulnerable.get(name, [])} for name, version in RUN.items()]
    return json.dumps({"dependencies": rows})


OTHER = json.dumps({"dependencies": [{"name": name, "version": "0", "vulns": []} for name in RUN]})
AUDITS = {
    "looked at one package": ('{"dependencies": [{"name": "flask", "version": "3", "vulns": []}]}', 1, "Not audited: alembic"),
    "looked at other versions": (OTHER, 1, "Not audited: alembic"),
    "could not ask": ("", 1, "could not be made"),
    "found an advisory": (report_of(flask=[{"id": "CVE-2099-1"}]), 1, "flask 3"),
    "found nothing": (report_of(), 0, f"audited == locked == {len(RUN)}"),
}


@pytest.mark.parametrize("name", AUDITS)
def test_t40_an_audit_is_good_news_only_if_all_that_is_locked_was_looked_at(tmp_path, name):
    """A fake auditor prints the prepared report and stores its arguments."""
    report, code, message = AUDITS[name]
    (tmp_path / "answer").write_text(report)
    (tmp_path / "pip-audit").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/answer\n')
    (tmp_path / "pip-audit").chmod(0o755)
    process = subprocess.run(
        [sys.executable, ROOT / "scripts" / "supply.py", "audit", tmp_path], capture_output=True, text=True, check=False
    )
    assert (process.returncode, message in process.stdout + process.stderr) == (code, True), process.stderr
    assert {"--strict", "--require-hashes", "--disable-pip"} <= set((tmp_path / "asked").read_text().split())


def bill(versions: dict[str, str]) -> str:
    hashes = [{"alg": "SHA-256", "content": "00"}]
    parts = [
        {"name": name, "version": version, "description": "x", "externalReferences": [{"url": "https://index.example/x", "hashes": hashes}]}
        for name, version in versions.items()
    ]
    return json.dumps({"components": parts})


def test_t40_the_bill_of_materials_has_every_locked_part_and_no_address(tmp_path):
    """Works on a copy, so that this checkout stays unchanged, and with a fake tool that reads the lock file."""
    for folder in ("scripts", "requirements", "tools"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "scripts" / "supply.py", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements" / "run.lock", tmp_path / "requirements")
    tool, bom_file = tmp_path / "tools" / "cyclonedx-py", tmp_path / "said.json"
    tool.write_text(f'#!/bin/sh\nfor last; do :; done\ncp {bom_file} "$last"\n')
    tool.chmod(0o755)
    command = [sys.executable, tmp_path / "scripts" / "supply.py", "sbom", tmp_path / "tools"]
    bom_file.write_text(bill(RUN))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    written = (tmp_path / "build" / "sbom.json").read_text()
    assert ("://" in written, len(json.loads(written)["components"]), "SHA-256" in written) == (False, len(RUN), True)
    bom_file.write_text(bill({name: version for name, version in RUN.items() if name != "flask"}))
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, "Not in the bill: flask" in process.stderr) == (1, True)
