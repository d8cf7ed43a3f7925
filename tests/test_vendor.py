"""The committed third-party files match their manifests."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "static" / "vendor", ROOT / "tests" / "browser" / "vendor")
MANIFESTS = {folder: json.loads((folder / "manifest.json").read_text()) for folder in FOLDERS}
ASSETS = [(folder, name, entry) for folder, manifest in MANIFESTS.items() for name, entry in manifest.items()]
SPRITE_ICONS = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static" / "vendor" / "icons.svg").read_text()))


@pytest.mark.parametrize(("folder", "name", "entry"), ASSETS, ids=[name for _, name, _ in ASSETS])
def test_a_vendored_file_has_the_digest_of_its_manifest(folder, name, entry):
    digest = base64.b64encode(hashlib.sha384((folder / name).read_bytes()).digest()).decode()
    assert entry["sha384"] == f"sha384-{digest}"


@pytest.mark.parametrize(("folder", "name", "entry"), ASSETS, ids=[name for _, name, _ in ASSETS])
def test_a_vendored_file_has_the_version_that_package_json_pins(folder, name, entry):
    package_json = json.loads((ROOT / "package.json").read_text())
    pinned = {**package_json["dependencies"], **package_json["devDependencies"]}
    assert entry["version"] == pinned[entry["package"]]


@pytest.mark.parametrize("folder", FOLDERS, ids=["static", "tests"])
def test_every_vendored_file_is_in_the_manifest_or_is_a_licence(folder):
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in files - set(MANIFESTS[folder]) if not name.endswith("LICENSE")} == {"manifest.json"}


@pytest.mark.parametrize(("folder", "name", "entry"), ASSETS, ids=[name for _, name, _ in ASSETS])
def test_a_licence_text_lies_beside_every_vendored_file(folder, name, entry):
    licence = (folder / name).with_name("LICENSE") if "/" in name else folder / Path(name).stem / "LICENSE"
    assert len(licence.read_text()) > 400


def test_every_icon_that_a_template_names_is_in_the_sprite():
    templates = (ROOT / "templates").rglob("*.html")
    named = {name for path in templates for name in re.findall(r"""(?<![\w-])icon(?:=|\()['"]([a-z0-9-]+)['"]""", path.read_text())}
    assert named - SPRITE_ICONS == set()


def test_no_lock_file_names_a_registry():
    assert "resolved" not in (ROOT / "package-lock.json").read_text()
