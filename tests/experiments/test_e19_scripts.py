"""E19: scripts entered wherever people or vendors can enter a text, and every page that shows it in a real Chromium. None runs, and none is
even tried: the content policy is the second net, and a single thing that it has to catch fails the experiment."""

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
# Runs before any script of a page: whatever a page is kept from doing, and whatever it does, is told to the test.
WATCH = """
  Object.defineProperty(window, 'executed', { set() { window.toldOf('executed', location.href) } })
  document.addEventListener('securitypolicyviolation', (e) =>
    window.toldOf('violation', `${e.violatedDirective} ${e.blockedURI} ${e.sample}`))
"""


COUNT = "[document.querySelectorAll('[data-xss]').length, document.documentElement.textContent.split('executed=1').length - 1]"


class Chromium:
    """One page, and what it did that it must not."""

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
        answer = self.page.goto(path, wait_until="load")
        assert answer.ok or may_be_missing, (path, answer.status)
        self.count()

    def count(self) -> None:
        """How many of the payloads the page shows as text. Elements that a payload made are faults."""
        self.opened += 1
        made, shown = self.page.evaluate(
            "[document.querySelectorAll('[data-xss]').length, document.documentElement.textContent.split('executed=1').length - 1]"
        )
        self.seen += shown
        if made:
            self.told.append(f"element: {made} on {self.page.url}")

    def post(self, path: str, **options) -> None:
        """Sends a form as the page would, with its token."""
        token = csrf_token(self.page.content())
        if "multipart" in options:
            options["multipart"] = {"csrf_token": token} | options["multipart"]
        else:
            options["form"] = {"csrf_token": token} | options.get("form", {})
        answer = self.page.request.post(path, max_redirects=0, **options)
        assert answer.status < 400, (path, answer.status, answer.text()[:500])

    def settle(self) -> None:
        self.page.wait_for_timeout(200)  # For pictures that fail to load, and for what timers begin.


@contextmanager
def chromium(url: str) -> Iterator[Chromium]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        found = Chromium(browser.new_context(base_url=url, reduced_motion="reduce"))
        found.page.goto("/login")
        found.page.get_by_label("E-mail").fill("ann@example.com")
        found.page.get_by_label("Password").fill(PASSWORD)
        found.page.get_by_role("button", name="Sign in").click()
        found.page.wait_for_url("**/admin/")
        yield found
        browser.close()


def fill(settings, texts: Sequence[str], vendor: Upstream) -> None:
    """One row of each kind for each text, with the text in each of its fields; and one whose long fields hold all of them."""
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
            for number, text in enumerate(texts):
                whole = {"display_name": text, "description": text}
                providers.create(session, provider_values(slug=f"p{number}", **whole), actor=text)
                model = models.create(session, model_values(provider=f"p{number}", model_id=f"m{number}", **whole), actor=text)
                prices.add(session, model.id, price_values(note=text, source={"kind": "manual", "name": text}), actor=text)
                projects.create(session, {"slug": f"j{number}", **whole}, actor=text)
                api_tokens.create(session, text, ["registry:read"], actor=text)
                saved_incidents.save(session, text, incident_from({"title": text, "description": text}), actor=text)
                given = {
                    "name": f"t{number}",
                    "title": text,
                    "category": text[:60],
                    "system": text,
                    "user": text + " {{incident}}",
                    "note": text,
                }
                prompt_templates.create(session, given, actor=text)
                asked = EvaluationSetup(
                    text, [incident_from({"title": text, "description": text})], ["@local"], 1, "incident-analysis", Decimal(1), {}
                )
                evaluations.create(session, asked, actor=text)
        db.session.remove()
        db.engine.dispose()


def answer_of(texts: Sequence[str]) -> str:
    advice = [{"type": "disk", "priority": "high", "title": text, "description": text, "actions": [text]} for text in texts]
    return json.dumps({"recommendations": advice})


