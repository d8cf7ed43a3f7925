"""Evaluations in a real browser: 3 incidents on 4 models, 3 times, with one failing and one slow local server; and cancellation."""

import json
import re
import subprocess
import sys
import urllib.request

import pytest
from fake_provider import ANSWER, Upstream, after, completion, error, reply
from playwright.sync_api import expect

from webapp.config.settings import ROOT

pytestmark = pytest.mark.browser
ADVICE = {"type": "cpu", "priority": "low", "title": "<b>Bold</b>", "description": "<img src=x onerror=alert(1)>", "actions": []}
OTHER = {"recommendations": [ADVICE]}
SLOW_S = 0.35


@pytest.fixture(scope="module")
def upstreams():
    servers = {name: Upstream() for name in ("swift", "other", "failing", "slow")}
    servers["other"].says(reply(200, completion(json.dumps(OTHER))))
    servers["failing"].says(error(401))
    servers["slow"].says(after(SLOW_S, reply()))
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="module", autouse=True)
def job_worker(desk):
    """A job worker, for servers that start none."""
    process = subprocess.Popen([sys.executable, "-m", "flask", "--app", "wsgi", "worker"], cwd=ROOT, env=desk.environment)
    yield
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def models(desk, upstreams):
    """Refs of four models. Each has its own provider with a credential, and a price, created through the API."""
    token = desk.flask("tokens", "create", "browser", "--scope", "registry:write").strip()

    def send(method: str, path: str, body: object) -> dict:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{desk.url}/api/v1/admin{path}", json.dumps(body).encode(), headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    rates = [{"meter": "input", "amount": "3", "per": 1_000_000}, {"meter": "output", "amount": "15", "per": 1_000_000}]
    price = {"state": "priced", "currency": "USD", "effective_from": "2026-01-01T00:00:00Z", "rates": rates}
    for name, upstream in upstreams.items():
        provider = send(
            "POST", "/providers", {"slug": name, "display_name": name.title(), "driver": "openai", "base_url": upstream.base_url}
        )
        send("PUT", f"/providers/{provider['id']}/credential", {"api_key": "sk-CANARY-0123456789"})
        model = send(
            "POST", "/models", {"provider": name, "model_id": f"{name}-m", "display_name": f"{name.title()} model", "type": "text"}
        )
        send("POST", f"/models/{model['id']}/prices", price)
    return [f"{name}/{name}-m" for name in upstreams]


def fill(page, models, *, repeats: str, samples: int = 3) -> None:
    page.goto("/admin/bench/new?" + "&".join(f"model={ref}" for ref in models))
    for box in page.get_by_role("group", name="Samples").get_by_role("checkbox").all()[:samples]:
        box.check()
    page.get_by_label("Repeats").select_option(repeats)


def test_a_bench_of_three_incidents_four_models_and_three_repeats(ann, models, upstreams):
    fill(ann, models, repeats="3")
    estimate = ann.locator("#bench-estimate")
    expect(estimate.get_by_role("row", name="In all")).to_contain_text("36")
    ann.get_by_role("button", name="Start").click()
    progress = ann.locator(".bench-progress")
    expect(progress).to_contain_text("of 36 asked")
    seen = set()
    while "36 of 36" not in (text := progress.inner_text()):
        seen.add(re.search(r"(\d+) of 36", text)[1])
        ann.wait_for_timeout(100)
    assert len(seen) > 1  # The results arrived one by one, without a page load.
    expect(progress).to_contain_text("Finished")
    summary = ann.get_by_role("table", name="Latency, tokens, cost, failures and ratings by model")
    cells = {
        row.get_by_role("rowheader").inner_text(): row.get_by_role("cell").all_inner_texts() for row in summary.get_by_role("row").all()[1:]
    }
    assert {name: (row[0], row[1]) for name, row in cells.items()} == {
        "swift/swift-m": ("9", "0"),
        "other/other-m": ("9", "0"),
        "failing/failing-m": ("0", "9"),
        "slow/slow-m": ("9", "0"),
    }
    assert len(upstreams["slow"].requests) == 9
    results = ann.get_by_role("region", name="other/other-m on incident 1")
    expect(results).to_contain_text("<img src=x onerror=alert(1)>")
    assert json.loads(ANSWER)["recommendations"][0]["title"] in ann.get_by_role("region", name="swift/swift-m on incident 1").inner_text()
    agreement = ann.get_by_role("table", name="Agreement between models")
    expect(agreement.get_by_role("row", name="other/other-m and swift/swift-m")).to_have_text(re.compile(r"3\s*0\s*0\s*$"))


def test_an_answer_is_rated_and_a_model_made_the_default_from_the_bench(ann, models):
    fill(ann, models[:2], repeats="1", samples=1)
    ann.get_by_role("button", name="Start").click()
    expect(ann.locator(".bench-progress")).to_contain_text("2 of 2", timeout=15_000)
    swift = ann.get_by_role("region", name="swift/swift-m on incident 1")
    swift.get_by_role("radio", name="4").check()
    expect(swift.get_by_role("status")).to_have_text("Rated 4 of 5.")
    with ann.expect_download() as download:
        ann.get_by_role("link", name="CSV").click()
    assert "swift/swift-m" in download.value.path().read_text()
    ann.get_by_role("row", name="swift/swift-m").get_by_role("button", name="Make default").click()
    ann.get_by_role("dialog").get_by_role("button", name="Make default").click()
    expect(ann.get_by_role("main")).to_contain_text("is now the default")
    ann.get_by_role("button", name="Undo").click()
    expect(ann.get_by_role("main")).to_contain_text("GPT-4o Mini is now the default")


def test_a_bench_is_cancelled_in_the_middle(ann, models, upstreams):
    before = len(upstreams["slow"].requests)
    upstreams["slow"].says(after(3 * SLOW_S, reply()))  # Slow enough that a busy machine sees the middle.
    fill(ann, ["slow/slow-m"], repeats="5")
    ann.get_by_role("button", name="Start").click()
    expect(ann.locator(".bench-progress")).to_contain_text(re.compile(r"\b([1-9]|1[0-2]) of 15"))
    ann.get_by_role("button", name="Cancel the bench").click()
    expect(ann.locator(".bench-progress")).to_contain_text(re.compile(r"Cancelled\s+([1-9]|1[0-4]) of 15\s+asked"))
    assert 0 < len(upstreams["slow"].requests) - before < 15
    expect(ann.get_by_role("button", name="Run what is missing")).to_be_visible()
