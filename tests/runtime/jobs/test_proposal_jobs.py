"""Proposals with many rows: applied and undone in chunks, with one summary, canceled and continued without doing anything twice."""

import html

import pytest
from environment import by_hand
from runtime.jobs.steps import added_models, approval_of, chosen_rows, events, job_of, large_proposal, run_jobs, start_apply, start_undo
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from webapp.domain.jobs.lifecycle import CANCELED, DONE, FAILED, QUEUED, RUNNING
from webapp.domain.shared.errors import Conflict
from webapp.extensions import db
from webapp.models import AuditEvent, Job, Model, Proposal
from webapp.runtime import job_chunks, job_kinds
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.catalog_sync import apply, proposal_jobs, proposals
from webapp.services.jobs import queue


class Stop(BaseException):
    """Stands for a process that ends between two chunks."""


def after_chunks(monkeypatch, count: int, action) -> None:
    """Run `action` once after this many chunks, between two transactions."""
    chunks = iter(range(1_000))

    def step(**options):
        if next(chunks) == count:
            action()
        return writing(**options)

    monkeypatch.setattr(job_chunks, "writing", step)


def cancel(job_id: int) -> None:
    with writing(refresh=False) as session:
        job = queue.find(session, job_id, lock=True)
        queue.cancel(session, job, job_kinds.find(job.kind).close, actor="bob", now=audit_log.now())


def status_of(proposal_id: int) -> str:
    db.session.rollback()
    return db.session.execute(select(Proposal.status).where(Proposal.id == proposal_id)).scalar_one()


def test_a_large_proposal_is_applied_in_chunks_with_one_summary(either_app):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)
    assert added_models() == 0
    assert run_jobs() == 1
    job = job_of(job_id)
    assert (job.status, job.done, job.total, job.totals["changed"], job.owner) == (DONE, 5, 5, 5, None)
    assert (added_models(), status_of(proposal_id)) == (5, "applied")
    summary = events("catalog:proposal:apply")
    assert [(event.actor, event.after["rows"], event.after["of"], event.after["job"]) for event in summary] == [("bob", 5, 5, job_id)]
    changes = [event for event in events("registry:model:create") if "fresh-" in event.target_name]
    assert [event.request_id for event in changes] == [f"job-{job_id}"] * 5
    assert audit_log.get_first_break_or_none(db.session()) is None
    assert run_jobs() == 0


def test_while_a_job_works_on_a_proposal_nothing_else_changes_it(app):
    proposal_id = large_proposal(3)
    start_apply(proposal_id)
    for change in (
        lambda session: apply.apply(session, proposal_id, approval_of(proposal_id)),
        lambda session: proposal_jobs.start_apply(session, proposal_id, approval_of(proposal_id)),
        lambda session: proposals.close(session, proposal_id, actor="ann"),
        lambda session: proposals.choose_matching(session, proposal_id, proposals.RowFilter(), False),
    ):
        with pytest.raises(Conflict, match="is working on this"), writing() as session:
            change(session)


def test_an_approval_must_be_valid_before_a_job_starts(app):
    proposal_id = large_proposal(3)
    for overrides in ({"actor": "ann"}, {"selection_digest": "another"}):
        with pytest.raises((Conflict, proposal_jobs.apply.Forbidden)), writing() as session:
            proposal_jobs.start_apply(session, proposal_id, approval_of(proposal_id, **overrides))
    assert db.session.execute(select(Job)).first() is None


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_canceling_keeps_what_was_committed_says_how_much_and_offers_undo(app, ann, monkeypatch, chunks):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)
    after_chunks(monkeypatch, chunks, lambda: cancel(job_id))
    run_jobs()
    monkeypatch.undo()
    job, committed = job_of(job_id), 2 * chunks
    assert (job.status, job.done, added_models()) == (CANCELED, committed, committed)
    page = html.unescape(ann.get(f"/admin/proposals/{proposal_id}/").text)
    assert f"Ended after {committed} of 5 rows." in page
    if not chunks:
        assert (status_of(proposal_id), events("catalog:proposal:apply")) == ("open", [])
        return
    assert [(event.after["rows"], event.after["result"]) for event in events("catalog:proposal:apply")] == [(committed, CANCELED)]
    assert (status_of(proposal_id), len(chosen_rows(proposal_id))) == ("applied", committed)
    start_undo(proposal_id)
    run_jobs()
    assert (status_of(proposal_id), added_models()) == ("undone", 0)


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_job_continues_where_its_process_ended(either_app, monkeypatch, chunks):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)

    def end() -> None:
        raise Stop

    after_chunks(monkeypatch, chunks, end)
    with pytest.raises(Stop):
        run_jobs()
    assert (job_of(job_id).status, added_models()) == (RUNNING, 2 * chunks)
    assert run_jobs() == 0  # Its lease is valid, and its process, which is this one, lives.
    with by_hand() as session:
        session.execute(update(Job).values(lease_until=audit_log.now()))
    assert run_jobs() == 1
    assert (job_of(job_id).status, added_models()) == (DONE, 5)
    assert len([event for event in events("registry:model:create") if "fresh-" in event.target_name]) == 5


