"""End-to-end tests of evaluations on local providers: failures, slow models, ratings, exports, the history and permissions."""

import csv
import html
import io
import json
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from background_jobs import wait_for_jobs
from environment import PASSWORD, by_hand
from factories import Visitor
from fake_provider import ANSWER
from runtime.evaluations.steps import form, started, statuses
from sqlalchemy import func, select, text

from webapp.domain.incidents.evaluation import LOCAL
from webapp.extensions import db
from webapp.models import Evaluation, EvaluationCell, Rating, Run
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.runs import evaluations


def test_every_incident_goes_to_every_model_and_a_failing_one_fails_alone(either_desk):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick", "failing", "local", repeats="2")
    assert statuses(row) == {"quick/quick-m": ["done"] * 4, "failing/failing-m": ["failed"] * 4, LOCAL: ["done"] * 4}
    assert (row.status, len({cell.run.public_id for cell in row.cells})) == ("finished", 12)
    page = html.unescape(ann.get(f"/admin/bench/{row.public_id}/").text)
    assert "The provider failed" in page
    assert "quick/quick-m and Local rules" in page
    assert 'hx-trigger="every 1s"' not in page  # The page no longer polls.


def test_a_slow_model_delays_no_other(desk, upstreams):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    started_at = time.monotonic()
    row = started(ann, "quick", "slow", repeats="2", wait=0)
    while "done" not in statuses(row)["slow/slow-m"]:
        assert time.monotonic() - started_at < 15
        db.session.rollback()
        row = evaluations.find_with_cells(db.session(), row.public_id)
        if statuses(row)["quick/quick-m"] == ["done"] * 4:
            break
        time.sleep(0.02)
    assert statuses(row)["slow/slow-m"].count("done") <= 1  # The quick model is done while the slow one has barely started.
    wait_for_jobs()
    assert len(upstreams["slow"].requests) == 4


def test_what_a_model_says_is_text_and_never_markup(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "tricky")
    page = ann.get(f"/admin/bench/{row.public_id}/").text
    assert "<script>alert(1)" not in page
    assert "<img" not in page.split("<main")[1]
    assert "&lt;script&gt;alert(1)" in page


def test_an_answer_is_rated_once_by_each_person(desk):
    ann, bob = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "bob@example.com", PASSWORD)
    row = started(ann, "quick")
    run = row.cells[0].run.public_id
    for visitor, score in ((ann, "5"), (ann, "3"), (bob, "4")):
        assert visitor.post(f"/admin/bench/{row.public_id}/rate", {"run": run, "score": score}).status_code == 302
    assert sorted(db.session.execute(select(Rating.owner, Rating.score)).all()) == [("ann@example.com", 3), ("bob@example.com", 4)]
    assert "3.5" in ann.get(f"/admin/bench/{row.public_id}/").text
    for run_id, score in ((run, "6"), (run, "x"), ("run_nope", "3")):
        assert ann.post(f"/admin/bench/{row.public_id}/rate", {"run": run_id, "score": score}).status_code in (404, 422)


