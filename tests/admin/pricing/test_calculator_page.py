"""The price calculator for staff: exact, itemized, explicit about unknown prices, with its whole state in the URL."""

import re
import time
from urllib.parse import quote

import pytest
from factories import model_values

from webapp.runtime import container

PAGE = "/admin/calculator/"
FRAGMENT = {"HX-Request": "true", "HX-Target": "div#calculator-answer"}
GPT = f"{PAGE}?model=openai/gpt-4o&input=1200&output=350&at=2026-11-21"


def words(response) -> str:
    """Return the text of a page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))


def test_a_known_usage_costs_exactly_what_it_costs(eve):
    content = words(eve.get(GPT))
    assert "$0.0065 " in content
    assert "1,200 × $2.50 / 1M tokens $0.003" in content
    assert "350 × $10 / 1M tokens $0.0035" in content
    assert "Per 1,000 calls $6.50" in content


def test_the_price_says_since_when_and_from_where_and_the_registry_which_revision(ann, registry):
    content = words(ann.get(GPT))
    assert "Since 14 Oct 2026, 00:00 UTC · built-in catalogue, genai-prices" in content
    assert f"Prices in force on 21 Nov 2026, 00:00 UTC · revision {registry.snapshot.revision} of the registry" in content


def test_an_unknown_price_is_never_a_zero(ann):
    ann.post("/admin/model/new/", model_values(active="y"))
    content = words(ann.get(f"{PAGE}?model=openai/test-model&input=1000", headers=FRAGMENT))
    assert "No price is known" in content
    assert "$0" not in content


def test_a_free_model_says_that_it_is_free_on_purpose(ann):
    content = words(ann.get(f"{PAGE}?model=ollama/llama3.2&input=1000", headers=FRAGMENT))
    assert "Free" in content
    assert "free on purpose" in content


def test_a_meter_without_a_rate_makes_the_total_at_least_that(ann):
    content = words(ann.get(f"{PAGE}?model=openai/gpt-4o&input=1200&output=350&page=3", headers=FRAGMENT))
    assert "Incomplete" in content
    assert "at least $0.0065" in content
    assert "No rate is known for pages" in content


def test_a_service_tier_without_rates_says_whose_rates_are_used(ann):
    content = words(ann.get(f"{PAGE}?model=mistral/mistral-large-2512&input=1000&service_tier=priority", headers=FRAGMENT))
    assert "It has no priority rates: this is the cost at standard rates." in content
    assert "at least" not in content


def test_the_batch_tier_is_half_the_price(ann):
    assert "batch rate" in words(ann.get(f"{PAGE}?model=openai/gpt-4o&input=1200&service_tier=batch", headers=FRAGMENT))


def test_models_are_compared_cheapest_first(ann):
    content = ann.get(
        f"{PAGE}?model=openai/gpt-4o&model=openai/gpt-live-1&model=openai/gpt-4o-mini&input=1200&output=350", headers=FRAGMENT
    ).text
    assert re.findall(r"<code>(.*?)</code>", content) == ["openai/gpt-4o-mini", "openai/gpt-4o", "openai/gpt-live-1"]
    assert content.count("Cheapest") == 1
    assert "16.7 times the cheapest" in re.sub(r"\s+", " ", content)


def test_a_shared_address_shows_the_same_again(ann, eve):
    first = ann.get(f"{GPT}&calls=25,000", headers=FRAGMENT)
    url = first.headers["HX-Replace-Url"]
    assert url == f"{PAGE}?model=openai/gpt-4o&input=1200&output=350&calls=25000&at=2026-11-21T00:00:00Z"
    assert eve.get(url, headers=FRAGMENT).text == first.text
    page = eve.get(url).text
    assert 'value="1200"' in page
    assert '<option value="openai/gpt-4o" selected>' in page


def test_an_alias_leads_to_its_model_and_a_wrong_name_to_suggestions(ann):
    assert "openai/gpt-4o-mini" in ann.get(f"{PAGE}?model=gpt-4o-mini&input=10", headers=FRAGMENT).text
    misspelled = ann.get(f"{PAGE}?model=openai/gpt-4o-minj&model=openai/gpt-4o&input=10", headers=FRAGMENT)
    assert misspelled.status_code == 422
    assert "No model is named “openai/gpt-4o-minj”" in misspelled.text
    assert f'href="{PAGE}?model=openai/gpt-4o-mini&amp;model=openai/gpt-4o&amp;input=10"' in misspelled.text
    assert "$0.000025" in misspelled.text


BAD = [
    "1e1000000",
    "NaN",
    "Infinity",
    "-1",
    "1.5",
    "10000000000000",
    "%00",
    "%ED%A0%80",
    "%EF%BC%91",
    "1,5",
    "0" * 3000,
    "<script>",
    "{{7*7}}",
]


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("field", ["input", "calls", "at", "service_tier", "image"])
def test_nonsense_is_said_at_its_field_at_once_and_the_rest_stays(ann, field, text):
    started = time.thread_time()
    response = ann.get(f"{PAGE}?model=openai/gpt-4o&output=350&{field}={text}")
    assert response.status_code == 422
    assert time.thread_time() - started < 10  # In seconds of CPU time. Expanding the exponent takes minutes.
    assert re.search(rf'data-error-for="{field}">[^<]+<', response.text)
    assert 'value="350"' in response.text
    assert "<script>" not in re.sub(r"<script[^>]* src=", "", response.text)


@pytest.mark.parametrize(
    "query", ["page=100000000000000000000", "endpoint=x", "model=" + quote("x" * 5000), "model=%00", "model=%ED%A0%80", "x=1&x=2"]
)
def test_no_address_breaks_the_page(ann, query):
    assert ann.get(f"{PAGE}?{query}").status_code in (200, 422)


def test_the_panel_of_a_model_gets_one_cost_and_leaves_the_address_alone(eve):
    response = eve.get(GPT, headers=FRAGMENT | {"HX-Target": "div#calculator-panel-answer"})
    assert "$0.0065" in response.text
    assert "Compare with other models" in response.text
    assert "HX-Replace-Url" not in response.headers


def test_a_fragment_is_not_a_page(ann):
    assert "<html" not in ann.get(GPT, headers=FRAGMENT).text
    assert "<html" in ann.get(GPT).text


def test_a_price_that_will_change_leads_to_the_cost_then(ann):
    content = ann.get(f"{PAGE}?model=google/gemini-4-argon&input=1000&at=2026-11-21", headers=FRAGMENT).text
    assert "at=2026-12-01T00:00:00Z" in content


def test_a_stranger_is_sent_to_log_in_and_back(client):
    response = client.get(GPT)
    assert response.status_code == 302
    assert response.location.startswith("/login?next=/admin/calculator/")


def test_a_total_smaller_than_its_parts_is_said_once_in_the_words_of_the_form(ann):
    response = ann.get(f"{PAGE}?model=openai/gpt-4o&input=10&cache_read=20")
    assert response.status_code == 422
    assert words(response).count("Input is smaller than its parts: cached") == 1
    assert "cache_read +" not in response.text


def test_the_page_of_a_model_asks_for_what_its_price_is_made_of(ann):
    image = next(model for model in container.registry().snapshot.models if {rate.meter for rate in model.prices[-1].rates} == {"image"})
    page = ann.get(f"/admin/model/details/?id={image.id}").text
    assert ('id="calc-panel-image" name="image" value="1"' in page, 'id="calc-panel-input"' in page) == (True, False)
    assert '<input type="hidden" name="image" value="1">' in page
