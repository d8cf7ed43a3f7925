"""Benches that are cancelled, left by a dead process, resumed by others, and answered late."""

import csv
import html
import io
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from environment import PASSWORD, by_hand, running
from factories import Visitor
from fake_provider import after, reply
from runtime.evaluations.steps import after_resuming, gone_silent, held_up, loaded, paid, started, statuses, until, when
from sqlalchemy import select, text, update

from webapp.domain.incidents import evaluation
from webapp.extensions import db
from webapp.models import AuditEvent, Evaluation, Provider, Run
from webapp.runtime import container, evaluation_runner
from webapp.runtime.evaluation_runner import get_runner
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts
from webapp.services.credentials import credentials
from webapp.services.credentials.credentials import Holder
from webapp.services.runs import evaluation_cells, evaluations


def test_a_cancelled_bench_asks_nothing_more_also_from_another_process(desk, settings, upstreams):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    upstreams["slow"].says(after(0.4, reply()))
    found = started(ann, "slow", repeats="5", wait=0)
    number, public_id = found.id, found.public_id
    while not upstreams["slow"].requests:
        time.sleep(0.01)
    db.session.remove()
    for _ in running(settings):  # Another process with the same database.
        with writing(refresh=False) as session:
            evaluations.cancel(session, public_id, actor="bob@example.com")
    with desk.app_context():
        get_runner().wait(number, 20)
        after_all = evaluations.find_with_cells(db.session(), public_id)
        assert after_all.status == "cancelled"
        assert set(statuses(after_all)["slow/m"]) == {"done", "cancelled"}
        assert len(upstreams["slow"].requests) <= 2
        db.session.remove()


def test_what_a_dead_process_left_is_interrupted_and_can_be_resumed(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    found = started(ann, "quick")
    with by_hand() as session:
        old = datetime.now(UTC) - timedelta(minutes=5)
        session.execute(update(Evaluation).values(status="running", finished_at=None, heartbeat_at=old))
        session.execute(text("UPDATE bench_cells SET status = 'running', run_id = NULL WHERE position = 1"))
    page = ann.get(f"/admin/bench/{found.public_id}/").text
    assert "Interrupted" in page
    ann.post(f"/admin/bench/{found.public_id}/resume")
    get_runner().wait(found.id, 20)
    db.session.rollback()
    assert statuses(evaluations.find_with_cells(db.session(), found.public_id)) == {"quick/m": ["done", "done"]}


def test_whoever_resumes_a_bench_asks_with_keys_of_their_own_and_is_named(desk):
    ann, bob = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "bob@example.com", PASSWORD)
    with writing() as session:
        quick = session.execute(select(Provider).where(Provider.slug == "quick")).scalar_one()
        quick.allow_personal_keys = True
        for owner in ("ann@example.com", "bob@example.com"):
            holder = Holder("personal", owner)
            credentials.store(session, quick, f"sk-{owner}-0123456789", vault=container.vault(), actor=owner, holder=holder)
    found = started(ann, "quick")
    assert ["ann@example.com" in cell.run.key_source for cell in found.cells] == [True, True]
    assert "Resumed by" not in ann.get(f"/admin/bench/{found.public_id}/").text
    with by_hand() as session:
        session.execute(text("UPDATE bench_cells SET status = 'cancelled', run_id = NULL WHERE position = 1"))
        session.execute(update(Evaluation).values(status="cancelled"))
    resumed = after_resuming(bob, found)
    assert [cell.run.actor for cell in resumed.cells] == ["ann@example.com", "bob@example.com"]
    assert ["bob@example.com" in cell.run.key_source for cell in resumed.cells] == [False, True]
    assert "Resumed by bob@example.com" in ann.get(f"/admin/bench/{found.public_id}/").text
    assert (resumed.actor, ann.get(f"/admin/bench/{found.public_id}/export.json").json["resumed_by"]) == (ann.email, bob.email)
    line = db.session.execute(select(AuditEvent).where(AuditEvent.action == "runs:bench:resume")).scalar_one()
    assert (line.actor, line.before["runs_as"], line.after["runs_as"]) == (bob.email, ann.email, bob.email)
    created = select(AuditEvent.actor).where(AuditEvent.action == "runs:run:create").order_by(AuditEvent.id)
    assert db.session.execute(created).scalars().all() == [ann.email, ann.email, bob.email]


NO_MORE = {
    "switched off": lambda session, user: accounts.set_active(session, user, False, actor="ann"),
    "a viewer from now on": lambda session, user: accounts.set_role(session, user, "viewer", actor="ann"),
}


