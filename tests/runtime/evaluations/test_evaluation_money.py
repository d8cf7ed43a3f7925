"""Tests of evaluation costs: the spend cap, its input format, and currencies that are never added."""

import csv
import html
import io
import re
from decimal import Decimal

import pytest
from environment import PASSWORD, by_hand
from factories import Visitor, price_values
from runtime.evaluations.steps import form, paid, started, statuses
from sqlalchemy import update

from webapp.extensions import db
from webapp.models import Run
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.pricing import prices
from webapp.services.runs import evaluation_cells


def test_the_spend_cap_stops_the_bench_and_says_what_was_not_asked(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    estimate = ann.post("/admin/bench/estimate", form("quick"), headers={"HX-Request": "true"}).text
    assert "In all" in estimate
    row = started(ann, "quick", repeats="5", spend_cap="0.033")
    spent = evaluation_cells.total_spent(db.session(), row.public_id)
    counts = statuses(row)["quick/quick-m"]
    assert (set(counts), spent <= Decimal("0.033"), counts.count("done") >= 1) == ({"done", "skipped"}, True, True)
    assert "The spend cap was reached before this was asked." in html.unescape(ann.get(f"/admin/bench/{row.public_id}/").text)


@pytest.mark.parametrize(("typed", "cap"), [(" $1,234.50 ", "1234.5"), ("$ 0.5", "0.5"), ("10,000", "10000"), ("0", "0"), ("", None)])
def test_a_spend_cap_is_read_as_people_write_money(desk, typed, cap):
    row = started(Visitor(desk, "ann@example.com", PASSWORD), "local", spend_cap=typed)
    assert row.spend_cap == (Decimal(cap) if cap else None)


def priced_in_euros(name: str) -> None:
    with writing() as session:
        prices.add(session, container.registry().get_model(f"{name}/{name}-m").id, price_values(currency="EUR"), actor="ann")


def test_money_of_different_currencies_is_never_added_up(desk):
    priced_in_euros("tricky")
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    estimate = html.unescape(ann.post("/admin/bench/estimate", form("quick", "tricky")).text)
    row = started(ann, "quick", "tricky", spend_cap="0.5")
    dollars, euros = (
        sum((cell.run.cost_total for cell in row.cells if cell.model == model), Decimal(0))
        for model in ("quick/quick-m", "tricky/tricky-m")
    )
    page = html.unescape(ann.get(f"/admin/bench/{row.public_id}/").text)
    status_text = " ".join(re.sub("<[^>]+>", "", page.split('role="status">')[1].split("</p>")[0]).split())
    assert status_text.endswith(f"Spent ${dollars} of at most $0.50, and €{euros} that the cap does not count.")
    assert re.search(r"and ≈ €[0-9.]+ to €[0-9.]+</strong>", estimate)
    assert "what costs another currency is not counted towards it (tricky/tricky-m)" in estimate
    body = ann.get(f"/admin/bench/{row.public_id}/export.json").json
    quick, tricky = body["models"]
    assert body["costs"] == [{"currency": "USD", "cost": str(dollars)}, {"currency": "EUR", "cost": str(euros)}]
    assert (quick["cost"], tricky["cost"], tricky["costs"]) == (str(dollars), "0", [{"currency": "EUR", "cost": str(euros)}])
    assert [len(summary["costs_per_1000"]) for summary in (quick, tricky)] == [1, 1]
    assert (quick["cost_per_1000"], tricky["cost_per_1000"]) == (quick["costs_per_1000"][0]["cost"], None)
    rows = csv.DictReader(io.StringIO(ann.get(f"/admin/bench/{row.public_id}/export.csv").text))
    assert [csv_row["currency"] for csv_row in rows] == ["USD", "EUR"] * 2


def test_what_costs_another_currency_is_unknown_to_the_cap(desk):
    priced_in_euros("tricky")
    row = started(Visitor(desk, "ann@example.com", PASSWORD), "tricky", "quick", spend_cap="0.000001")
    assert statuses(row) == {"tricky/tricky-m": ["done"] * 2, "quick/quick-m": ["skipped"] * 2}
    assert [cell.max_cost is None for cell in row.cells] == [True, False] * 2
    assert (evaluation_cells.total_spent(db.session(), row.public_id), paid(row) > 0) == (0, True)


def test_the_page_of_a_model_adds_up_by_currency(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick")
    with by_hand() as session:
        session.execute(update(Run).where(Run.id == row.cells[0].run_id).values(currency="EUR", cost_total=Decimal("0.25")))
    dollars = row.cells[1].run.cost_total
    page = html.unescape(ann.get(f"/admin/model/details/?id={container.registry().get_model('quick/quick-m').id}").text)
    assert f"<dd>${dollars} and €0.25</dd>" in page
    assert re.search(r"<dd>≈ \$[0-9.]+ in 1 run and ≈ €0.25 in 1 run</dd>", page)