def test_a_chunk_of_a_worker_that_lost_its_lease_leaves_nothing(either_app, monkeypatch):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)

    def lose() -> None:
        with by_hand() as session:
            session.execute(update(Job).values(owner="another"))

    after_chunks(monkeypatch, 1, lose)
    run_jobs()
    assert (job_of(job_id).status, job_of(job_id).owner, job_of(job_id).done, added_models()) == (RUNNING, "another", 2, 2)


def test_rows_that_changed_since_are_left_and_listed(either_app):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)
    with writing() as session:
        for number in (1, 4):  # The second and the last row are taken before the job comes to them.
            models.create(
                session,
                {"provider": "openai", "model_id": f"x-{number}", "display_name": "X", "type": "text", "aliases": [f"y-{number}"]},
                actor="ann",
            )
    rows = chosen_rows(proposal_id)
    with by_hand() as session:
        for number in (1, 4):
            entry = rows[number].entry
            row = session.merge(rows[number])
            row.entry = entry | {"model": entry["model"] | {"aliases": [f"y-{number}"]}}
    run_jobs()
    job = job_of(job_id)
    assert (job.status, job.done, job.totals["changed"], job.totals["left"], added_models()) == (DONE, 5, 3, 2, 3)
    assert [line.partition(" ")[0] for line in job.totals["left_rows"]] == ["newcomer/fresh-0001", "newcomer/fresh-0004"]
    (summary,) = events("catalog:proposal:apply")
    assert (summary.after["rows"], len(summary.after["left"])) == (3, 2)


def test_an_unexpected_error_is_tried_again_and_the_page_shows_it(app, ann, monkeypatch):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)

    def broken() -> None:
        raise ZeroDivisionError

    after_chunks(monkeypatch, 1, broken)
    run_jobs()
    job = job_of(job_id)
    assert (job.status, job.done, added_models()) == (QUEUED, 2, 2)
    assert "ZeroDivisionError" in ann.get(f"/admin/job/{job_id}/").text
    with by_hand() as session:
        session.execute(update(Job).values(not_before=None))
    run_jobs()
    assert (job_of(job_id).status, job_of(job_id).error, added_models()) == (DONE, None, 5)


def test_a_database_that_is_away_for_a_while_delays_a_job_and_drops_its_open_chunk(app, monkeypatch):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)
    waits = []
    monkeypatch.setattr(job_chunks, "reconnect_delay", lambda failures: waits.append(failures) or audit_log.now() - audit_log.now())
    failing, add_to_totals = iter((False, True, True, False, False, False)), proposal_jobs._add_to_totals

    def disconnected(*arguments):
        if next(failing):
            raise OperationalError("INSERT", {}, Exception("connection lost"))
        return add_to_totals(*arguments)

    monkeypatch.setattr(proposal_jobs, "_add_to_totals", disconnected)
    run_jobs()
    assert (job_of(job_id).status, job_of(job_id).done, added_models(), waits) == (DONE, 5, 5, [1, 2])
    assert len([event for event in events("registry:model:create") if "fresh-" in event.target_name]) == 5


def test_a_job_whose_process_ends_too_often_at_one_place_fails(app):
    proposal_id = large_proposal(5)
    job_id = start_apply(proposal_id)
    with by_hand() as session:
        session.execute(update(Job).values(attempts=10))
    run_jobs()
    assert (job_of(job_id).status, added_models(), status_of(proposal_id)) == (FAILED, 0, "open")
    assert "ended 10 times" in job_of(job_id).error


def test_an_undo_that_was_canceled_continues_with_the_rest(either_app, monkeypatch):
    proposal_id = large_proposal(5)
    start_apply(proposal_id)
    run_jobs()
    job_id = start_undo(proposal_id)
    after_chunks(monkeypatch, 1, lambda: cancel(job_id))
    run_jobs()
    monkeypatch.undo()
    assert (job_of(job_id).status, added_models(), status_of(proposal_id)) == (CANCELED, 3, "applied")
    start_undo(proposal_id)
    run_jobs()
    assert (added_models(), status_of(proposal_id)) == (0, "undone")
    assert [event.after["rows"] for event in events("catalog:proposal:undo")] == [2, 3]
    names = select(AuditEvent.target_name).where(AuditEvent.action == "registry:model:update")
    assert len(db.session.execute(names).scalars().all()) == len(
        db.session.execute(select(Model).where(Model.model_id.like("~undone%"))).all()
    )