@pytest.mark.parametrize("how", NO_MORE)
def test_nothing_more_is_asked_for_somebody_who_may_not_run_any_more_and_another_goes_on(desk, upstreams, how):
    ann, bob = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "bob@example.com", PASSWORD)
    held = threading.Event()
    upstreams["slow"].says(when(held, reply()))
    found = started(bob, "slow", "local", wait=0, repeats="3")
    until(lambda: len(upstreams["slow"].requests) == 1)
    with writing() as session:
        NO_MORE[how](session, accounts.find(session, "bob@example.com"))
    held.set()
    get_runner().wait(found.id, 20)
    db.session.rollback()
    found = evaluations.find_with_cells(db.session(), found.public_id)
    assert statuses(found)["slow/m"] == ["done"] + ["skipped"] * 5  # What was under way came back.
    assert len(upstreams["slow"].requests) == 1
    assert "bob@example.com may not run anything any more" in html.unescape(ann.get(f"/admin/bench/{found.public_id}/").text)
    resumed = after_resuming(ann, found)
    assert statuses(resumed)["slow/m"] == ["done"] * 6
    assert [cell.run.actor for cell in resumed.cells if cell.model == "slow/m"] == ["bob@example.com"] + ["ann@example.com"] * 5


def test_a_cancelled_bench_goes_on_only_when_its_answers_are_back(either_desk, upstreams):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    held, found = held_up(ann, upstreams["slow"])
    page = f"/admin/bench/{found.public_id}/"
    ann.post(f"{page}cancel")
    assert "Run what is missing" not in ann.get(page).text
    ann.post(f"{page}resume")
    assert "still under way" in ann.get(page).text
    assert statuses(loaded(found))["slow/m"] == ["running", "cancelled"]
    held.set()
    until(lambda: statuses(loaded(found))["slow/m"] == ["done", "cancelled"])
    get_runner().wait(found.id, 20)
    assert "Run what is missing" in ann.get(page).text
    assert statuses(after_resuming(ann, found))["slow/m"] == ["done", "done"]
    assert (len(upstreams["slow"].requests), evaluation_cells.total_spent(db.session(), found.public_id)) == (2, paid(found))


def test_a_process_says_that_it_waits_also_after_a_cancellation(desk, upstreams, monkeypatch):
    monkeypatch.setattr(evaluation_runner, "HEARTBEAT_INTERVAL_S", 0.1)
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    held, found = held_up(ann, upstreams["slow"])
    ann.post(f"/admin/bench/{found.public_id}/cancel")
    gone_silent()
    until(lambda: not evaluations.is_heartbeat_overdue(loaded(found)))
    held.set()


def test_a_late_answer_is_counted_and_replaces_no_newer_one(either_desk, upstreams):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    held, found = held_up(ann, upstreams["slow"])
    gone_silent()  # Its process was frozen, say.
    ann.post(f"/admin/bench/{found.public_id}/resume")
    until(lambda: statuses(loaded(found))["slow/m"] == ["done", "done"])
    newer = [cell.run.public_id for cell in loaded(found).cells]
    held.set()
    get_runner().wait(found.id, 20)
    found = loaded(found)
    assert ([cell.run.public_id for cell in found.cells], found.status, found.generation) == (newer, "finished", 1)
    late = db.session.execute(select(Run).where(Run.public_id.not_in(newer))).scalar_one()
    assert (late.evaluation, late.status, len(upstreams["slow"].requests)) == (found.public_id, "succeeded", 3)
    assert evaluation_cells.total_spent(db.session(), found.public_id) == paid(found) == 3 * late.cost_total
    body = ann.get(f"/admin/bench/{found.public_id}/export.json").json
    assert (Decimal(body["models"][0]["cost"]), Decimal(body["costs"][0]["cost"])) == (paid(found), paid(found))
    assert [(row["run"], row["incident"], row["model"], row["status"]) for row in body["late"]] == [(late.public_id, 1, "slow/m", "late")]
    rows = list(csv.DictReader(io.StringIO(ann.get(f"/admin/bench/{found.public_id}/export.csv").text)))
    assert ([row["status"] for row in rows], sum(Decimal(row["cost"]) for row in rows)) == (["done", "done", "late"], paid(found))
    page = html.unescape(ann.get(f"/admin/bench/{found.public_id}/").text)
    assert (f"${paid(found)}" in page, "1 answer came after the question had been asked again" in page) == (True, True)


def test_a_late_answer_serves_where_nobody_has_asked_again(desk, upstreams):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    held, found = held_up(ann, upstreams["slow"])
    gone_silent()
    with writing() as session:  # Resumed and cancelled before a lane of the new generation began.
        evaluations.resume(session, found.public_id, actor=ann.email)
        evaluations.cancel(session, found.public_id, actor=ann.email)
    held.set()
    get_runner().wait(found.id, 20)
    assert (statuses(loaded(found))["slow/m"], len(upstreams["slow"].requests)) == (["done", "cancelled"], 1)


def test_lanes_of_an_earlier_generation_begin_nothing_and_finish_nothing(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    found = started(ann, "quick")
    with by_hand() as session:
        session.execute(text("UPDATE bench_cells SET status = 'planned', run_id = NULL"))
        session.execute(update(Evaluation).values(status="running", generation=4))
    with writing(refresh=False) as session:
        assert evaluation_cells.start_next_cell(session, found.id, 3, "quick/m") == evaluation.SKIP
        evaluation_cells.finish(session, found.id, 3)
    assert (loaded(found).status, statuses(loaded(found))["quick/m"]) == ("running", ["planned", "planned"])
    with writing(refresh=False) as session:
        assert isinstance(evaluation_cells.start_next_cell(session, found.id, 4, "quick/m"), evaluation_cells.CellTask)
