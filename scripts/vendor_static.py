"""Copy the pinned front-end files from node_modules to static/vendor, with their licenses and a manifest of digests.

    npm ci --ignore-scripts && python scripts/vendor_static.py

The result is committed, so running and testing Modeldesk does not require npm or this script. tests/test_vendor.py recomputes
the digests.
"""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NODE_MODULES = ROOT / "node_modules"
STATIC_VENDOR = ROOT / "static" / "vendor"
TEST_VENDOR = ROOT / "tests" / "browser" / "vendor"


class Asset(NamedTuple):
    """One file to copy: its target, its package, and its path in the package."""

    target: str
    package: str
    source: str


STATIC_ASSETS = (
    Asset("tabler/tabler.min.css", "@tabler/core", "dist/css/tabler.min.css"),
    Asset("tabler/tabler-vendors.min.css", "@tabler/core", "dist/css/tabler-vendors.min.css"),
    Asset("tabler/tabler.min.js", "@tabler/core", "dist/js/tabler.min.js"),
    Asset("htmx/htmx.min.js", "htmx.org", "dist/htmx.min.js"),
    Asset("tom-select/tom-select.complete.min.js", "tom-select", "dist/js/tom-select.complete.min.js"),
    Asset("tom-select/tom-select.bootstrap5.min.css", "tom-select", "dist/css/tom-select.bootstrap5.min.css"),
    Asset("inter/inter-latin-wght-normal.woff2", "@fontsource-variable/inter", "files/inter-latin-wght-normal.woff2"),
    Asset("inter/inter-latin-ext-wght-normal.woff2", "@fontsource-variable/inter", "files/inter-latin-ext-wght-normal.woff2"),
)
TEST_ASSETS = (Asset("axe-core/axe.min.js", "axe-core", "axe.min.js"),)

ICON_PACKAGE = "@tabler/icons"
# Names of @tabler/icons. The suffix "-filled" selects the filled variant.
ICON_NAMES = """
activity adjustments alert-circle alert-triangle api archive arrow-back-up arrow-left arrow-right arrow-up-right
arrows-diff arrows-sort ban bell bolt book box braces brain building calculator calendar calendar-event chart-bar
chart-line check checklist chevron-down chevron-left chevron-right chevron-up chevrons-left chevrons-right circle-check
circle-dashed circle-x clipboard-list clock cloud code coin columns copy cpu currency-dollar database device-desktop
dots-vertical download external-link eye eye-off file-import file-text filter flag flask git-compare help-circle history
hourglass info-circle key key-off keyboard layout-dashboard link list loader lock lock-open logout message microphone
moon network pencil photo player-play plug plug-connected plus power refresh report-money robot rotate-clockwise scale
search send server server-bolt settings shield-check shield-lock sparkles stack-2 star star-filled sun tag template
test-pipe tool trash trending-down trending-up trophy upload user user-plus users video volume wand wifi-off x
"""

# The package @tabler/core contains no license file; this is the text from its repository.
TABLER_LICENCE = """\
MIT License

Copyright (c) 2018-2026 The Tabler Authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
LICENCES_BY_HAND = {"@tabler/core": TABLER_LICENCE}

SOURCE_MAP_COMMENT = re.compile(rb"\n?(//# sourceMappingURL=.*|/\*# sourceMappingURL=.*?\*/)\s*$")
EMPTY_ICON_PATH = re.compile(r'<path stroke="none" d="M0 0h24v24H0z" fill="none" ?/>')
OUTLINE = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
FILLED = 'fill="currentColor" stroke="none"'


def sha384(data: bytes) -> str:
    """Return the digest in the format of Subresource Integrity."""
    return "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode()


def read_package(package: str) -> dict[str, str]:
    """Return the name, version and license from the package's metadata."""
    meta = json.loads((NODE_MODULES / package / "package.json").read_text(encoding="utf-8"))
    return {"package": package, "version": meta["version"], "license": meta["license"]}


def write_licence(package: str, folder: Path) -> None:
    """Write the license text of a package next to its files."""
    text = LICENCES_BY_HAND.get(package)
    if text is None:
        text = (NODE_MODULES / package / "LICENSE").read_text(encoding="utf-8")
    (folder / "LICENSE").write_text(text, encoding="utf-8")


def copy_asset(asset: Asset, out: Path) -> dict[str, str]:
    """Copy one file without its source-map comment, and return its manifest entry."""
    data = (NODE_MODULES / asset.package / asset.source).read_bytes()
    if not asset.target.endswith(".woff2"):
        data = SOURCE_MAP_COMMENT.sub(b"\n", data)
    target = out / asset.target
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    write_licence(asset.package, target.parent)
    return {**read_package(asset.package), "sha384": sha384(data)}


def icon_symbol(name: str) -> str:
    """Return one icon as a <symbol> in the color of the surrounding text."""
    folder, file_name, attributes = ("outline", name, OUTLINE)
    if name.endswith("-filled"):
        folder, file_name, attributes = ("filled", name.removesuffix("-filled"), FILLED)
    svg = (NODE_MODULES / ICON_PACKAGE / "icons" / folder / f"{file_name}.svg").read_text(encoding="utf-8")
    match = re.search(r"<svg[^>]*>(.*)</svg>", svg, re.DOTALL)
    if match is None:
        raise ValueError(f"{name} is not an SVG drawing")
    drawing = " ".join(EMPTY_ICON_PATH.sub("", match.group(1)).split())
    return f'<symbol id="{name}" viewBox="0 0 24 24" {attributes}>{drawing}</symbol>\n'


def write_sprite(out: Path) -> dict[str, str]:
    """Write icons.svg with the used icons only: 40 KB instead of an 800 KB web font."""
    symbols = "".join(icon_symbol(name) for name in sorted(set(ICON_NAMES.split())))
    data = f'<svg xmlns="http://www.w3.org/2000/svg">\n{symbols}</svg>\n'.encode()
    (out / "icons.svg").write_bytes(data)
    (out / "icons").mkdir(exist_ok=True)
    write_licence(ICON_PACKAGE, out / "icons")
    return {**read_package(ICON_PACKAGE), "sha384": sha384(data)}


def write_manifest(out: Path, manifest: dict[str, dict[str, str]]) -> None:
    """Write the manifest: the version and license of each file in the folder."""
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def fill(out: Path, assets: tuple[Asset, ...], *, with_icons: bool) -> None:
    """Fill a folder from scratch, so that unlisted files are removed."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    manifest = {asset.target: copy_asset(asset, out) for asset in assets}
    if with_icons:
        manifest["icons.svg"] = write_sprite(out)
    write_manifest(out, manifest)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out.relative_to(ROOT)}: {len(manifest)} files, {size // 1024} KiB")


if __name__ == "__main__":
    fill(STATIC_VENDOR, STATIC_ASSETS, with_icons=True)
    fill(TEST_VENDOR, TEST_ASSETS, with_icons=False)
