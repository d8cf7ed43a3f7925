"""Costs of calls that were sent and say nothing of their usage: unknown in page, CSV, JSON and sums, of runs and of evaluations."""

import csv
import html
import io
import re
from decimal import Decimal

import pytest
from background_jobs import wait_for_jobs
from environment import PASSWORD, api_for, by_hand
from factories import Visitor, price_values
from fake_provider import completion, error, hang_up, reply
from runtime.evaluations.steps import after_resuming, gone_silent, held_up, loaded, started, statuses, until
from sqlalchemy import select, update

from webapp.extensions import db
from webapp.models import EvaluationCell, Run
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.pricing import prices

WITHOUT_USAGE = {name: value for name, value in completion().items() if name != "usage"}
INCIDENT = {"title": "Disk full"}


def shown(visitor, path) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html.unescape(visitor.get(path).text)))


def spent_line(visitor, row) -> str:
    page = visitor.get(f"/admin/bench/{row.public_id}/").text
    return " ".join(re.sub("<[^>]+>", "", html.unescape(page.split('<p class="m-0" role="status">')[1].split("</p>")[0])).split())


def exported_rows(visitor, row) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(visitor.get(f"/admin/bench/{row.public_id}/export.csv").text)))


def test_b6_six_calls_that_all_failed_are_unknown_everywhere(desk, upstreams):
    upstreams["failing"].says(error(402))
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "failing", "local", repeats="3")
    assert statuses(row)["failing/failing-m"] == ["failed"] * 6
    assert spent_line(ann, row).endswith("Spent unknown (6 calls).")
    page = html.unescape(ann.get(f"/admin/bench/{row.public_id}/").text)
    assert '<span class="tag tag-yellow">unknown (6 calls)</span>' in page
    assert page.count('title="The provider did not say how much was used">Unknown') == 1  # The tokens.
    rows = [line for line in exported_rows(ann, row) if line["model"] == "failing/failing-m"]
    assert [(line["cost"], line["cost_complete"], line["cost_state"], line["input"]) for line in rows] == [
        ("unknown", "False", "unknown", "")
    ] * 6
    body = ann.get(f"/admin/bench/{row.public_id}/export.json").json
    failing, local = body["models"]
    assert (failing["cost"], failing["costs"], failing["cost_unknown"], failing["cost_complete"]) == (None, [], 6, False)
    assert (failing["tokens"], failing["tokens_unknown"], failing["cost_per_1000"]) == (None, 6, None)
    assert (body["costs"], body["cost_unknown"], body["cost_complete"]) == ([], 6, False)
    assert {(cell["cost"], cell["cost_state"]) for cell in body["cells"]} == {(None, "unknown"), (None, "none")}
    assert (local["cost"], local["cost_unknown"], local["cost_complete"], local["tokens"]) == ("0", 0, True, 0)


def test_a_sum_of_known_and_unknown_costs_is_a_least_amount(desk, upstreams):
    upstreams["slow"].says(reply(200, WITHOUT_USAGE))
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick", "slow", spend_cap="0.5")
    known = sum(cell.run.cost_total for cell in row.cells if cell.model == "quick/quick-m")
    assert spent_line(ann, row).endswith(f"Spent at least ${known} of at most $0.50; 2 calls with unknown cost.")
    quick, slow = ann.get(f"/admin/bench/{row.public_id}/export.json").json["models"]
    assert (quick["cost"], quick["cost_complete"], slow["cost"], slow["answered"], slow["cost_per_1000"]) == (
        str(known),
        True,
        None,
        2,
        None,
    )


def test_one_model_with_known_and_unknown_costs_has_a_least_amount_and_no_projection(desk, upstreams):
    upstreams["quick"].says(reply(), hang_up)
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick")
    (known,) = [cell.run.cost_total for cell in row.cells if cell.status == "done"]
    (quick,) = ann.get(f"/admin/bench/{row.public_id}/export.json").json["models"]
    assert (quick["cost"], quick["cost_unknown"], quick["cost_complete"], quick["cost_per_1000"]) == (str(known), 1, False, None)
    page = shown(ann, f"/admin/bench/{row.public_id}/")
    assert f"at least ${known} 1 call with unknown cost" in page
    assert f"at least {sum(row.cells[0].run.usage[meter] for meter in ('input', 'output'))}" in page


