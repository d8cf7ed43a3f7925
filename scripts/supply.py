"""Supply-chain reports from requirements/run.lock: advisories, bill of materials (SBOM) and licenses.

Run by `make audit`, `make sbom` and `make licences`. If an index does not respond, pip-audit skips packages and still exits with 0. So
every report is compared with the lock file, and fails if a package is missing.
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
    """Return the normalized name and the version of every package in a lock file."""
    return {normalised(name): version for name, version in LINE.findall(text)}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def missing(reported: dict[str, str], lock: dict[str, str]) -> list[str]:
    """Return the packages of the lock that are not reported, or reported with another version."""
    return sorted(name for name, version in lock.items() if reported.get(name) != version)


def audit(tools: Path) -> None:
    """Look up advisories for each locked version. Exits with an error for an advisory or a package that was not audited."""
    command = [tools / "pip-audit", "--strict", "--disable-pip", "--require-hashes", "-r", LOCK, "--format", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if not result.stdout.strip():
        sys.exit(f"The audit could not be made, so nothing is known: {result.stderr.strip()[-500:]}")
    report = json.loads(result.stdout)["dependencies"]
    audited = {normalised(entry["name"]): entry["version"] for entry in report if "skip_reason" not in entry}
    _complete(audited, "audited")
    vulnerable = [
        f"{entry['name']} {entry['version']}: {', '.join(advisory['id'] for advisory in entry['vulns'])}"
        for entry in report
        if entry.get("vulns")
    ]
    if vulnerable:
        sys.exit("\n".join(vulnerable))
    _say(f"audited == locked == {len(audited)}, no known advisory")


def sbom(tools: Path) -> None:
    """Write a CycloneDX bill of materials to build/, without URLs of a package registry."""
    target = ROOT / "build" / "sbom.json"
    target.parent.mkdir(exist_ok=True)
    subprocess.run([tools / "cyclonedx-py", "requirements", "--output-reproducible", LOCK, "-o", target], check=True)
    bill = json.loads(target.read_text())
    for component in bill["components"]:
        for reference in component.pop("externalReferences", []):
            component.setdefault("hashes", []).extend(reference.get("hashes", []))
        component.pop("description", None)
    target.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")
    _complete({normalised(component["name"]): component["version"] for component in bill["components"]}, "in the bill")
    _say(f"{target.relative_to(ROOT)}: {len(bill['components'])} parts, as many as are locked")


def licences(_: Path) -> None:
    """Write docs/licences.md. Packages that are not installed on this platform keep their existing row."""
    documented = dict(re.findall(r"^\| (\S+) \| \S+ \| (.+) \|$", LICENCES.read_text() if LICENCES.exists() else "", re.MULTILINE))
    lock = locked(LOCK.read_text())
    licenses = {name: licence_of(name) or documented.get(name) or UNKNOWN for name in lock}
    rows = [f"| {name} | {version} | {licenses[name]} |" for name, version in lock.items()]
    LICENCES.write_text(HEAD + "\n".join(rows) + "\n")
    if unknown := [name for name, license_name in licenses.items() if license_name == UNKNOWN]:
        sys.exit(f"Not installed here, or without a licence: {', '.join(unknown)}. Enter it in {LICENCES.relative_to(ROOT)} by hand.")
    _say(f"{LICENCES.relative_to(ROOT)}: {len(rows)} packages")


def licence_of(name: str) -> str | None:
    """Return the license of an installed package: its expression, its classifiers, or its license field if that is short."""
    try:
        metadata_fields = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    classifiers = [text.rsplit(" :: ", 1)[1] for text in metadata_fields.get_all("Classifier", []) if text.startswith("License :: ")]
    stated = (metadata_fields.get("License") or "").strip().split("\n")[0]
    return metadata_fields.get("License-Expression") or "; ".join(classifiers) or (stated if 0 < len(stated) < 60 else None)


def _complete(reported: dict[str, str], word: str) -> None:
    if absent := missing(reported, locked(LOCK.read_text())):
        sys.exit(f"Not {word}: {', '.join(absent)}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    {"audit": audit, "sbom": sbom, "licences": licences}[sys.argv[1]](Path(sys.argv[2]))
