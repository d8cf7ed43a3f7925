"""The house itself: one place commits, no SDK at start, the domain stays pure."""

import re
import subprocess
import sys

import pytest

from webapp.config.settings import ROOT

SOURCES = list((ROOT / "webapp").rglob("*.py"))


def test_only_the_transaction_commits():
    found = [path.relative_to(ROOT).as_posix() for path in SOURCES if re.search(r"\.commit\(\)", path.read_text())]
    assert found == ["webapp/runtime/transaction.py"]


def test_only_the_runtime_and_the_web_read_the_current_app():
    found = {path.relative_to(ROOT).parts[1] for path in SOURCES if re.search(r"\bcurrent_app\b", path.read_text())}
    assert found == {"runtime", "web"}


def test_only_the_container_of_the_runtime_imports_flask():
    runtime = (ROOT / "webapp/runtime").glob("*.py")
    assert [path.name for path in runtime if re.search(r"^(from|import) flask\b", path.read_text(), re.MULTILINE)] == ["container.py"]


@pytest.mark.parametrize(
    "module",
    [
        "openai",
        "anthropic",
        "google.genai",
        "mistralai",
        "ollama",
        "httpx",
        "httpx2",
        "genai_prices",
        "psutil",
        "authlib",
        "joserfc",
        "segno",
    ],
)
def test_starting_the_application_imports_no(module):
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import webapp.app"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "flask.app" in imported
    assert module not in imported


def test_the_domain_needs_nothing_but_python():
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "webapp/domain").rglob("*.py"))
    modules = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); [__import__(name) for name in {modules!r}]"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_module_is_longer_than_it_can_be_read():
    long = {path.name: lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > 300}
    assert long == {}
