"""Costs with conditions, minimums, surcharges and unclear overlaps, on every page that shows a cost."""

import html
import re

import pytest
from factories import price_values

from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.pricing import prices

CALCULATOR, EXPLAIN = "/admin/calculator/", "/admin/explain/"
FRAGMENT = {"HX-Request": "true", "HX-Target": "div#calculator-answer"}
MODEL, AT = "openai/gpt-4o", "at=2026-11-28"
RATES = [
    {"meter": "image", "amount": "0.167", "per": 1, "when": {"quality": "high"}},
    {"meter": "image", "amount": "0.25", "per": 1, "when": {"quality": "high", "size": "1536x1024"}},
    {"meter": "input", "amount": "4", "per": 1_000_000},
    {"meter": "cache_read", "amount": "0.4", "per": 1_000_000},
    {"meter": "input_audio", "amount": "32", "per": 1_000_000},
    {"meter": "cache_read_audio", "amount": "0.4", "per": 1_000_000},
    {"meter": "second", "amount": "0.017", "per": 60},
]


def words(response) -> str:
    """Return the text of a page without its tags."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text)))


@pytest.fixture
def model_id(app) -> int:
    """Give a model a price with everything that a price can have, and return its id."""
    number = container.registry().resolve(MODEL).id
    values = price_values(rates=RATES, effective_from="2026-11-27T00:00:00Z", minimum="0.001", surcharge_percent="5.5")
    with writing() as session:
        prices.add(session, number, values, actor="ann")
    return number


@pytest.fixture
def look(ann, model_id):
    """Return the texts of the calculator and of the explain page for the same call."""

    def texts(query: str) -> list[str]:
        addresses = (f"{page}?model={MODEL}&{AT}&{query}" for page in (CALCULATOR, EXPLAIN))
        return [words(ann.get(address)) for address in addresses]

    return texts


def test_the_attributes_of_the_call_choose_the_rate(look):
    for text in look("image=2&when=quality=high&when=size=1536x1024"):
        assert "$0.25 / image, quality high, size 1536x1024" in text.replace("image quality", "image, quality")
        assert "$0.5275" in text  # 2 x 0.25 and 5.5 percent.


def test_a_line_that_was_raised_and_a_surcharge_say_so(look):
    for text in look("input=3"):
        assert "raised to the minimum of a line" in text
        assert re.search(r"Surcharge of 5\.5% \$0\.000055", text)
        assert "$0.001055" in text


def test_a_rounded_cost_says_so(look):
    for text in look("second=50.5"):
        assert "rounded after 18 decimals" in text
        assert "50.5" in text


def test_an_overlap_that_is_not_stated_makes_an_estimate_and_no_lower_bound(look):
    for text in look("input=1000&input_audio=800&cache_read=200"):
        assert "It is not stated how many input tokens are audio read from cache" in text
        assert "about $" in text
        assert re.search(r"(?<!line of a cost is )at least \$0", text) is None
        assert "No rate is known" not in text


def test_missing_attributes_are_named_and_one_link_states_each(ann, model_id):
    response = ann.get(f"{CALCULATOR}?model={MODEL}&image=2&{AT}", headers=FRAGMENT)
    assert "no rate for images (its rates depend on quality, size)" in words(response)
    stated = re.search(r'href="([^"]+)">quality high', response.text)
    assert stated is not None
    assert "$0.352370" in words(ann.get(html.unescape(stated[1]), headers=FRAGMENT)).replace("$0.35237 ", "$0.352370 ")


def test_links_from_one_page_to_another_keep_the_call(ann, model_id):
    page = ann.get(f"{EXPLAIN}?model={MODEL}&image=2&when=quality=high&service_tier=batch&{AT}")
    assert '<input type="hidden" name="image" value="2">' in page.text
    assert 'name="when" value="quality=high"' in page.text
    link = html.unescape(re.search(r'href="([^"]+)">Change the call in the calculator', page.text)[1])
    assert link == f"{CALCULATOR}?model={MODEL}&image=2&service_tier=batch&when=quality%3Dhigh&at=2026-11-28T00:00:00Z"
    assert 'name="when" value="quality=high"' in ann.get(link).text
    unknown = html.unescape(ann.get(f"{EXPLAIN}?model=openai/gpt-4o-minj&image=2&when=quality=high").text)
    assert "?model=openai%2Fgpt-4o-mini&image=2&when=quality%3Dhigh" in unknown


@pytest.mark.parametrize("page", [CALCULATOR, EXPLAIN])
def test_a_bad_attribute_is_said_at_its_field_and_stays(ann, model_id, page):
    response = ann.get(f"{page}?model={MODEL}&image=2&when=quality")
    assert response.status_code == 422
    assert re.search(
        r'data-error-for="when">The attributes must be [^<]* such as quality=high: quality must have 1 to 60 characters', response.text
    )
    assert 'name="when" value="quality"' in response.text


def test_the_panel_of_a_model_offers_the_attributes_of_its_price(ann, model_id):
    page = ann.get(f"/admin/model/details/?id={model_id}").text
    assert re.search(r'<select[^>]* name="when"[^>]*>\s*<option value="quality=high">high</option>\s*<option value="">not stated', page)
    assert 'id="calc-panel-input_audio"' in page


def test_every_meter_has_a_field_and_opens_its_group_if_it_was_used(ann):
    page = ann.get(f"{CALCULATOR}?model={MODEL}&input=5&web_search=1").text
    assert re.search(r"<details class=\"calc-more\" open>\s*<summary>Requests, tools and storage", page)
    assert re.search(r"<details class=\"calc-more\">\s*<summary>Audio, image and video tokens", page)


def test_the_command_shows_the_same(app, model_id):
    run = app.test_cli_runner().invoke
    shown = run(args=["registry", "show", MODEL]).stdout
    assert "image 0.25 per 1 (quality high, size 1536x1024)" in shown
    assert "each line of a cost is at least $0.001, unless it is 0; a surcharge of 5.5% is added to the total" in shown
    call = ["registry", "cost", MODEL, "--usage", '{"second": 50.5, "image": 2, "input": 3}', "--attribute", "quality=high"]
    cost = run(args=call).stdout
    assert "(quality high)" in cost
    assert "(minimum of a line)" in cost
    assert "(rounded)" in cost
    assert re.search(r"surcharge +=", cost)
    assert "(rounded after 18 decimals)" in cost
