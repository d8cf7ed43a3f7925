"""E19: scripts in every text that users or vendors can enter, on every page that shows it, in a real Chromium. No script runs. The content
security policy is only the second line of defense, so a single violation of it fails the experiment."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from urllib.parse import quote

import pytest
from browser.conftest import CHROMIUM, SWITCHES
from environment import PASSWORD
from experiments.scripts import payloads
from factories import csrf_token, model_values, price_values, provider_values
from fake_provider import MODELS, Upstream, completion, error, reply
from playwright.sync_api import BrowserContext, Page, sync_playwright
from serving import Serving, serving
from sqlalchemy import select

from webapp.app import create_app
from webapp.domain.incidents.incidents import incident_from
from webapp.extensions import db
from webapp.models import AuditEvent, Evaluation, Model, PromptTemplate, Provider, Run
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.urlguard import OutboundPolicy
from webapp.services.accounts import api_tokens
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.pricing import prices
from webapp.services.projects import projects
from webapp.services.runs import evaluations, prompt_templates, saved_incidents
from webapp.services.runs.evaluations import EvaluationSetup
from webapp.services.transfer.import_rows import FORMAT, VERSION

pytestmark = pytest.mark.browser
LISTS = (
    "/admin/",
    "/admin/model/?page_size=200",
    "/admin/model/?page_size=200&search=x55",
    "/admin/provider/?page_size=200",
    "/admin/price/?page_size=200",
    "/admin/project/?page_size=200",
    "/admin/token/?page_size=200",
    "/admin/user/",
    "/admin/audit/?page_size=200",
    "/admin/run/?page_size=200",
    "/admin/prompts/",
    "/admin/bench/",
    "/admin/bench/new",
    "/admin/exchange/",
    "/admin/proposals/",
    "/admin/proposals/new",
    "/admin/my-keys/",
    "/admin/try-it/",
    "/admin/calculator/",
    "/admin/compare/",
    "/admin/what-if/",
    "/admin/explain/",
    "/admin/model/new/",
    "/admin/provider/new/",
    "/admin/price/new/",
    "/admin/account/",
    "/api/v1/docs",
    "/healthz",
)
SEARCHES = (
    "/admin/model/?search={}",
    "/admin/provider/?search={}",
    "/admin/audit/?search={}",
    "/admin/run/?search={}",
    "/admin/explain/?model={}",
    "/admin/calculator/?model={}&input={}",
    "/admin/compare/?capability={}&input={}",
    "/admin/what-if/?model={}&on={}",
    "/admin/price/new/?model={}",
    "/admin/model/?flt0_provider_equals={}",
    "/admin/model/?sort={}&page={}",
    "/admin/model/new/?url={}",
    "/admin/{}",
    "/admin/prompts/{}/",
    "/setup/{}",
    "/admin/bench/new?model={}",
    "/confirm?next={}",
    "/api/v1/docs?x={}",
)
# Runs before any script of a page. It reports executed scripts and policy violations to the test.
WATCH = """
  Object.defineProperty(window, 'executed', { set() { window.toldOf('executed', location.href) } })
  document.addEventListener('securitypolicyviolation', (e) =>
    window.toldOf('violation', `${e.violatedDirective} ${e.blockedURI} ${e.sample}`))
