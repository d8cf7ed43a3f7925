"""Take screenshots of every page of a running server, in light, dark and narrow: `screenshots.py URL EMAIL PASSWORD FOLDER`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

MODELS = "model=openai/gpt-4o&model=openai/gpt-4o-mini&model=anthropic/claude-3-haiku"
PAGES = {
    "dashboard": "/admin/",
    "models": "/admin/model/",
    "models-empty": "/admin/model/?search=nothing-is-called-so",
    "model": "/admin/model/details/?id=2",
    "model-edit": "/admin/model/edit/?id=2",
    "model-new": "/admin/model/new/",
    "providers": "/admin/provider/",
    "provider": "/admin/provider/details/?id=1",
    "provider-edit": "/admin/provider/edit/?id=1",
    "prices": "/admin/price/",
    "price-new": "/admin/price/new/?model=2",
    "calculator": f"/admin/calculator/?{MODELS}&input=12000&cache_read=8000&output=350",
    "calculator-empty": "/admin/calculator/",
    "compare": "/admin/compare/?capability=vision",
    "what-if": "/admin/what-if/?model=openai/gpt-4o&on=openai/gpt-4o-mini",
    "explain": "/admin/explain/?model=gpt-4o-2024-08-06",
    "explain-unknown": "/admin/explain/?model=gpt-5o",
    "tryit": "/admin/try-it/",
    "benches": "/admin/bench/",
    "bench-new": "/admin/bench/new",
    "prompts": "/admin/prompts/",
    "prompt": "/admin/prompts/incident-analysis/",
    "prompt-edit": "/admin/prompts/incident-analysis/edit",
    "proposals": "/admin/proposals/",
    "proposal-new": "/admin/proposals/new",
    "proposal": "/admin/proposals/1/",
    "exchange": "/admin/exchange/",
    "projects": "/admin/project/",
    "project-rules": "/admin/project/1/rules",
    "my-keys": "/admin/my-keys/",
    "runs": "/admin/run/",
    "account": "/admin/account/",
    "second-factor": "/admin/second-factor/",
    "confirm": "/confirm",
    "users": "/admin/user/",
    "tokens": "/admin/token/",
    "audit": "/admin/audit/",
    "audit-event": "/admin/audit/details/?id=1",
    "api-docs": "/api/v1/docs",
    "not-found": "/admin/no-such-page",
}
LOOKS = {
    "light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]


def take(browser: Browser, look: str, options: dict[str, object], arguments: list[str]) -> None:
    url, email, password, folder = arguments
    page = browser.new_page(base_url=url, reduced_motion="reduce", **options)
    page.on("console", lambda message: print(f"{look} {page.url}: {message.type}: {message.text}") if message.type == "error" else None)
    shoot(page, "/login", folder, f"login-{look}")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")
    for name, path in PAGES.items():
        shoot(page, path, folder, f"{name}-{look}")
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            print(f"{look} {path}: the page is wider than the window")
    page.close()


def shoot(page: Page, path: str, folder: str, name: str) -> None:
    page.goto(path, wait_until="networkidle")
    page.screenshot(path=Path(folder) / f"{name}.png", full_page=page.evaluate("document.documentElement.scrollHeight") < 4000)


def main() -> None:
    arguments = sys.argv[1:]
    Path(arguments[3]).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
        for look, options in LOOKS.items():
            take(browser, look, options, arguments)
        browser.close()


main()
