"""A real server, and a real browser in which any error or violation of the content security policy fails the test."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from webapp.config.settings import ROOT

PASSWORD = "Quiet-Harbour-of-the-browser"
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
# Without these, Chromium contacts its vendor's hosts for updates at every start.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@dataclass
class Desk:
    """A running server with two workers and its own database."""

    url: str
    folder: Path
    environment: dict[str, str] = field(repr=False)

    def flask(self, *arguments: str, stdin: str = "") -> str:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        process = subprocess.run(command, cwd=ROOT, env=self.environment, input=stdin, capture_output=True, text=True, check=True)
        return process.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def desk(tmp_path_factory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("browser-desk")
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MODELDESK_", "OPENAI_", "DATABASE_URL"))}
    environment = inherited | {
        "DATABASE_URL": f"sqlite:///{folder / 'desk.sqlite3'}",
        "MODELDESK_INSTANCE_PATH": str(folder / "instance"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "MODELDESK_OUTBOUND_ALLOW": "127.0.0.1",
    }
    instance = Desk(f"http://127.0.0.1:{port}", folder, environment)
    instance.flask("prepare")
    for name, role in (("ann", "admin"), ("eve", "viewer")):
        instance.flask("users", "create", f"{name}@example.com", "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n")
    command = [sys.executable, "-m", "webapp.server"]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"{instance.url}/healthz")
        yield instance
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer within 30 s")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


class Watch:
    """Collects errors of a page. `expected` has the error statuses that a test causes on purpose."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.complaints: list[str] = []
        self.expected: set[int] = set()
        self.url = url
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))
        context.on("request", lambda request: self._request(request.url))

    def _console(self, message: ConsoleMessage) -> None:
        provoked = any(f"status of {status}" in message.text for status in self.expected)
        if message.type in ("error", "warning") and not provoked:
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"asked another host: {url}")


@pytest.fixture
def context(browser, desk) -> Iterator[BrowserContext]:
    browser_context = browser.new_context(base_url=desk.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    browser_context.set_default_timeout(10_000)
    yield browser_context
    browser_context.close()


@pytest.fixture
def watch(context, desk) -> Iterator[Watch]:
    page_watch = Watch(context, desk.url)
    yield page_watch
    assert page_watch.complaints == []


@pytest.fixture
def page(context, watch) -> Page:
    """A page without a session. Any console error or warning, script error or request to another host fails the test."""
    return context.new_page()


@pytest.fixture
def ann(page) -> Page:
    """A page of an admin, signed in through the form."""
    sign_in(page, "ann@example.com")
    return page


@pytest.fixture
def eve(page) -> Page:
    """A page of a signed-in viewer."""
    sign_in(page, "eve@example.com")
    return page


def sign_in(page: Page, email: str) -> None:
    page.goto("/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")
