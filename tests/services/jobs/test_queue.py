"""The queue of jobs on both engines: one owner at a time, and nothing is written without a valid claim."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from environment import by_hand
from sqlalchemy import update

from webapp.domain.jobs.lifecycle import CANCELED, DONE, FAILED, LEASE, MAX_ATTEMPTS, QUEUED, RETENTION, RUNNING
from webapp.domain.shared.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.models import Job
from webapp.runtime.transaction import writing
from webapp.services.audit.audit_log import Target
from webapp.services.jobs import queue, queue_status
from webapp.services.jobs.queue import ChunkResult, JobRequest, LeaseLost

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def started(subject_id: int = 1, kind: str = "a_kind") -> int:
    with writing(refresh=False) as session:
        return queue.start(session, JobRequest(kind, Target("proposal", subject_id, "A catalog"), {}, 100, "row", "ann@example.com")).id


def claimed(owner: str, now: datetime = NOW, orphans=()):
    with writing(refresh=False) as session:
        return queue.claim(session, owner, f"process of {owner}", now, orphans)


def changed(**values) -> None:
    with by_hand() as session:
        session.execute(update(Job).values(**values))


def job(job_id: int) -> Job:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get(Job, job_id)


def test_the_oldest_job_is_claimed_first_and_each_only_once(either_app):
    first, second = started(1), started(2)
    assert [claim and claim.job_id for claim in (claimed("a"), claimed("b"), claimed("c"))] == [first, second, None]
    assert (job(first).status, job(first).owner, job(first).lease_until, job(first).attempts) == (RUNNING, "a", NOW + LEASE, 1)


def test_many_workers_that_claim_at_once_never_share_a_job(either_app):
    ids = {started(number) for number in range(6)}
    barrier, claims = threading.Barrier(4), []

    def work(name: int) -> None:
        with either_app.app_context():
            barrier.wait()
            for number in range(4):
                claims.append(claimed(f"{name}-{number}"))
            db.session.remove()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.job_id for claim in claims if claim) == sorted(ids)


def test_a_worker_that_lost_its_lease_writes_nothing(either_app):
    job_id = started()
    old = claimed("old")
    new = claimed("new", NOW + LEASE)
    assert new.job_id == job_id
    with pytest.raises(LeaseLost), writing(refresh=False) as session:
        queue.advance(queue.lock_owned(session, old, NOW), ChunkResult(50, {"ref": "a"}, False), NOW)
    with writing(refresh=False) as session:
        queue.release(session, old)
        queue.renew(session, [old.owner], NOW + timedelta(hours=1))
    assert (job(job_id).done, job(job_id).owner, job(job_id).status) == (0, "new", RUNNING)
    with writing(refresh=False) as session:
        queue.advance(queue.lock_owned(session, new, NOW + LEASE), ChunkResult(50, {"ref": "a"}, False), NOW + LEASE)
    assert (job(job_id).done, job(job_id).checkpoint, job(job_id).attempts) == (50, {"ref": "a"}, 0)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=1)])
def test_a_lease_of_a_clock_that_was_ahead_is_not_waited_for(either_app, ahead):
    started()
    claimed("ahead", NOW + ahead)
    assert claimed("right", NOW).owner == "right"


@pytest.mark.parametrize("behind", [timedelta(milliseconds=1), timedelta(seconds=20)])
def test_a_worker_whose_clock_is_a_little_behind_takes_no_job_from_another(either_app, behind):
    started()
    claimed("a", NOW)
    assert not queue.is_waiting(db.session(), NOW - behind)
    assert claimed("behind", NOW - behind) is None


def test_a_live_lease_is_respected_and_that_of_an_ended_process_is_not(either_app):
    started()
    claimed("a")
    with db.session() as session:
        assert queue.list_orphans(session, lambda process: process == "process of a") == ["a"]
        assert queue.list_orphans(session, lambda _: False) == []
    assert claimed("b", NOW + timedelta(seconds=1)) is None
    assert claimed("b", NOW + timedelta(seconds=1), ["a"]).owner == "b"


def test_an_idle_worker_sees_without_writing_whether_there_is_work(either_app):
    assert not queue.is_waiting(db.session(), NOW)
    started()
    assert queue.is_waiting(db.session(), NOW)


def test_a_subject_has_one_active_job(either_app):
    job_id = started(7)
    with pytest.raises(Conflict, match=f"Job {job_id} is working on this"):
        started(7)
    started(8)
    changed(status=DONE)
    assert started(7) != job_id


def test_an_error_is_tried_again_later_and_at_last_ends_the_job(either_app):
    job_id = started()
    closed = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        at = NOW + timedelta(hours=attempt)
        claim = claimed(f"attempt {attempt}", at)
        with writing(refresh=False) as session:
            row = queue.lock_owned(session, claim, at)
            if not queue.retry_later(row, at, "It broke."):
                queue.fail(session, row, at, "It broke.", lambda _, job: closed.append(job.status))
        if attempt == 3:
            assert (job(job_id).status, job(job_id).not_before, job(job_id).error) == (QUEUED, at + timedelta(seconds=4), "It broke.")
            assert claimed("too early", at + timedelta(seconds=3)) is None
    assert (job(job_id).status, job(job_id).error, closed) == (FAILED, "It broke.", [FAILED])


def test_a_returned_job_can_be_claimed_at_once_and_has_not_used_an_attempt(either_app):
    job_id = started()
    with writing(refresh=False) as session:
        queue.release(session, queue.claim(session, "a", "", NOW))
    assert (job(job_id).status, job(job_id).attempts) == (QUEUED, 0)
    with writing(refresh=False) as session:
        claim = queue.claim(session, "b", "", NOW)
        queue.advance(queue.lock_owned(session, claim, NOW), ChunkResult(50, {}, False), NOW)
        session.flush()
        queue.release(session, claim)
    assert (job(job_id).status, job(job_id).done, job(job_id).attempts) == (QUEUED, 50, 0)


@pytest.mark.parametrize(("stage", "ends"), [("queued", True), ("running", False), ("worker gone", True)])
def test_a_job_is_canceled_at_once_unless_a_worker_is_at_it(either_app, stage, ends):
    job_id = started()
    at = NOW + timedelta(minutes=5) if stage == "worker gone" else NOW
    if stage != "queued":
        claimed("a")
    closed = []
    with writing(refresh=False) as session:
        row = queue.find(session, job_id, lock=True)
        assert queue.cancel(session, row, lambda _, job: closed.append(job.status), actor="ann", now=at) is ends
    assert (job(job_id).status, job(job_id).cancel_requested) == (CANCELED if ends else RUNNING, True)
    assert closed == [CANCELED] * ends
    if ends:
        with pytest.raises(Conflict, match="has ended"), writing(refresh=False) as session:
            queue.cancel(session, queue.find(session, job_id, lock=True), lambda _, __: None, actor="ann", now=at)


def test_the_status_of_the_queue_counts_jobs_and_workers_that_report(either_app):
    assert queue_status.read(db.session(), NOW).workers == 0
    with writing(refresh=False) as session:
        for name, at in (("a", NOW), ("b", NOW), ("long silent", NOW - timedelta(hours=1))):
            queue_status.report_worker(session, name, at)
            queue_status.report_worker(session, name, at)
    started(1)
    started(2)
    claimed("x")
    status = queue_status.read(db.session(), NOW)
    assert (status.queued, status.running, status.workers) == (1, 1, 2)
    assert status.wait(status.oldest_queued + timedelta(seconds=90)) == timedelta(seconds=90)
    with writing(refresh=False) as session:
        queue_status.forget_worker(session, "a")
        queue_status.forget_worker(session, "b")
    assert queue_status.read(db.session(), NOW).workers == 1  # A live lease shows that one works.
    assert queue_status.read(db.session(), NOW + timedelta(minutes=5)).workers == 0


def test_ended_jobs_are_deleted_after_their_time(either_app):
    old, active = started(1), started(2)
    with by_hand() as session:
        session.execute(update(Job).where(Job.id == old).values(status=DONE, ended_at=NOW - RETENTION - timedelta(seconds=1)))
    with writing(refresh=False) as session:
        assert queue.delete_old(session, NOW) == 1
    with pytest.raises(NotFound):
        queue.find(db.session(), old)
    assert queue.find(db.session(), active).status == QUEUED
