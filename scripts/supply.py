"""The supply chain in three lists, made from requirements/run.lock alone: advisories, parts (SBOM) and licences.

Run by `make audit`, `make sbom` and `make licences`. An auditor that looked at nothing also says that it found nothing (pip-audit does,
with exit code 0, when an index does not answer), so every list is compared with the lock: as many parts, or it fails.
"""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK, LICENCES = ROOT / "requirements" / "run.lock", ROOT / "docs" / "licences.md"
LINE = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)
UNKNOWN = "?"
HEAD = """# Licences of what is installed

Written by `make licences` from what the packages say of themselves; a test compares it with `requirements/run.lock`. What Modeldesk
ships itself is in [THIRD_PARTY_NOTICES.md](../THIRD_PARTY_NOTICES.md).

| package | version | licence |
|---|---|---|
"""


def locked(text: str) -> dict[str, str]:
    """Normalised name and version of every package in a lock file."""
    return {normalised(name): version for name, version in LINE.findall(text)}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def missing(found: dict[str, str], lock: dict[str, str]) -> list[str]:
    """What the lock holds and a list does not, or in another version."""
    return sorted(name for name, version in lock.items() if found.get(name) != version)


def audit(tools: Path) -> None:
    """Asks the advisory database about each locked version; fails on an advisory and on a package that was not looked at."""
    command = [tools / "pip-audit", "--strict", "--disable-pip", "--require-hashes", "-r", LOCK, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        sys.exit(f"The audit could not be made, so nothing is known: {done.stderr.strip()[-500:]}")
    report = json.loads(done.stdout)["dependencies"]
    looked_at = {normalised(entry["name"]): entry["version"] for entry in report if "skip_reason" not in entry}
    _complete(looked_at, "audited")
    bad = [
        f"{entry['name']} {entry['version']}: {', '.join(found['id'] for found in entry['vulns'])}"
        for entry in report
        if entry.get("vulns")
    ]
    if bad:
        sys.exit("\n".join(bad))
    _say(f"audited == locked == {len(looked_at)}, no known advisory")


def sbom(tools: Path) -> None:
    """A CycloneDX bill of materials in build/, without addresses of a package registry."""
    target = ROOT / "build" / "sbom.json"
    target.parent.mkdir(exist_ok=True)
    subprocess.run([tools / "cyclonedx-py", "requirements", "--output-reproducible", LOCK, "-o", target], check=True)
    bill = json.loads(target.read_text())
    for part in bill["components"]:
        for reference in part.pop("externalReferences", []):
            part.setdefault("hashes", []).extend(reference.get("hashes", []))
        part.pop("description", None)
    target.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")
    _complete({normalised(part["name"]): part["version"] for part in bill["components"]}, "in the bill")
    _say(f"{target.relative_to(ROOT)}: {len(bill['components'])} parts, as many as are locked")


def licences(_: Path) -> None:
    """Writes docs/licences.md. What another system needs and this one has not installed keeps the line that it had."""
    known = dict(re.findall(r"^\| (\S+) \| \S+ \| (.+) \|$", LICENCES.read_text() if LICENCES.exists() else "", re.MULTILINE))
    lock = locked(LOCK.read_text())
    found = {name: licence_of(name) or known.get(name) or UNKNOWN for name in lock}
    rows = [f"| {name} | {version} | {found[name]} |" for name, version in lock.items()]
    LICENCES.write_text(HEAD + "\n".join(rows) + "\n")
    if unknown := [name for name, licence in found.items() if licence == UNKNOWN]:
        sys.exit(f"Not installed here, or without a licence: {', '.join(unknown)}. Enter it in {LICENCES.relative_to(ROOT)} by hand.")
    _say(f"{LICENCES.relative_to(ROOT)}: {len(rows)} packages")


def licence_of(name: str) -> str | None:
    """What an installed package says: its expression, else its classifiers, else its licence field if that is short."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    classifiers = [text.rsplit(" :: ", 1)[1] for text in found.get_all("Classifier", []) if text.startswith("License :: ")]
    stated = (found.get("License") or "").strip().split("\n")[0]
    return found.get("License-Expression") or "; ".join(classifiers) or (stated if 0 < len(stated) < 60 else None)


def _complete(found: dict[str, str], word: str) -> None:
    if left := missing(found, locked(LOCK.read_text())):
        sys.exit(f"Not {word}: {', '.join(left)}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    {"audit": audit, "sbom": sbom, "licences": licences}[sys.argv[1]](Path(sys.argv[2]))
