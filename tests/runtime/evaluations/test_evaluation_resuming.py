"""Tests of evaluations that are canceled, interrupted, resumed by other users, or receive late responses."""

import csv
import html
import io
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from background_jobs import wait_for_jobs
from environment import PASSWORD, by_hand, running
from factories import Visitor
from fake_provider import after, reply
from runtime.evaluations.steps import after_resuming, gone_silent, held_up, loaded, paid, started, statuses, until, when
from sqlalchemy import select, text, update

from webapp.domain.incidents import evaluation
from webapp.extensions import db
from webapp.models import AuditEvent, Evaluation, Provider, Run
from webapp.runtime import container, evaluation_runner
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts
from webapp.services.credentials import credentials
from webapp.services.credentials.credentials import Holder
from webapp.services.runs import evaluation_cells, evaluations


def test_a_cancelled_bench_asks_nothing_more_also_from_another_process(desk, settings, upstreams):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    upstreams["slow"].says(after(0.4, reply()))
    row = started(ann, "slow", repeats="5", wait=0)
    public_id = row.public_id
    while not upstreams["slow"].requests:
        time.sleep(0.01)
    db.session.remove()
    for _ in running(settings):  # Another process with the same database.
        with writing(refresh=False) as session:
            evaluations.cancel(session, public_id, actor="bob@example.com")
    with desk.app_context():
        wait_for_jobs()
        reloaded = evaluations.find_with_cells(db.session(), public_id)
        assert reloaded.status == "cancelled"
        assert set(statuses(reloaded)["slow/slow-m"]) == {"done", "cancelled"}
        assert len(upstreams["slow"].requests) <= 2
        db.session.remove()


def test_what_a_dead_process_left_is_interrupted_and_can_be_resumed(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick")
    with by_hand() as session:
        outdated = datetime.now(UTC) - timedelta(minutes=5)
        session.execute(update(Evaluation).values(status="running", finished_at=None, heartbeat_at=outdated))
        session.execute(text("UPDATE bench_cells SET status = 'running', run_id = NULL WHERE position = 1"))
    page = ann.get(f"/admin/bench/{row.public_id}/").text
    assert "Interrupted" in page
    ann.post(f"/admin/bench/{row.public_id}/resume")
    wait_for_jobs()
    db.session.rollback()
    assert statuses(evaluations.find_with_cells(db.session(), row.public_id)) == {"quick/quick-m": ["done", "done"]}


def test_whoever_resumes_a_bench_asks_with_keys_of_their_own_and_is_named(desk):
    ann, bob = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "bob@example.com", PASSWORD)
    with writing() as session:
        quick = session.execute(select(Provider).where(Provider.slug == "quick")).scalar_one()
        quick.allow_personal_keys = True
        for owner in ("ann@example.com", "bob@example.com"):
            holder = Holder("personal", owner)
            credentials.store(session, quick, f"sk-{owner}-0123456789", vault=container.vault(), actor=owner, holder=holder)
    row = started(ann, "quick")
    assert ["ann@example.com" in cell.run.key_source for cell in row.cells] == [True, True]
    assert "Resumed by" not in ann.get(f"/admin/bench/{row.public_id}/").text
    with by_hand() as session:
        session.execute(text("UPDATE bench_cells SET status = 'cancelled', run_id = NULL WHERE position = 1"))
        session.execute(update(Evaluation).values(status="cancelled"))
    resumed = after_resuming(bob, row)
    assert [cell.run.actor for cell in resumed.cells] == ["ann@example.com", "bob@example.com"]
    assert ["bob@example.com" in cell.run.key_source for cell in resumed.cells] == [False, True]
    assert "Resumed by bob@example.com" in ann.get(f"/admin/bench/{row.public_id}/").text
    assert (resumed.actor, ann.get(f"/admin/bench/{row.public_id}/export.json").json["resumed_by"]) == (ann.email, bob.email)
    event = db.session.execute(select(AuditEvent).where(AuditEvent.action == "runs:bench:resume")).scalar_one()
    assert (event.actor, event.before["runs_as"], event.after["runs_as"]) == (bob.email, ann.email, bob.email)
    created = select(AuditEvent.actor).where(AuditEvent.action == "runs:run:create").order_by(AuditEvent.id)
    assert db.session.execute(created).scalars().all() == [ann.email, ann.email, bob.email]


NO_MORE = {
    "switched off": lambda session, user: accounts.set_active(session, user, False, actor="ann"),
    "a viewer from now on": lambda session, user: accounts.set_role(session, user, "viewer", actor="ann"),
}


@pytest.mark.parametrize("how", NO_MORE)
def test_nothing_more_is_asked_for_somebody_who_may_not_run_any_more_and_another_goes_on(desk, upstreams, how):
    ann, bob = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "bob@example.com", PASSWORD)
    released = threading.Event()
    upstreams["slow"].says(when(released, reply()))
    row = started(bob, "slow", "local", wait=0, repeats="3")
    until(lambda: len(upstreams["slow"].requests) == 1)
    with writing() as session:
        NO_MORE[how](session, accounts.find(session, "bob@example.com"))
    released.set()
    wait_for_jobs()
    db.session.rollback()
    row = evaluations.find_with_cells(db.session(), row.public_id)
    assert statuses(row)["slow/slow-m"] == ["done"] + ["skipped"] * 5  # The call in progress was recorded.
    assert len(upstreams["slow"].requests) == 1
    assert "bob@example.com may not run anything any more" in html.unescape(ann.get(f"/admin/bench/{row.public_id}/").text)
    resumed = after_resuming(ann, row)
    assert statuses(resumed)["slow/slow-m"] == ["done"] * 6
    assert [cell.run.actor for cell in resumed.cells if cell.model == "slow/slow-m"] == ["bob@example.com"] + ["ann@example.com"] * 5