def run_incidents(served: Serving, texts: Sequence[str], vendor: Upstream) -> None:
    """The vendor answers with the texts, in its advice and in its errors."""
    client = served.client(served.token("runs:write"))
    for some in (texts[first : first + 10] for first in range(0, len(texts), 10)):
        vendor.says(reply(200, completion(answer_of(some), message={"role": "assistant"}) | {"model": some[0]}))
        alerts = [{"name": text, "description": text, "labels": {"x": text}} for text in some]
        body = {"incident": {"title": some[0], "description": "\n".join(some), "alerts": alerts}, "model": "vendor/m"}
        answered = client.ask("POST", "/runs", body)
        assert (answered.json["status"], len(answered.json["recommendations"])) == ("succeeded", len(some)), answered.body
        vendor.says(reply(200, completion(some[0])), error(400, some[0], headers={"x-request-id": some[0]}))
        assert client.ask("POST", "/runs", body | {"cache": False}).status == 201
    vendor.says(error(400, texts[0]))
    client.ask("POST", "/runs", body | {"cache": False})
    client.close()


def addresses(settings, most: int) -> list[str]:
    """Pages of single rows: the one that holds every text first."""
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
        found = []
        for table, path in kinds:
            rows = db.session.execute(select(table).order_by(table.id.desc()).limit(most)).scalars().all()
            found += [path.format(row) for row in rows]
        found += [f"/admin/project/{number}/rules" for number in range(1, most + 1)]
        vendor = db.session.execute(select(Provider.id).where(Provider.slug == "vendor")).scalar_one()
        model = db.session.execute(select(Model.id).where(Model.model_id == "m")).scalar_one()
        found += [
            f"/admin/{kind}/{page}/?id={number}"
            for kind, number in (("provider", vendor), ("model", model))
            for page in ("details", "edit")
        ]
        db.session.remove()
        db.engine.dispose()
    return [*found, f"/admin/provider/{vendor}/discover"]


def bring_files(seen: Chromium, texts: Sequence[str]) -> None:
    """Files whose fields and whose names are scripts, compared and shown before anything is taken over."""
    rows = [model_values(model_id=f"new-{number}", display_name=text, description=text, type=text) for number, text in enumerate(texts)]
    good = [row | {"type": "text"} for row in rows]
    for content in (good, rows):  # The second is refused, in words that name what is wrong.
        data = json.dumps({"format": FORMAT, "version": VERSION, "models": content}).encode()
        file = {"name": f"{texts[0]}.json"[:90], "mimeType": "application/json", "buffer": data}
        seen.page.goto("/admin/exchange/")
        seen.page.locator("input[type=file]").first.set_input_files(file)
        with seen.page.expect_navigation(wait_until="load"):
            seen.page.get_by_role("button", name=re.compile("Compare", re.I)).first.click()
        seen.count()


def use(seen: Chromium, text: str) -> None:
    """What scripts show: a message after saving, a toast after switching, a question before deleting."""
    seen.page.goto("/admin/model/new/")
    seen.post("/admin/model/new/", form={"provider": "vendor", "model_id": f"made-{abs(hash(text))}", "display_name": text, "type": "text"})
    seen.look("/admin/model/?search=m0")
    seen.page.get_by_role("switch").first.click()
    seen.page.locator("#toasts [data-toast-msg]").first.wait_for(state="visible")
    seen.look("/admin/model/details/?id=" + re.search(r"details/\?[^\"]*?id=(\d+)", seen.page.content())[1])
    question = seen.page.locator("[data-confirm]:visible").first
    if question.count():
        question.click()
        seen.settle()
        seen.page.keyboard.press("Escape")


def test_e19_t25_scripts_in_every_text_are_shown_as_text_on_every_page(settings, tmp_path, scale, report):
    texts, few, step = payloads(scale(12, 200)), scale(1, 20), scale(6, 1)  # A sixth of the addresses that any text can be put in.
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
    """Without the policy the script runs. With it, it does not, and that the policy had to keep it from running is noticed."""
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
