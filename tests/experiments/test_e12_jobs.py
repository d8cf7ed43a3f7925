"""E12, jobs: the job worker is killed at random points. What it committed is whole, nothing is lost, and nothing is done twice."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from environment import PASSWORD, running
from factories import Visitor, bulk_catalogue
from fake_provider import Upstream, after, reply
from runtime.evaluations.conftest import desk_with
from runtime.evaluations.steps import form
from runtime.jobs.steps import added_models, events, job_of, large_proposal, start_apply, start_undo
from runtime.jobs.test_import_jobs import bulk_models
from runtime.jobs.test_import_jobs import started as import_started
from serving import environment_of
from sqlalchemy import func, select

from webapp.config.settings import ROOT
from webapp.domain.jobs.lifecycle import DONE
from webapp.extensions import db
from webapp.models import Job, Price
from webapp.services.audit import audit_log
from webapp.services.runs import evaluations
from webapp.services.transfer import import_jobs

WORKER = [sys.executable, "-m", "flask", "--app", "wsgi", "worker"]


class Worker:
    """A real job worker process. It can be killed and started again."""

    def __init__(self, settings, **environment: str) -> None:
        self.environment = environment_of(settings, **environment)

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen]:
        process = subprocess.Popen(WORKER, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def killed_at_random(self, job_id: int, seconds: float) -> None:
        """Start a worker, wait until it owns the job, and kill it within the next `seconds`."""
        owner = job_of(job_id).owner
        with self.process():
            wait_until(lambda: job_of(job_id).owner != owner)
            time.sleep(random.uniform(0, seconds))

    def run_until_end(self, job_id: int) -> None:
        with self.process():
            wait_until(lambda: job_of(job_id).ended_at is not None)


def wait_until(happened, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def engine_settings(request):
    return request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")


@pytest.fixture
def application(engine_settings):
    yield from running(engine_settings)


def added_prices() -> int:
    return db.session.execute(select(func.count()).select_from(Price).where(Price.source_name == "acme-list")).scalar_one()


def test_a_killed_worker_loses_nothing_and_does_nothing_twice(application, engine_settings, scale, report):
    random.seed(12)
    count, kills = scale(60, 12_000), scale(2, 50)
    worker, job_id = Worker(engine_settings), start_apply(large_proposal(count))
    done = []
    for _ in range(kills):
        worker.killed_at_random(job_id, 1)
        job = job_of(job_id)
        assert (added_models(), added_prices()) == (job.done, job.done), "a chunk was committed in part"
        done.append(job.done)
        if job.ended_at:
            break
    worker.run_until_end(job_id)
    job = job_of(job_id)
    assert (job.status, job.done, job.totals["changed"], added_models(), added_prices()) == (DONE, count, count, count, count)
    changes = Counter(event.target_name for event in events("registry:model:create") if event.request_id == f"job-{job_id}")
    assert (len(changes), set(changes.values())) == (count, {1})
    assert len(events("catalog:proposal:apply")) == 1
    assert audit_log.get_first_break_or_none(db.session()) is None
    report(f"killed {len(done)} times after {done} of {count} rows; {count} models and prices, one event each")
    undo_id = start_undo(job.subject_id)
    worker.killed_at_random(undo_id, 1)
    worker.run_until_end(undo_id)
    assert (job_of(undo_id).status, job_of(undo_id).totals["changed"], added_models()) == (DONE, count, 0)


def test_an_import_whose_worker_is_killed_ends_whole(application, engine_settings, scale, report, monkeypatch):
    random.seed(13)
    count, kills = scale(40, 3_000), scale(1, 50)
    monkeypatch.setattr(import_jobs, "MAX_ATOMIC_ROWS", 3)
    worker, job_id = Worker(engine_settings), import_started(Visitor(application, "ann@example.com", PASSWORD), bulk_catalogue(count))
    done = []
    for _ in range(kills):
        worker.killed_at_random(job_id, scale(1, 8))  # Reading a large file takes some seconds.
        done.append(job_of(job_id).done)
        assert (bulk_models(), bulk_models(Price)) == (done[-1], done[-1])
        if job_of(job_id).ended_at:
            break
    worker.run_until_end(job_id)
    assert (job_of(job_id).status, bulk_models(), bulk_models(Price)) == (DONE, count, count)
    changes = Counter(event.target_name for event in events("registry:model:create") if event.target_name.startswith("bulk/"))
    assert (len(changes), set(changes.values())) == (count, {1})
    assert len(events("catalog:file:import")) == 1
    report(f"killed {len(done)} times after {done} of {count} models; {count} models and prices, one event each")


def test_an_evaluation_whose_worker_is_killed_asks_nothing_twice(engine_settings, scale, report):
    random.seed(14)
    upstream = Upstream().says(after(0.3, reply()))
    for application in desk_with(engine_settings, {"slow": upstream}):
        ann = Visitor(application, "ann@example.com", PASSWORD)
        worker, lost = Worker(engine_settings, MODELDESK_OUTBOUND_ALLOW=upstream.place), 0
        for _ in range(scale(1, 50)):
            sent = len(upstream.requests)
            response = ann.post("/admin/bench/new", form("slow", repeats="5"))
            public_id = response.location.rstrip("/").rsplit("/", 1)[1]
            job_id = db.session.execute(select(func.max(Job.id))).scalar_one()
            worker.killed_at_random(job_id, 3)
            worker.run_until_end(job_id)
            db.session.rollback()
            row = evaluations.find_with_cells(db.session(), public_id)
            ended = Counter(cell.status for cell in row.cells)
            calls = len(upstream.requests) - sent
            assert (row.status, sum(ended.values())) == ("finished", 10)
            assert ended["done"] + ended["skipped"] == 10
            assert ended["skipped"] <= 1, "only the call in progress is lost"
            assert ended["done"] <= calls <= 10, "a call was repeated"
            lost += ended["skipped"]
        upstream.stop()
        report(f"{scale(1, 50)} evaluations: every call was sent at most once, {lost} responses were lost with their process")


def test_a_worker_that_is_asked_to_end_returns_its_job(application, engine_settings):
    job_id = start_apply(large_proposal(300))
    with Worker(engine_settings).process() as process:
        wait_until(lambda: job_of(job_id).done > 0)
        process.terminate()
        assert process.wait(30) == 0
    job = job_of(job_id)
    assert (job.status, job.owner, job.attempts, added_models()) == ("queued", None, 0, job.done)
    assert db.session.execute(select(Job.lease_until)).scalar_one() is None