def test_exports_hold_exact_numbers_and_no_formula(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick", "local", name="=cmd()")
    rows = list(csv.DictReader(io.StringIO(ann.get(f"/admin/bench/{row.public_id}/export.csv").text)))
    quick_rows = [csv_row for csv_row in rows if csv_row["model"] == "quick/quick-m"]
    assert [Decimal(csv_row["cost"]) for csv_row in quick_rows] == [
        cell.run.cost_total for cell in row.cells if cell.model == "quick/quick-m"
    ]
    assert rows[0]["model"] != "@local"  # A leading @ would be a formula.
    body = ann.get(f"/admin/bench/{row.public_id}/export.json").json
    assert (len(body["cells"]), body["models"][0]["model"], body["agreement"][0]["incidents"]) == (4, "quick/quick-m", 2)
    assert "sk-CANARY" not in json.dumps(body)


def test_uploaded_and_pasted_incidents_join_the_samples_and_can_be_kept(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    payload = {
        "version": "4",
        "receiver": "x",
        "status": "firing",
        "alerts": [{"labels": {"alertname": "DiskFull"}, "annotations": {"summary": "97 %"}}],
    }
    files = [(io.BytesIO(json.dumps(payload).encode()), "alert.json"), (io.BytesIO(b'[{"title": "One"}, {"title": "Two"}]'), "two.json")]
    row = started(ann, "local", samples=["disk-full"], incident="Pasted\nby hand", files=files)
    titles = [incident["title"] for incident in row.incidents]
    assert (len(titles), titles[1], titles[-2:]) == (5, "Pasted", ["One", "Two"])
    ann.post("/admin/bench/incidents", {"incident": '{"title": "Kept one"}'})
    page = ann.get("/admin/bench/new").text
    assert "Kept one" in page
    second = started(ann, "local", samples=[], saved=["1"])
    assert [incident["title"] for incident in second.incidents] == ["Kept one"]
    ann.post("/admin/bench/incidents/1/delete")
    ann.get("/admin/bench/new")  # This response shows the deletion message.
    assert "Kept one" not in ann.get("/admin/bench/new").text
    assert "Kept one" in ann.get(f"/admin/bench/{second.public_id}/").text


BAD = [
    {"samples": []},
    {"models": []},
    {"models": ["no-such/model"]},
    {"models": [f"openai/m{number}" for number in range(9)]},
    {"repeats": "6"},
    {"repeats": "x"},
    {"spend_cap": "1e999"},
    {"spend_cap": "1e-30000000"},
    {"spend_cap": "10000.01"},
    {"spend_cap": "-1"},
    {"spend_cap": "NaN"},
    {"incident": '{"title": '},
    {"template": "no-such"},
]


@pytest.mark.parametrize("bad", BAD, ids=[str(bad)[:50] for bad in BAD])
def test_what_cannot_be_run_is_said_and_nothing_is_lost_or_started(desk, bad):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    response = ann.post("/admin/bench/new", form("quick") | {"name": "Kept name"} | bad)
    assert (response.status_code, "Nothing was started" in response.text, "Kept name" in response.text) == (422, True, True)
    assert db.session.execute(select(func.count()).select_from(Evaluation)).scalar_one() == 0
    assert ann.post("/admin/bench/estimate", form("quick") | bad).status_code == 200


def test_a_viewer_looks_at_benches_and_starts_none(desk):
    ann, eve = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "eve@example.com", PASSWORD)
    row = started(ann, "local")
    page = eve.get(f"/admin/bench/{row.public_id}/")
    assert (page.status_code, "Your rating" in page.text, "Make default" in page.text) == (200, False, False)
    assert ("New bench" in eve.get("/admin/bench/").text.split("<main")[1].split("</main")[0]) is False
    for path in ("new", "estimate", "incidents", f"{row.public_id}/cancel", f"{row.public_id}/rate", f"{row.public_id}/rename"):
        assert eve.post(f"/admin/bench/{path}", form("local")).status_code == 403


FOUND_BY = [
    ("search=disks", True),
    ("search=nope", False),
    ("by=ann", True),
    ("by=bob", False),
    ("model=local", True),
    ("model=l%20RULES", True),
    ("model=gpt", False),
    ("status=finished", True),
    ("status=cancelled", False),
    ("page=99999999999", False),
]


def test_the_history_is_found_by_name_person_model_and_status(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    started(ann, "local", name="Tuesday's disks")
    for query, listed in FOUND_BY:
        assert ("Tuesday" in ann.get(f"/admin/bench/?{query}").text) is listed, query


def test_the_history_is_searched_whole_and_not_the_page_alone(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    oldest = started(ann, "local", name="Tuesday's disks")
    with by_hand() as session:
        values = {
            "actor": "bob",
            "status": "finished",
            "template": oldest.template,
            "incidents": [],
            "models": ["quick/quick-m"],
            "repeats": 1,
        }
        now = oldest.created_at + timedelta(hours=1)
        session.add_all(
            Evaluation(public_id=f"bench_{number}", name="Later", heartbeat_at=now, created_at=now, **values) for number in range(40)
        )
    assert "Tuesday" not in ann.get("/admin/bench/").text
    assert "Tuesday" in ann.get("/admin/bench/?model=local").text


def test_runs_of_a_bench_count_like_others_and_are_never_from_the_cache(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    with writing() as session:
        session.execute(text("UPDATE prompt_templates SET cache_minutes = 60"))
    started(ann, "quick", repeats="2")
    runs = db.session.execute(select(Run)).scalars().all()
    assert (len(runs), any(run.cached for run in runs)) == (4, False)
    assert db.session.execute(select(func.count()).select_from(EvaluationCell)).scalar_one() == 4
    model = container.registry().get_model("quick/quick-m")
    page = html.unescape(ann.get(f"/admin/model/details/?id={model.id}").text)
    assert "4 runs" in page
    assert ANSWER


def test_a_bench_without_a_choice_yet_is_no_mistake_to_look_at_and_one_to_start(bob):
    page = bob.post("/admin/bench/estimate", {}).text
    assert ("Choose incidents and models to see" in page, "alert-triangle" in page) == (True, False)
    rejected = bob.post("/admin/bench/new", {})
    assert (rejected.status_code, "Choose 1 to 20 incidents" in rejected.text, "Choose 1 to 8 models" in rejected.text) == (422, True, True)