def test_a_price_without_a_rate_for_what_was_used_is_unknown_and_not_zero(desk):
    with writing() as session:
        rates = [{"meter": "image", "amount": "0.04", "per": 1}]
        prices.add(session, container.registry().get_model("tricky/tricky-m").id, price_values(rates=rates), actor="ann")
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "tricky")
    assert spent_line(ann, row).endswith("Spent unknown (2 calls).")
    assert {(line["cost"], line["currency"]) for line in exported_rows(ann, row)} == {("unknown", "USD")}


def test_what_was_never_sent_has_no_cost_and_is_not_unknown(desk, upstreams):
    upstreams["quick"].stop()
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick", "local")
    assert statuses(row)["quick/quick-m"] == ["failed"] * 2
    assert spent_line(ann, row).endswith("Spent $0.")
    body = ann.get(f"/admin/bench/{row.public_id}/export.json").json
    assert (body["cost_complete"], body["cost_unknown"], {cell["cost_state"] for cell in body["cells"]}) == (True, 0, {"none"})
    assert {(line["cost"], line["cost_complete"]) for line in exported_rows(ann, row)} == {("", "")}


def test_an_estimate_without_any_known_price_is_unknown(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    form = {"samples": ["disk-full"], "models": ["tricky/tricky-m"], "repeats": "1", "spend_cap": "", "incident": ""}
    for models in (["tricky/tricky-m"], ["tricky/tricky-m", "@local"]):
        total = ann.post("/admin/bench/estimate", form | {"models": models}).text.split("In all")[1].split("</table>")[0]
        assert ("$0" in total, "Unknown" in total) == (False, True)


def test_a_call_that_was_lost_with_its_process_is_unknown_until_its_response_is_recorded(either_desk, upstreams):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    released, row = held_up(ann, upstreams["slow"])
    assert "unknown" not in spent_line(ann, row)  # The call is in progress.
    gone_silent()  # As if the process had ended.
    assert spent_line(ann, row).endswith("Spent unknown (1 call).")
    ann.post(f"/admin/bench/{row.public_id}/resume")
    until(lambda: statuses(loaded(row))["slow/slow-m"] == ["done", "done"])
    assert spent_line(ann, row).endswith("; 1 call with unknown cost.")
    assert [(line["status"], line["cost"]) for line in exported_rows(ann, row)][-1] == ("lost", "unknown")
    body = ann.get(f"/admin/bench/{row.public_id}/export.json").json
    assert (body["cost_unknown"], [lost["cost_state"] for lost in body["lost"]]) == (1, ["unknown"])
    released.set()
    wait_for_jobs()
    assert "unknown" not in spent_line(ann, row)
    assert "lost" not in [line["status"] for line in exported_rows(ann, row)]


def test_an_evaluation_that_ends_normally_has_no_lost_calls(desk):
    row = started(Visitor(desk, "ann@example.com", PASSWORD), "quick", "failing", "local")
    assert set(db.session.execute(select(EvaluationCell.open_calls).where(EvaluationCell.evaluation_id == row.id)).scalars()) == {0}
    with by_hand() as session:
        session.execute(update(EvaluationCell).values(status="cancelled", run_id=None))
    after_resuming(Visitor(desk, "ann@example.com", PASSWORD), row)
    assert set(db.session.execute(select(EvaluationCell.open_calls)).scalars()) == {0}


RUNS = {
    "known": (reply(), "known", "$"),
    "no usage": (reply(200, WITHOUT_USAGE), "unknown", "Unknown"),
    "an error": (error(402), "unknown", "Unknown"),
    "nothing that can be read": (reply(200, b"<html>"), "unknown", "Unknown"),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_run_says_in_json_and_on_its_pages_whether_its_cost_is_known(desk, upstreams, case):
    answer, state, text = RUNS[case]
    upstreams["quick"].says(answer)
    body = api_for(desk, "runs:write").post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"}).json
    assert (body["cost_state"], (body["cost"] or {}).get("total") is None) == (state, state == "unknown")
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    cost = html.unescape(ann.get(f"/admin/run/details/?id={body['id']}").text).split("<dt>Cost</dt>")[1].split("</dd>")[0]
    assert (text in cost, "$0<" in cost) == (True, False)
    listed = ann.get("/admin/run/").text.split("<tbody")[1]
    assert listed.count(">Unknown<") == (2 if state == "unknown" else 0)  # Tokens and cost.


def test_a_refused_connection_is_no_cost_in_json_and_on_the_page(desk, upstreams):
    upstreams["quick"].stop()
    body = api_for(desk, "runs:write").post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"}).json
    assert (body["cost"], body["cost_state"], body["error"]["code"]) == (None, "none", "connect")
    assert "nothing was sent" in Visitor(desk, "ann@example.com", PASSWORD).get(f"/admin/run/details/?id={body['id']}").text


def test_the_page_of_a_model_counts_unknown_costs_apart_from_calls_that_were_never_sent(desk, upstreams):
    api, ann = api_for(desk, "runs:write"), Visitor(desk, "ann@example.com", PASSWORD)
    page = f"/admin/model/details/?id={container.registry().get_model('quick/quick-m').id}"
    upstreams["quick"].says(error(402), reply(headers={"Connection": "close"}))
    api.post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"})
    assert "<dd>unknown (1 call)</dd>" in ann.get(page).text
    api.post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"})
    upstreams["quick"].stop()
    api.post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"})
    known = db.session.execute(select(Run.cost_total).where(Run.cost_total.is_not(None))).scalar_one()
    content = shown(ann, page)
    assert f"at least ${known} 1 call with unknown cost, which the provider may bill." in content
    assert "3 runs" in content


def test_what_if_counts_calls_whose_usage_or_cost_is_unknown(desk, upstreams):
    api, ann = api_for(desk, "runs:write"), Visitor(desk, "ann@example.com", PASSWORD)
    upstreams["quick"].says(reply(200, WITHOUT_USAGE), reply())
    api.post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"})
    unknown = shown(ann, "/admin/what-if/?model=quick/quick-m")
    assert ("Both amounts are unknown" in unknown, "0 of 1 are in the amounts" in unknown, "$0" in unknown) == (True, True, False)
    api.post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"})
    assert "1 of 2 are in the amounts; what 1 cost then is unknown; the usage of 1, or a rate for it, is unknown" in shown(
        ann, "/admin/what-if/?model=quick/quick-m"
    )


def test_the_providers_own_cost_and_the_model_that_responded_are_shown_next_to_ours(desk, upstreams):
    body = reply(200, completion() | {"model": "m-2026-12-01", "usage": completion()["usage"] | {"cost": 0.01}})
    upstreams["quick"].says(body)
    run = api_for(desk, "runs:write").post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"}).json
    difference = Decimal("0.01") - Decimal(run["cost"]["total"])
    assert (run["served_model"], run["reported_cost"]) == ("m-2026-12-01", {"amount": "0.01", "currency": "USD"})
    assert Decimal(run["reported_difference"]) == difference
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    page = shown(ann, f"/admin/run/details/?id={run['id']}")
    assert (f"$0.01 ${difference} more than calculated" in page, "m-2026-12-01" in page) == (True, True)
    row = started(ann, "quick")
    assert {(line["served_model"], line["reported_cost"], line["reported_currency"]) for line in exported_rows(ann, row)} == {
        ("m-2026-12-01", "0.01", "USD")
    }
    assert "answered by <code>m-2026-12-01</code>" in ann.get(f"/admin/bench/{row.public_id}/").text


def test_a_cost_that_the_provider_did_not_report_is_absent_and_one_of_zero_is_zero(desk, upstreams):
    upstreams["quick"].says(reply(), reply(200, completion() | {"usage": completion()["usage"] | {"cost": 0}}))
    api = api_for(desk, "runs:write")
    absent, zero = (api.post("/runs", {"incident": INCIDENT, "model": "quick/quick-m"}).json for _ in range(2))
    assert (absent["reported_cost"], absent["reported_difference"]) == (None, None)
    assert (zero["reported_cost"], Decimal(zero["reported_difference"])) == (
        {"amount": "0", "currency": "USD"},
        -Decimal(zero["cost"]["total"]),
    )


COMMAND_LINE = {"known": (reply(), "$"), "unknown": (error(402), "cost unknown"), "partial": (error(500), "at least $")}


@pytest.mark.parametrize("case", COMMAND_LINE)
def test_the_command_line_says_whether_the_cost_is_known(desk, upstreams, tmp_path, case):
    answer, text = COMMAND_LINE[case]
    upstreams["quick"].says(answer, reply())
    file = tmp_path / "incident.json"
    file.write_text('{"title": "Disk full"}')
    output = desk.test_cli_runner().invoke(args=["incidents", "analyze", str(file), "--model", "quick/quick-m"]).output
    assert (f", {text}" in output, "$0," in output) == (True, False)
