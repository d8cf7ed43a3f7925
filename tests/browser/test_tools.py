"""The calculator and the "Try it" page in a real browser."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
GPT_4O = "/admin/calculator/?model=openai/gpt-4o"


def test_the_cost_follows_what_is_typed_and_the_address_with_it(ann):
    ann.goto(GPT_4O)
    ann.get_by_label("Input tokens", exact=True).fill("1200")
    ann.get_by_label("Output tokens", exact=True).fill("350")
    expect(ann.get_by_role("region", name="Cost")).to_contain_text("$0.0065")
    expect(ann).to_have_url(re.compile(r"input=1200.*output=350"))
    ann.reload()
    expect(ann.get_by_role("region", name="Cost")).to_contain_text("$0.0065")


def test_a_bad_number_is_told_at_its_field_and_nothing_is_lost(ann, watch):
    watch.expected = {422, 400}
    ann.goto(f"{GPT_4O}&output=350")
    ann.get_by_label("Input tokens", exact=True).fill("1e1000000")
    expect(ann.get_by_text(re.compile("whole number", re.I)).first).to_be_visible()
    expect(ann.get_by_label("Output tokens", exact=True)).to_have_value("350")


def test_an_unknown_price_is_said_and_never_zero(ann, desk):
    ann.goto("/admin/calculator/?model=openai/gpt-4o&input=1000&at=1969-01-01T00:00:00Z")
    cost = ann.get_by_role("region", name="Cost")
    expect(cost).to_contain_text(re.compile("no price is known", re.I))
    expect(cost).not_to_contain_text("$0.00")


def test_a_sample_incident_runs_on_the_local_rules(ann):
    ann.goto("/admin/try-it/")
    ann.get_by_text("Disk almost full").click()
    ann.get_by_role("button", name="Run", exact=True).click()
    result = ann.get_by_role("region", name="Result")
    expect(result).to_contain_text(re.compile("critical", re.I))
    expect(result).to_contain_text("local rules", ignore_case=True)


def test_a_model_without_a_key_fails_in_words_and_is_recorded(ann):
    ann.goto("/admin/try-it/?model=openai/gpt-4o-mini")
    ann.get_by_role("button", name="Run", exact=True).click()
    result = ann.get_by_role("region", name="Result")
    expect(result).to_contain_text("no key")
    ann.goto("/admin/run/")
    expect(ann.get_by_role("main")).to_contain_text(re.compile("failed", re.I))


def test_a_viewer_may_look_at_try_it_and_not_run(eve):
    eve.goto("/admin/try-it/")
    expect(eve.get_by_role("heading", level=1)).to_have_text("Try it")
    expect(eve.get_by_role("button", name="Run", exact=True)).to_have_count(0)
