"""The bundled catalog as a proposal in a real browser: opened, filtered, partly approved by a second user, and reverted."""

import re

import pytest
from conftest import PASSWORD, sign_in
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture
def bob(desk, browser):
    """A page of a second user in a separate browser context."""
    desk.flask("users", "create", "bob@example.com", "--role", "editor", "--password-stdin", stdin=f"{PASSWORD}\n")
    context = browser.new_context(base_url=desk.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    page = context.new_page()
    sign_in(page, "bob@example.com")
    yield page
    context.close()


def test_the_bundled_catalogue_is_opened_filtered_partly_approved_by_another_and_undone(ann, bob):
    ann.goto("/admin/proposals/new")
    ann.get_by_role("button", name="Compare").click()
    expect(ann.locator("#proposal-chosen")).to_contain_text(re.compile(r"0 of \d,\d{3} rows ticked"))
    address = ann.url

    bob.goto(address)
    bob.get_by_label("Provider").select_option("groq")
    bob.get_by_role("button", name="Show").click()
    expect(bob.locator("tbody").first).to_contain_text("groq/")
    bob.get_by_role("button", name=re.compile("^Tick all .* that match")).click()
    bob.locator("tbody").first.get_by_role("checkbox").uncheck()
    expect(bob.locator("#proposal-chosen")).to_contain_text(re.compile(r"^\s*\d\d of"))

    ann.reload()
    expect(ann.locator("#proposal-chosen")).to_contain_text("Somebody else approves what you opened")
    expect(ann.get_by_role("button", name="Approve and take over")).to_have_count(0)

    bob.get_by_role("button", name="Approve and take over").click()
    bob.get_by_role("dialog").get_by_role("button", name="Approve and take over").click()
    expect(bob.get_by_text("rows were taken over")).to_be_visible()
    bob.goto("/admin/model/?flt0_provider_equals=groq")
    expect(bob.locator("tbody")).to_contain_text("groq/")

    bob.goto(address)
    bob.get_by_role("button", name="Undo").click()
    bob.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(bob.get_by_text("Taken back")).to_be_visible()
