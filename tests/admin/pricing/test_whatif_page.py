"""Recorded usage at another price, exact, and what is unknown said."""

import html

import pytest
from factories import Api

from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens


@pytest.fixture
def reported(app):
    """Three calls of gpt-4o by two projects: 1M input each, and one with an image that has no rate."""
    for project, usages in (("blue", [{"input": 1_000_000}] * 2), (None, [{"input": 1_000_000, "image": 1}])):
        with writing() as session:
            token, text = api_tokens.create(session, f"app {project}", ["usage:write"], actor="ann")
            token.project = project
        for number, usage in enumerate(usages):
            answer = Api(app.test_client(), text).post(
                "/usage", {"model": "openai/gpt-4o", "usage": usage}, headers={"Idempotency-Key": f"k{number}"}
            )
            assert answer.status_code == 201, answer.text


def page(visitor, query):
    return html.unescape(visitor.get(f"/admin/what-if/?{query}").text)


def test_a_typed_price_is_compared_with_what_it_cost(eve, reported):
    shown = page(eve, "model=openai/gpt-4o&input=1.25")
    assert "<strong>$2.50</strong> instead of <strong>$5</strong>, −$2.50" in shown
    assert "−50.0 %" in shown
    assert "2 of 3 are in the amounts" in shown
    assert ">blue<" in shown


def test_another_model_takes_its_price_of_today(eve, reported, registry):
    each = registry.calculate_cost("openai/gpt-4o-mini", input_tokens=1_000_000).total
    assert f"<strong>${each * 2:f}".rstrip("0") in page(eve, "model=openai/gpt-4o&on=openai/gpt-4o-mini")


def test_what_makes_no_sense_or_was_never_used_says_so(eve, reported):
    assert "Whose usage?" in page(eve, "")
    assert "Nothing is recorded" in page(eve, "model=openai/gpt-4o-mini&input=1")
    for query, said in (
        ("model=nobody", "w-model-error"),
        ("model=gpt-4o&input=1,5", "w-rates-error"),
        ("model=gpt-4o&on=nobody", "w-on-error"),
    ):
        answer = eve.get(f"/admin/what-if/?{query}")
        assert (answer.status_code, said in answer.text) == (422, True)
