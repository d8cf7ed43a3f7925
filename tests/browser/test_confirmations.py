"""The question about names in use in a real browser: it replaces the list, and the answer repeats the change."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_switch_that_changes_a_name_in_use_asks_and_switches_after_the_answer(ann):
    ann.goto("/admin/model/new/")
    ann.locator("select[name=provider]").select_option("mistral")
    ann.locator("[name=model_id]").fill("gpt-4o-mini")
    ann.locator("[name=display_name]").fill("Namesake")
    ann.locator("[name=active]").set_checked(False)
    ann.get_by_role("button", name="Save").first.click()
    ann.goto("/admin/model/?search=mistral/gpt-4o-mini")
    ann.get_by_role("switch", name="Namesake active").click()
    expect(ann.get_by_role("heading", name="Confirm the change")).to_be_visible()
    expect(ann.get_by_role("row", name="gpt-4o-mini")).to_contain_text("ambiguous: mistral/gpt-4o-mini, openai/gpt-4o-mini")
    ann.get_by_label("1 name in use gets another meaning").check()
    ann.get_by_role("button", name="Confirm").click()
    expect(ann.get_by_role("switch", name="Namesake active")).to_be_checked()


def test_the_question_fits_a_narrow_window(ann, watch):
    watch.expected = {422}
    ann.set_viewport_size({"width": 390, "height": 844})
    ann.goto("/admin/model/new/")
    ann.locator("select[name=provider]").select_option("openai")
    ann.locator("[name=model_id]").fill("GPT-4o")
    ann.locator("[name=display_name]").fill("Other spelling")
    ann.get_by_role("button", name="Save").first.click()
    expect(ann.get_by_label("2 names in use get another meaning")).to_be_visible()
    assert ann.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
