"""The Jobs page: who sees jobs and can cancel them, what it shows of each state, and what it says without a job worker."""

import html
from datetime import UTC, datetime, timedelta

import pytest
from environment import by_hand
from runtime.jobs.steps import events, job_of, large_proposal, run_jobs, start_apply
from sqlalchemy import update

from webapp.admin.jobs import job_presenter
from webapp.domain.jobs.lifecycle import CANCELED, QUEUED, RUNNING
from webapp.models import Job, Proposal
from webapp.runtime.transaction import writing
from webapp.services.audit.audit_log import Target
from webapp.services.catalog_sync import proposal_jobs
from webapp.services.jobs import queue, queue_status
from webapp.services.jobs.queue import JobRequest


def started(requested_by="ann@example.com", **values) -> int:
    request = JobRequest(proposal_jobs.UNDO, Target("proposal", 999, "<b>A catalog</b>"), {}, 4_200, "row", requested_by)
    with writing() as session:
        job_id = queue.start(session, request).id
    with by_hand() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))
    return job_id


def page(visitor, path="/admin/job/") -> str:
    return html.unescape(visitor.get(path).text)


def test_without_jobs_the_page_says_what_runs_as_one(eve):
    assert "No jobs" in page(eve)


def test_everyone_sees_jobs_and_only_their_owner_or_an_editor_cancels_them(app, ann, bob, eve):
    for visitor, requested_by, allowed in ((eve, "ann@example.com", False), (eve, "eve@example.com", True), (bob, "ann@example.com", True)):
        job_id = start_apply(large_proposal(3))
        with by_hand() as session:
            session.execute(update(Job).where(Job.id == job_id).values(requested_by=requested_by))
        assert "acme-list version 1" in page(visitor)
        assert ("Cancel the job" in page(visitor, f"/admin/job/{job_id}/")) is allowed
        response = visitor.post(f"/admin/job/{job_id}/cancel")
        assert (response.status_code, job_of(job_id).status) == ((302, CANCELED) if allowed else (403, QUEUED))
        ann.post(f"/admin/job/{job_id}/cancel")
    assert [event.actor for event in events("jobs:job:cancel")] == ["ann@example.com", "eve@example.com", "bob@example.com"]


def test_a_running_job_shows_its_progress_and_refreshes_until_it_ends(app, ann):
    now = datetime.now(UTC)
    job_id = started(status=RUNNING, done=2_100, started_at=now - timedelta(seconds=30), lease_until=now + timedelta(seconds=30))
    text = page(ann, f"/admin/job/{job_id}/progress")
    assert "2,100 of 4,200 rows, about 30 seconds left." in text
    assert 'hx-trigger="every 2s"' in text
    assert "No job worker" not in text
    with by_hand() as session:
        session.execute(update(Job).values(status="done", done=4_200, ended_at=now))
    response = ann.get(f"/admin/job/{job_id}/progress")
    assert (response.headers["HX-Refresh"], "hx-trigger" in response.text) == ("true", False)
    assert "4,200 of 4,200 rows." in response.text


def test_a_failed_job_shows_its_error_what_stays_and_what_to_do(app, ann):
    job_id = started(
        status="failed", done=1_500, error="It <broke>.", ended_at=datetime.now(UTC), totals={"left": 1, "left_rows": ["a/b c"]}
    )
    text = ann.get(f"/admin/job/{job_id}/").text
    assert "Ended after 1,500 of 4,200 rows. What was done stays. 1 row left unchanged, because of later changes." in text
    assert "It &lt;broke&gt;." in text
    assert "Start the undo again" in text
    assert "a/b c" in text
    assert "<b>A catalog" not in text + ann.get("/admin/job/").text


def test_without_a_job_worker_the_pages_say_what_to_start(app, ann):
    job_id = started()
    advice = "No job worker is running. Start a job worker: .venv/bin/flask --app wsgi worker."
    assert advice in page(ann)
    assert advice in page(ann, f"/admin/job/{job_id}/")
    with writing(refresh=False) as session:
        queue_status.report_worker(session, "a worker", datetime.now(UTC))
    assert advice not in page(ann) + page(ann, f"/admin/job/{job_id}/")


def test_the_list_can_be_filtered(app, ann):
    started("bob@example.com", status="failed")
    started("ann@example.com", status="done")
    assert (page(ann).count("Undo a proposal:"), page(ann, "/admin/job/?status=failed").count("Undo a proposal:")) == (2, 1)
    assert page(ann, "/admin/job/?mine=1").count("Undo a proposal:") == 1
    assert "No job matches" in page(ann, "/admin/job/?kind=other")


def test_unknown_jobs_are_not_found(ann):
    assert [ann.get(f"/admin/job/{number}/").status_code for number in ("1", "x", "9" * 15)] == [404] * 3


def test_a_large_proposal_is_approved_and_undone_through_its_page(app, ann, bob, monkeypatch):
    monkeypatch.setattr(proposal_jobs, "MAX_ATOMIC_ROWS", 3)
    proposal_id = large_proposal(4)
    path = f"/admin/proposals/{proposal_id}/"
    with by_hand() as session:
        session.get(Proposal, proposal_id).opened_by = "ann@example.com"
    seal = page(bob, path).partition('name="seal" value="')[2].partition('"')[0]
    bob.post(f"{path}approve", {"seal": seal})
    waiting = page(bob, path)
    assert "It starts as soon as a job worker is free." in waiting
    assert "Approve" not in waiting
    run_jobs()
    bob.post(f"{path}undo")
    assert "0 of 4 rows" in page(bob, path)
    run_jobs()
    assert "Undone" in page(bob, path)
    assert [event.actor for event in events("catalog:proposal:undo")] == ["bob@example.com"]


@pytest.mark.parametrize(("seconds", "text"), [(1, "1 second"), (59, "59 seconds"), (61, "1 minute"), (7_320, "2 hours 2 minutes")])
def test_durations_read_naturally(seconds, text):
    assert job_presenter.format_duration(timedelta(seconds=seconds)) == text