def test_a_cancelled_bench_goes_on_only_when_its_answers_are_back(either_desk, upstreams):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    released, row = held_up(ann, upstreams["slow"])
    page = f"/admin/bench/{row.public_id}/"
    ann.post(f"{page}cancel")
    assert "Run what is missing" not in ann.get(page).text
    ann.post(f"{page}resume")
    assert "still under way" in ann.get(page).text
    assert statuses(loaded(row))["slow/slow-m"] == ["running", "cancelled"]
    released.set()
    until(lambda: statuses(loaded(row))["slow/slow-m"] == ["done", "cancelled"])
    wait_for_jobs()
    assert "Run what is missing" in ann.get(page).text
    assert statuses(after_resuming(ann, row))["slow/slow-m"] == ["done", "done"]
    assert (len(upstreams["slow"].requests), evaluation_cells.total_spent(db.session(), row.public_id)) == (2, paid(row))


def test_a_process_says_that_it_waits_also_after_a_cancellation(desk, upstreams, monkeypatch):
    monkeypatch.setattr(evaluation_runner, "HEARTBEAT_INTERVAL_S", 0.1)
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    released, row = held_up(ann, upstreams["slow"])
    ann.post(f"/admin/bench/{row.public_id}/cancel")
    gone_silent()
    until(lambda: not evaluations.is_heartbeat_overdue(loaded(row)))
    released.set()


def test_a_late_answer_is_counted_and_replaces_no_newer_one(either_desk, upstreams):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    released, row = held_up(ann, upstreams["slow"])
    gone_silent()  # As if the process were frozen.
    ann.post(f"/admin/bench/{row.public_id}/resume")
    until(lambda: statuses(loaded(row))["slow/slow-m"] == ["done", "done"])
    newer_run_ids = [cell.run.public_id for cell in loaded(row).cells]
    released.set()
    wait_for_jobs()
    row = loaded(row)
    assert ([cell.run.public_id for cell in row.cells], row.status, row.generation) == (newer_run_ids, "finished", 1)
    late_run = db.session.execute(select(Run).where(Run.public_id.not_in(newer_run_ids))).scalar_one()
    assert (late_run.evaluation, late_run.status, len(upstreams["slow"].requests)) == (row.public_id, "succeeded", 3)
    assert evaluation_cells.total_spent(db.session(), row.public_id) == paid(row) == 3 * late_run.cost_total
    body = ann.get(f"/admin/bench/{row.public_id}/export.json").json
    assert (Decimal(body["models"][0]["cost"]), Decimal(body["costs"][0]["cost"])) == (paid(row), paid(row))
    assert [(export_row["run"], export_row["incident"], export_row["model"], export_row["status"]) for export_row in body["late"]] == [
        (late_run.public_id, 1, "slow/slow-m", "late")
    ]
    rows = list(csv.DictReader(io.StringIO(ann.get(f"/admin/bench/{row.public_id}/export.csv").text)))
    assert ([export_row["status"] for export_row in rows], sum(Decimal(export_row["cost"]) for export_row in rows)) == (
        ["done", "done", "late"],
        paid(row),
    )
    page = html.unescape(ann.get(f"/admin/bench/{row.public_id}/").text)
    assert (f"${paid(row)}" in page, "1 answer came after the question had been asked again" in page) == (True, True)


def test_a_late_answer_serves_where_nobody_has_asked_again(desk, upstreams):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    released, row = held_up(ann, upstreams["slow"])
    gone_silent()
    with writing() as session:  # Resumed and canceled before a lane of the new generation starts.
        evaluations.resume(session, row.public_id, actor=ann.email)
        evaluations.cancel(session, row.public_id, actor=ann.email)
    released.set()
    wait_for_jobs()
    assert (statuses(loaded(row))["slow/slow-m"], len(upstreams["slow"].requests)) == (["done", "cancelled"], 1)


def test_lanes_of_an_earlier_generation_begin_nothing_and_finish_nothing(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = started(ann, "quick")
    with by_hand() as session:
        session.execute(text("UPDATE bench_cells SET status = 'planned', run_id = NULL"))
        session.execute(update(Evaluation).values(status="running", generation=4))
    with writing(refresh=False) as session:
        assert evaluation_cells.start_next_cell(session, row.id, 3, "quick/quick-m") == evaluation.SKIP
        evaluation_cells.finish(session, row.id, 3)
    assert (loaded(row).status, statuses(loaded(row))["quick/quick-m"]) == ("running", ["planned", "planned"])
    with writing(refresh=False) as session:
        assert isinstance(evaluation_cells.start_next_cell(session, row.id, 4, "quick/quick-m"), evaluation_cells.CellTask)
