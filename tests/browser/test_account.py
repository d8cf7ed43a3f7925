"""Sign-in and sign-out in a real browser."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_an_admin_signs_in_and_sees_the_dashboard(ann):
    expect(ann.get_by_role("heading", level=1)).to_have_text("Dashboard")
    expect(ann.get_by_role("navigation", name="Main")).to_contain_text("Models")


def test_a_wrong_password_says_so_and_keeps_the_address(page, watch):
    watch.expected = {422}
    page.goto("/login")
    page.get_by_label("E-mail").fill("ann@example.com")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("is wrong")).to_be_visible()
    expect(page.get_by_label("E-mail")).to_have_value("ann@example.com")


def test_whoever_wanted_a_page_gets_there_after_signing_in(page):
    page.goto("/admin/model/?search=gpt-4o")
    page.get_by_label("E-mail").fill("eve@example.com")
    page.get_by_label("Password").fill("Quiet-Harbour-of-the-browser")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/admin/model/\?search=gpt-4o"))


def test_signing_out_ends_the_session(ann):
    ann.get_by_role("button", name=re.compile("ann@example.com")).click()
    ann.get_by_role("button", name="Sign out").click()
    ann.wait_for_url("**/login")
    ann.goto("/admin/")
    expect(ann).to_have_url(re.compile("/login"))


def test_the_theme_stays_as_chosen(ann):
    ann.get_by_role("button", name=re.compile("ann@example.com")).click()
    ann.get_by_role("button", name="Dark", exact=True).click()
    ann.reload()
    assert ann.evaluate("document.documentElement.dataset.bsTheme") == "dark"
