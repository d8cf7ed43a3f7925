"""Comparison of models for a workload, and the explanation of how a name resolves to a cost."""

import csv
import html
import io
from decimal import Decimal

from factories import model_values

from webapp.runtime.transaction import writing
from webapp.services.catalog import models

VISION = "calls=100&input=1000&output=100&capability=vision&provider=openai&provider=anthropic"


def page(visitor, path):
    return html.unescape(visitor.get(path).text)


def table(visitor, query):
    return list(csv.DictReader(io.StringIO(visitor.get(f"/admin/compare/export.csv?{query}").text)))


def test_models_that_can_do_it_come_cheapest_first_with_a_month_of_thirty_days(eve, registry):
    rows = table(eve, VISION)
    assert {row["provider"] for row in rows} == {"openai", "anthropic"}
    months = [Decimal(row["per_month_of_30_days"]) for row in rows if row["complete"] == "yes"]
    assert months == sorted(months)
    assert len(months) > 10
    first = rows[0]
    cost = registry.calculate_cost(first["ref"], input_tokens=1_000, output_tokens=100)
    assert Decimal(first["per_month_of_30_days"]) == cost.total * 100 * 30
    content = page(eve, f"/admin/compare/?{VISION}")
    assert first["ref"] in content
    assert "Cheapest by the size of the input" in content
    assert "A month of 30 days" in content


def test_an_unknown_price_stands_last_and_is_marked(ann):
    with writing() as session:
        models.create(session, model_values(capabilities=["vision"], provider="ollama", model_id="who-knows"), actor="ann")
    rows = table(ann, "provider=ollama&capability=vision")
    assert [(row["ref"], row["per_month_of_30_days"], row["price_state"]) for row in rows] == [("ollama/who-knows", "", "unknown")]
    content = page(ann, "/admin/compare/?provider=ollama&capability=vision")
    assert ("1 without a known price stand last" in content, ">Unknown<" in content) == (True, True)


def test_what_makes_no_sense_is_said_at_its_field_and_nothing_is_lost(eve):
    response = eve.get("/admin/compare/?calls=many&cached=120&input=5000")
    assert response.status_code == 422
    assert 'value="many"' in response.text
    assert "The cached share must be a whole number from 0 to 100" in response.text
    assert "No model meets this" in page(eve, "/admin/compare/?provider=nobody")


def test_the_answer_alone_is_sent_to_htmx_with_its_address(eve):
    response = eve.get("/admin/compare/?input=5000", headers={"HX-Request": "true", "HX-Target": "div#compare-answer"})
    assert "<html" not in response.text
    assert "input=5000" in response.headers["HX-Replace-Url"]


def test_an_alias_is_followed_to_its_rates_and_its_cost(eve):
    content = page(eve, "/admin/explain/?model=gpt-4o-2024-08-06&input=1000&output=500&at=2026-11-01")
    assert "Exact alias" in content
    assert "$0.0075" in content
    assert "The base rates hold" in content


def test_a_name_that_leads_nowhere_says_why_and_what_looks_like_it(eve):
    content = page(eve, "/admin/explain/?model=gpt-4o-minx")
    assert "Nothing similar is ever used in its place" in content
    assert "openai/gpt-4o-mini" in content
    assert eve.get("/admin/explain/?model=gpt-4o&at=yesterday").status_code == 422


def test_the_command_line_explains_too(app):
    run = app.test_cli_runner()
    explained = run.invoke(args=["registry", "explain", "gpt-4o-2024-08-06", "--at", "2026-11-01T00:00:00Z"])
    assert explained.exit_code == 0, explained.output
    assert "exact alias" in explained.output
    assert "openai/gpt-4o" in explained.output
    unresolved = run.invoke(args=["registry", "explain", "gpt-4o-minx"])
    assert (unresolved.exit_code, "openai/gpt-4o-mini" in unresolved.output) == (1, True)