"""


COUNT = "[document.querySelectorAll('[data-xss]').length, document.documentElement.textContent.split('executed=1').length - 1]"


class Chromium:
    """One browser page and its faults."""

    def __init__(self, context: BrowserContext) -> None:
        self.told: list[str] = []
        self.seen = self.opened = 0
        context.expose_function("toldOf", lambda kind, what: self.told.append(f"{kind}: {what}"))
        context.add_init_script(WATCH)
        context.set_default_timeout(20_000)
        self.page: Page = context.new_page()
        self.page.on("dialog", self._dialog)

    def _dialog(self, dialog) -> None:
        self.told.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def look(self, path: str, *, may_be_missing: bool = False) -> None:
        response = self.page.goto(path, wait_until="load")
        assert response.ok or may_be_missing, (path, response.status)
        self.count()

    def count(self) -> None:
        """Count the payloads that the page shows as text. Elements created by a payload are faults."""
        self.opened += 1
        elements, shown = self.page.evaluate(
            "[document.querySelectorAll('[data-xss]').length, document.documentElement.textContent.split('executed=1').length - 1]"
        )
        self.seen += shown
        if elements:
            self.told.append(f"element: {elements} on {self.page.url}")

    def post(self, path: str, **options) -> None:
        """Submit a form like the page does, with its CSRF token."""
        token = csrf_token(self.page.content())
        if "multipart" in options:
            options["multipart"] = {"csrf_token": token} | options["multipart"]
        else:
            options["form"] = {"csrf_token": token} | options.get("form", {})
        response = self.page.request.post(path, max_redirects=0, **options)
        assert response.status < 400, (path, response.status, response.text()[:500])

    def settle(self) -> None:
        self.page.wait_for_timeout(200)  # Time for images that fail to load, and for timers.


@contextmanager
def chromium(url: str) -> Iterator[Chromium]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        session = Chromium(browser.new_context(base_url=url, reduced_motion="reduce"))
        session.page.goto("/login")
        session.page.get_by_label("E-mail").fill("ann@example.com")
        session.page.get_by_label("Password").fill(PASSWORD)
        session.page.get_by_role("button", name="Sign in").click()
        session.page.wait_for_url("**/admin/")
        yield session
        browser.close()


def fill(settings, texts: Sequence[str], vendor: Upstream) -> None:
    """Add one row of each kind per text, with the text in all its fields, and one row whose long fields contain all texts."""
    app = create_app(settings)
    everything = "\n".join(texts)[:9_000]
    with app.app_context():
        with writing() as session:
            policy = OutboundPolicy(frozenset({"127.0.0.1"}))
            local = providers.create(
                session,
                provider_values(slug="vendor", display_name=texts[0], base_url=vendor.base_url, description=everything),
                actor="ann",
                policy=policy,
            )
            credentials.store(session, local, "sk-0123456789abcdef", vault=container.vault(), actor="ann")
            models.create(
                session, model_values(provider="vendor", model_id="m", display_name=texts[0], description=everything), actor="ann"
            )
            for index, text in enumerate(texts):
                fields = {"display_name": text, "description": text}
                providers.create(session, provider_values(slug=f"p{index}", **fields), actor=text)
                model = models.create(session, model_values(provider=f"p{index}", model_id=f"m{index}", **fields), actor=text)
                prices.add(session, model.id, price_values(note=text, source={"kind": "manual", "name": text}), actor=text)
                projects.create(session, {"slug": f"j{index}", **fields}, actor=text)
                api_tokens.create(session, text, ["registry:read"], actor=text)
                saved_incidents.save(session, text, incident_from({"title": text, "description": text}), actor=text)
                template = {
                    "name": f"t{index}",
                    "title": text,
                    "category": text[:60],
                    "system": text,
                    "user": text + " {{incident}}",
                    "note": text,
                }
                prompt_templates.create(session, template, actor=text)
                setup = EvaluationSetup(
                    text, [incident_from({"title": text, "description": text})], ["@local"], 1, "incident-analysis", Decimal(1), {}
                )
                evaluations.create(session, setup, actor=text)
        db.session.remove()
        db.engine.dispose()


def answer_of(texts: Sequence[str]) -> str:
    advice = [{"type": "disk", "priority": "high", "title": text, "description": text, "actions": [text]} for text in texts]
    return json.dumps({"recommendations": advice})


def run_incidents(served: Serving, texts: Sequence[str], vendor: Upstream) -> None:
    """Run incidents. The vendor returns the texts in its recommendations and in its errors."""
    client = served.client(served.token("runs:write"))
    for batch in (texts[first : first + 10] for first in range(0, len(texts), 10)):
        vendor.says(reply(200, completion(answer_of(batch), message={"role": "assistant"}) | {"model": batch[0]}))
        alerts = [{"name": text, "description": text, "labels": {"x": text}} for text in batch]
        body = {"incident": {"title": batch[0], "description": "\n".join(batch), "alerts": alerts}, "model": "vendor/m"}
        response = client.ask("POST", "/runs", body)
        assert (response.json["status"], len(response.json["recommendations"])) == ("succeeded", len(batch)), response.body
        vendor.says(reply(200, completion(batch[0])), error(400, batch[0], headers={"x-request-id": batch[0]}))
        assert client.ask("POST", "/runs", body | {"cache": False}).status == 201
    vendor.says(error(400, texts[0]))
    client.ask("POST", "/runs", body | {"cache": False})
    client.close()


def addresses(settings, limit: int) -> list[str]:
    """Return the URLs of pages of single rows: the newest rows of each kind, and the rows that contain all texts."""
    app = create_app(settings)
    kinds = (
        (Model, "/admin/model/details/?id={0.id}"),
        (Model, "/admin/model/edit/?id={0.id}"),
        (Model, "/admin/price/new/?model={0.id}"),
        (Provider, "/admin/provider/details/?id={0.id}"),
        (Provider, "/admin/provider/edit/?id={0.id}"),
        (Run, "/admin/run/{0.public_id}"),
        (PromptTemplate, "/admin/prompts/{0.name}/"),
        (PromptTemplate, "/admin/prompts/{0.name}/edit"),
        (Evaluation, "/admin/bench/{0.public_id}/"),
        (AuditEvent, "/admin/audit/details/?id={0.id}"),
    )
    with app.app_context():
        paths = []
        for table, path in kinds:
            rows = db.session.execute(select(table).order_by(table.id.desc()).limit(limit)).scalars().all()
            paths += [path.format(row) for row in rows]
        paths += [f"/admin/project/{row_id}/rules" for row_id in range(1, limit + 1)]
        vendor = db.session.execute(select(Provider.id).where(Provider.slug == "vendor")).scalar_one()
        model = db.session.execute(select(Model.id).where(Model.model_id == "m")).scalar_one()
        paths += [
            f"/admin/{kind}/{page}/?id={row_id}"
            for kind, row_id in (("provider", vendor), ("model", model))
            for page in ("details", "edit")
        ]
        db.session.remove()
        db.engine.dispose()
    return [*paths, f"/admin/provider/{vendor}/discover"]


def bring_files(seen: Chromium, texts: Sequence[str]) -> None:
    """Upload files with scripts in their fields and names. The page compares and shows them before they are applied."""
    rows = [model_values(model_id=f"new-{number}", display_name=text, description=text, type=text) for number, text in enumerate(texts)]
    good = [row | {"type": "text"} for row in rows]
    for content in (good, rows):  # The second file is rejected, with a message that names the invalid values.
        data = json.dumps({"format": FORMAT, "version": VERSION, "models": content}).encode()
        file = {"name": f"{texts[0]}.json"[:90], "mimeType": "application/json", "buffer": data}
        seen.page.goto("/admin/exchange/")
        seen.page.locator("input[type=file]").first.set_input_files(file)
        with seen.page.expect_navigation(wait_until="load"):
            seen.page.get_by_role("button", name=re.compile("Compare", re.I)).first.click()
        seen.count()


def use(seen: Chromium, text: str) -> None:
    """Trigger the texts that JavaScript shows: a message after saving, a toast after a toggle, a confirmation before deleting."""
    seen.page.goto("/admin/model/new/")
    seen.post("/admin/model/new/", form={"provider": "vendor", "model_id": f"made-{abs(hash(text))}", "display_name": text, "type": "text"})
    seen.look("/admin/model/?search=m0")
    seen.page.get_by_role("switch").first.click()
    seen.page.locator("#toasts [data-toast-msg]").first.wait_for(state="visible")
    seen.look("/admin/model/details/?id=" + re.search(r"details/\?[^\"]*?id=(\d+)", seen.page.content())[1])
    confirm_button = seen.page.locator("[data-confirm]:visible").first
    if confirm_button.count():
        confirm_button.click()
        seen.settle()
        seen.page.keyboard.press("Escape")


def test_e19_t25_scripts_in_every_text_are_shown_as_text_on_every_page(settings, tmp_path, scale, report):
    texts, few, step = payloads(scale(12, 200)), scale(1, 20), scale(6, 1)  # The short form tries every sixth URL that contains a text.
    vendor = Upstream()
    fill(settings, texts, vendor)
    with serving(settings, tmp_path, workers=2, MODELDESK_OUTBOUND_ALLOW="127.0.0.1") as served:
        run_incidents(served, texts, vendor)
        vendor.says(reply(200, MODELS | {"data": [{"id": text, "object": "model", "created": 1, "owned_by": text} for text in texts]}))
        with chromium(f"http://127.0.0.1:{served.port}") as seen:
            for path in (*LISTS, *addresses(settings, few)):
                seen.look(path)
            for number, path in enumerate((SEARCHES * few)[::step]):
                seen.look(path.replace("{}", quote(texts[number * 7 % len(texts)], safe="")), may_be_missing=True)
            bring_files(seen, texts)
            for text in texts[:few]:
                use(seen, text)
            seen.settle()
    vendor.stop()
    report(f"{len(texts)} payloads, {seen.opened} pages, shown {seen.seen:,} times as text: {len(seen.told)} faults")
    assert seen.told == []
    assert seen.seen > 30 * len(texts)


def test_e19_control_one_field_that_is_written_as_markup_is_noticed(settings, tmp_path, report):
    """Without the policy, the script runs. With the policy, it is blocked and the violation is reported."""
    text, vendor, kinds = "<img src=x onerror=window.executed=1 data-xss>", Upstream(), {}
    fill(settings, [text], vendor)
    vendor.stop()
    careless = next(path for path in addresses(settings, 1) if "model/details" in path)
    for policy in ("on", "off"):
        options = {"application": "experiments.mutants.unescaped_field:app", "MODELDESK_TEST_POLICY": policy}
        with serving(settings, tmp_path, workers=1, **options) as served, chromium(f"http://127.0.0.1:{served.port}") as seen:
            seen.look(careless)
            seen.settle()
        kinds[policy] = {fault.partition(":")[0] for fault in seen.told}
    report(f"noticed with the policy {sorted(kinds['on'])}, without it {sorted(kinds['off'])}")
    assert kinds == {"on": {"element", "violation"}, "off": {"element", "executed"}}
