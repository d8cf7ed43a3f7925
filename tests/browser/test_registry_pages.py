"""Models and prices in a real browser: toggles, the default star, and a new price, which reaches every worker within a second."""

import json
import re
import time
import urllib.request

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def models(page: Page, search: str) -> None:
    page.goto(f"/admin/model/?search={search}")


def test_a_model_is_switched_off_and_on_again_without_leaving_the_list(ann):
    models(ann, "claude-3-haiku")
    switch = ann.get_by_role("switch", name="Claude 3 Haiku active")
    switch.click()
    expect(ann.locator("#toasts [data-toast-msg]").first).to_be_visible()
    ann.reload()
    expect(ann.get_by_role("switch", name="Claude 3 Haiku active")).not_to_be_checked()
    ann.get_by_role("switch", name="Claude 3 Haiku active").click()
    ann.wait_for_timeout(300)
    ann.reload()
    expect(ann.get_by_role("switch", name="Claude 3 Haiku active")).to_be_checked()


def test_a_change_can_be_taken_back_from_its_message(ann):
    models(ann, "claude-3-opus")
    ann.get_by_role("switch", name="Claude 3 Opus active").click()
    ann.get_by_role("button", name="Undo").click()
    expect(ann.get_by_role("switch", name="Claude 3 Opus active")).to_be_checked()


def test_a_default_cannot_be_switched_off_and_the_message_says_why(ann, watch):
    watch.expected = {409}
    models(ann, "gpt-4o-mini")
    ann.get_by_role("switch", name="GPT-4o Mini active", exact=True).click()
    expect(ann.locator("#toasts [data-toast-msg]").first).to_contain_text("default")
    expect(ann.get_by_role("switch", name="GPT-4o Mini active", exact=True)).to_be_checked()


def test_the_star_moves_the_default(ann):
    models(ann, "dall-e-2")
    ann.get_by_role("button", name="Make DALL-E 2 the default for image").click()
    expect(ann.get_by_role("img", name="Default for image")).to_be_visible()
    models(ann, "dall-e-3")
    ann.get_by_role("button", name="Make DALL-E 3 the default for image").click()
    expect(ann.get_by_role("img", name="Default for image")).to_be_visible()


def test_a_viewer_sees_the_list_and_can_change_nothing(eve):
    models(eve, "claude-3-haiku")
    expect(eve.get_by_text("anthropic/claude-3-haiku")).to_be_visible()
    expect(eve.get_by_role("switch", name="Claude 3 Haiku active", disabled=False)).to_have_count(0)
    expect(eve.get_by_role("link", name="New model")).to_have_count(0)


def test_searching_narrows_the_list_as_one_types(ann):
    ann.goto("/admin/model/")
    ann.get_by_role("main").get_by_role("searchbox").fill("nothing is called so")
    expect(ann.get_by_text(re.compile("No models|Nothing|No match", re.I)).first).to_be_visible()


def test_a_new_price_shows_in_the_calculator_at_once_and_from_every_worker_within_a_second(ann, desk):
    token = desk.flask("tokens", "create", "browser", "--scope", "registry:read").strip()
    ann.goto("/admin/model/?search=claude-3-sonnet")
    ann.get_by_role("link", name="Claude 3 Sonnet").first.click()
    ann.get_by_role("link", name="Add a price").first.click()
    ann.get_by_label("Input", exact=True).fill("7.125")
    expect(ann.get_by_role("status", name="What this price means")).to_contain_text("7.125")
    ann.get_by_label("Output", exact=True).fill("21")
    ann.get_by_role("button", name="Add this price").click()
    expect(ann.get_by_role("heading", level=1)).to_contain_text("Claude 3 Sonnet")
    saved = time.monotonic()
    ann.goto("/admin/calculator/?model=anthropic/claude-3-sonnet&input=1000000")
    expect(ann.get_by_role("region", name="Cost")).to_contain_text("$7.125")
    time.sleep(max(0.0, 1 - (time.monotonic() - saved)))
    assert {total(desk.url, token) for _ in range(40)} == {"7.125"}


def total(url: str, token: str) -> str:
    """Return the total that one worker calculates. Each request opens a new connection, so that both workers respond."""
    query_url = f"{url}/api/v1/cost?model=anthropic/claude-3-sonnet&input_tokens=1000000"
    request = urllib.request.Request(query_url, headers={"Authorization": f"Bearer {token}", "Connection": "close"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)["total"]
