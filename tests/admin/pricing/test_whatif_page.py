"""Recorded usage at another price: amounts are exact, and unknown prices are reported."""

import html

import pytest
from factories import Api

from webapp.domain.pricing.meters import METERS
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens


@pytest.fixture
def reported(app):
    """Report three calls of gpt-4o by two projects: 1M input tokens each, one of them with an image that has no rate."""
    for project, usages in (("blue", [{"input": 1_000_000}] * 2), (None, [{"input": 1_000_000, "image": 1}])):
        with writing() as session:
            token, text = api_tokens.create(session, f"app {project}", ["usage:write"], actor="ann")
            token.project = project
        for number, usage in enumerate(usages):
            response = Api(app.test_client(), text).post(
                "/usage", {"model": "openai/gpt-4o", "usage": usage}, headers={"Idempotency-Key": f"k{number}"}
            )
            assert response.status_code == 201, response.text


def page(visitor, query):
    return html.unescape(visitor.get(f"/admin/what-if/?{query}").text)


def test_a_typed_price_is_compared_with_what_it_cost(eve, reported):
    content = page(eve, "model=openai/gpt-4o&input=1.25")
    assert "<strong>$2.50</strong> instead of <strong>$5</strong>, −$2.50" in content
    assert "−50.0%" in content
    assert "2 of 3 are in the amounts" in content
    assert ">blue<" in content


def test_another_model_takes_its_price_of_today(eve, reported, registry):
    each = registry.calculate_cost("openai/gpt-4o-mini", input_tokens=1_000_000).total
    assert f"<strong>${each * 2:f}".rstrip("0") in page(eve, "model=openai/gpt-4o&on=openai/gpt-4o-mini")


def test_what_makes_no_sense_or_was_never_used_says_so(eve, reported):
    assert "Whose usage?" in page(eve, "")
    assert "Nothing is recorded" in page(eve, "model=openai/gpt-4o-mini&input=1")
    for query, error_id in (
        ("model=nobody", "w-model-error"),
        ("model=gpt-4o&input=1,5", "w-rates-error"),
        ("model=gpt-4o&on=nobody", "w-on-error"),
    ):
        response = eve.get(f"/admin/what-if/?{query}")
        assert (response.status_code, error_id in response.text) == (422, True)


def test_every_meter_can_have_a_typed_price(eve):
    page = eve.get("/admin/what-if/").text
    assert [meter for meter in METERS if f'name="{meter}"' not in page] == []
