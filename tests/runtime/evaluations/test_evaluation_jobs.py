"""Evaluations as jobs: they outlive the process that runs them, repeat no call by themselves, and say when no job worker runs."""

import html
import threading
from datetime import UTC, datetime, timedelta

from background_jobs import KEY, stop_background_worker, wait_for_jobs, work_in_background
from environment import PASSWORD, by_hand
from factories import Visitor
from fake_provider import reply
from runtime.evaluations.steps import after_resuming, form, loaded, statuses, until, when
from sqlalchemy import func, select, update

from webapp.domain.jobs.lifecycle import CANCELED, DONE, QUEUED, RUNNING
from webapp.extensions import db
from webapp.models import Evaluation, Job, Run
from webapp.runtime import evaluation_runner
from webapp.runtime.job_worker import JobWorker
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.jobs import queue
from webapp.services.runs import evaluation_cells, evaluation_jobs, evaluations


def queued(visitor, *names, **more) -> Evaluation:
    """Start an evaluation without a job worker."""
    response = visitor.post("/admin/bench/new", form(*names, **more))
    row = evaluations.find_with_cells(db.session(), response.location.rstrip("/").rsplit("/", 1)[1])
    db.session.expunge_all()  # A worker in this thread removes the session.
    return row


def job() -> Job:
    db.session.rollback()
    db.session.expire_all()
    return db.session.execute(select(Job).order_by(Job.id.desc()).limit(1)).scalar_one()


def page(visitor, row) -> str:
    return html.unescape(visitor.get(f"/admin/bench/{row.public_id}/").text)


def killed_during_a_call(row) -> None:
    """Do what a job worker does until it is killed during its first call."""
    with writing(refresh=False) as session:
        claimed = queue.claim(session, "killed", "", audit_log.now())
    with writing(refresh=False) as session:
        evaluation_jobs.begin(session, queue.lock_owned(session, claimed, audit_log.now()))
    with writing(refresh=False) as session:
        evaluation_cells.start_next_cell(session, row.id, 0, row.models[0])
    with by_hand() as session:
        session.execute(update(Job).values(lease_until=audit_log.now()))


def test_an_evaluation_waits_for_a_job_worker_and_the_page_says_what_to_start(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = queued(ann, "quick")
    with by_hand() as session:
        session.execute(update(Evaluation).values(heartbeat_at=datetime.now(UTC) - timedelta(minutes=5)))
    text = page(ann, row)
    assert "No job worker is running." in text
    assert "Interrupted" not in text
    assert JobWorker().run_pending() == 1
    assert (statuses(loaded(row))["quick/quick-m"], loaded(row).status) == (["done", "done"], "finished")
    assert (job().status, job().done, job().total) == (DONE, 2, 2)
    assert f"/admin/bench/{row.public_id}/" in ann.get(f"/admin/job/{job().id}/").text


def test_another_worker_continues_and_leaves_the_lost_call_to_a_person(either_desk, upstreams):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    row = queued(ann, "quick", repeats="2")
    killed_during_a_call(row)
    JobWorker().run_pending()
    row = loaded(row)
    assert (statuses(row)["quick/quick-m"], row.status, row.generation) == (["skipped", "done", "done", "done"], "finished", 1)
    assert "The provider may have billed it." in page(ann, row)
    assert len(upstreams["quick"].requests) == 3
    work_in_background()
    assert statuses(after_resuming(ann, row))["quick/quick-m"] == ["done"] * 4
    assert len(upstreams["quick"].requests) == 4


def test_a_worker_that_shuts_down_finishes_its_calls_and_another_continues(desk, upstreams):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    released = threading.Event()
    upstreams["slow"].says(when(released, reply()))
    row = queued(ann, "slow", repeats="2")
    work_in_background()
    until(lambda: len(upstreams["slow"].requests) == 1)
    desk.extensions[KEY][0].stop()
    released.set()
    stop_background_worker(desk)
    assert (statuses(loaded(row))["slow/slow-m"], job().status, job().owner) == (["done", "planned", "planned", "planned"], QUEUED, None)
    wait_for_jobs()
    assert (statuses(loaded(row))["slow/slow-m"], len(upstreams["slow"].requests)) == (["done"] * 4, 4)


def test_canceling_a_waiting_evaluation_ends_its_job_at_once(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = queued(ann, "quick")
    ann.post(f"/admin/bench/{row.public_id}/cancel")
    assert (job().status, loaded(row).status, JobWorker().run_pending()) == (CANCELED, "cancelled", 0)
    row = queued(ann, "quick")
    ann.post(f"/admin/job/{job().id}/cancel")
    assert (job().status, loaded(row).status) == (CANCELED, "cancelled")


def test_the_jobs_page_cancels_a_running_evaluation(desk, upstreams, monkeypatch):
    monkeypatch.setattr(evaluation_runner, "HEARTBEAT_INTERVAL_S", 0.05)
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    released = threading.Event()
    upstreams["slow"].says(when(released, reply()))
    row = queued(ann, "slow", repeats="2")
    work_in_background()
    until(lambda: len(upstreams["slow"].requests) == 1)
    ann.post(f"/admin/job/{job().id}/cancel")
    until(lambda: loaded(row).status == "cancelled")
    assert job().status == RUNNING  # A call is in progress. It is billed, so its response is recorded.
    released.set()
    wait_for_jobs()
    assert (job().status, statuses(loaded(row))["slow/slow-m"]) == (CANCELED, ["done", "cancelled", "cancelled", "cancelled"])


def test_a_heartbeat_of_a_clock_that_was_ahead_freezes_no_evaluation(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = queued(ann, "quick")
    killed_during_a_call(row)
    with by_hand() as session:
        ahead = datetime.now(UTC) + timedelta(hours=1)
        session.execute(update(Evaluation).values(heartbeat_at=ahead))
        session.execute(update(Job).values(lease_until=ahead))
    assert "Interrupted" in page(ann, row)
    assert statuses(after_resuming(ann, row))["quick/quick-m"] == ["done", "done"]


def test_a_response_that_arrives_while_the_database_is_away_is_recorded_later(desk, upstreams, monkeypatch):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    row = queued(ann, "quick")
    failures, complete = iter((True, True, False, False)), evaluation_cells.complete_cell

    def away(*arguments):
        if next(failures):
            raise evaluation_runner.Unavailable("The database cannot be reached.")
        complete(*arguments)

    monkeypatch.setattr(evaluation_cells, "complete_cell", away)
    monkeypatch.setattr(evaluation_runner, "reconnect_delay", lambda _: timedelta())
    JobWorker().run_pending()
    assert (statuses(loaded(row))["quick/quick-m"], len(upstreams["quick"].requests)) == (["done", "done"], 2)
    assert db.session.execute(select(func.count()).select_from(Run)).scalar_one() == 2
