"""The start of a price in a real browser: a date selects itself and the button names it. A scheduled price is canceled after a question."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
BUTTON = "#submit-label"


def open_form(page, ref="openai/gpt-4o"):
    page.goto(f"/admin/price/new/?model={ref}")
    return page.get_by_label("Start in UTC")


def test_entering_a_date_selects_it_and_the_preview_and_the_button_name_the_start(ann):
    date = open_form(ann)
    expect(ann.get_by_label("immediately", exact=True)).to_be_checked()
    expect(ann.locator(BUTTON)).to_have_text("Add this price, starting now")
    date.press_sequentially("01012099")
    date.press("ArrowRight")
    date.press_sequentially("0630AM")
    expect(date).to_have_value("2099-01-01T06:30")
    expect(ann.locator("#when-at")).to_be_checked()
    expect(ann.locator(BUTTON)).to_have_text("Add this price, starting 1 Jan 2099, 06:30 UTC")
    expect(ann.locator("#echo")).to_contain_text("It starts 1 Jan 2099, 06:30 UTC.")
    ann.get_by_role("button", name="Add this price").click()
    expect(ann.get_by_role("region", name="Price history")).to_contain_text("1 Jan 2099, 06:30 UTC")


def test_a_cleared_date_with_the_choice_now_starts_now_and_a_date_with_it_is_refused(ann, watch):
    watch.expected = {422}
    date = open_form(ann)
    date.fill("2099-02-01T00:00")
    ann.get_by_label("immediately", exact=True).check()
    expect(ann.locator(BUTTON)).to_have_text("Add this price")
    ann.get_by_role("button", name="Add this price").click()
    expect(ann.get_by_role("alert")).to_contain_text("has a date, but “immediately” is selected")
    expect(date).to_have_value("2099-02-01T00:00")
    date.fill("")
    expect(ann.locator(BUTTON)).to_have_text("Add this price, starting now")


@pytest.mark.parametrize(("year", "list_page"), [(2097, None), (2098, "/admin/price/?search=gpt-4o-mini")], ids=["model", "list"])
def test_a_scheduled_price_is_canceled_after_a_question(ann, year, list_page):
    open_form(ann, "openai/gpt-4o-mini").fill(f"{year}-01-01T00:00")
    expect(ann.locator(BUTTON)).to_contain_text(f"1 Jan {year}")
    ann.get_by_role("button", name="Add this price").click()
    main, dialog = ann.get_by_role("main"), ann.get_by_role("dialog", name="Are you sure?")
    expect(main.get_by_role("region", name="Price history")).to_contain_text(f"1 Jan {year}")
    if list_page:
        ann.goto(list_page)
    ann.wait_for_load_state("load")  # Before, the script that asks is not there yet on a busy machine.
    cancel = main.get_by_role("button", name="Cancel")
    cancel.click()
    expect(dialog).to_contain_text(f"Cancel the price of GPT-4o Mini that starts on 1 Jan {year}?")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    cancel.click()
    dialog.get_by_role("button", name="Cancel the price").click()
    expect(main.get_by_text("Cancellation").first).to_be_visible()
    expect(cancel).to_have_count(0)
    expect(ann.get_by_text(f"Canceled: the price of GPT-4o Mini does not change on 1 Jan {year}.")).to_be_visible()
