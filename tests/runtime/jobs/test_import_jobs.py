"""Imports of many rows: in chunks, continued after a crash, canceled, and refused if the registry changed since the comparison."""

import html
import io
import json

import pytest
from environment import by_hand
from factories import bulk_catalogue
from runtime.jobs.steps import events, job_of, run_jobs
from runtime.jobs.test_proposal_jobs import Stop, after_chunks, cancel
from sqlalchemy import func, select, update

from webapp.domain.jobs.lifecycle import CANCELED, DONE, RUNNING
from webapp.extensions import db
from webapp.models import ImportDraft, Job, Model, Price, Provider
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.transfer import import_jobs


@pytest.fixture(autouse=True)
def few_atomic_rows(monkeypatch) -> None:
    monkeypatch.setattr(import_jobs, "MAX_ATOMIC_ROWS", 3)


def compared(visitor, document, name="bulk.json") -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    response = visitor.post(
        "/admin/exchange/compare", {"file": (io.BytesIO(text.encode()), name)}, page="/admin/exchange/", content_type="multipart/form-data"
    )
    assert response.status_code == 302, html.unescape(response.text)
    return response.location


def started(visitor, document, name="bulk.json") -> int:
    visitor.post(f"{compared(visitor, document, name)}apply")
    db.session.rollback()
    return db.session.execute(select(func.max(Job.id))).scalar_one()


def bulk_models(table=Model) -> int:
    db.session.rollback()
    query = select(func.count()).select_from(table)
    query = query.join(Model, Price.model_id == Model.id) if table is Price else query
    return db.session.execute(query.join(Provider, Model.provider_id == Provider.id).where(Provider.slug == "bulk")).scalar_one()


def test_a_large_file_is_imported_in_chunks_with_one_summary(app, ann):
    job_id = started(ann, bulk_catalogue(5))
    assert bulk_models() == 0
    page = html.unescape(ann.get("/admin/exchange/").text)
    assert "Import of bulk.json" in page
    assert "It starts as soon as a job worker is free." in page
    assert run_jobs() == 1
    job = job_of(job_id)
    assert (job.status, job.done, job.total, job.totals) == (DONE, 5, 5, {"added": 11, "changed": 0, "same": 0})
    assert (bulk_models(), bulk_models(Price), "content" in job.arguments) == (5, 5, False)
    (summary,) = events("catalog:file:import")
    assert (summary.actor, summary.after["added"], summary.after["models"]) == (ann.email, 11, 5)
    created = [event for event in events("registry:model:create") if event.target_name.startswith("bulk/")]
    assert [event.request_id for event in created] == [f"job-{job_id}"] * 5
    assert "Import of bulk.json" not in ann.get("/admin/exchange/").text


def test_the_page_counts_rows_and_not_their_prices(app, ann):
    text = html.unescape(ann.get(compared(ann, bulk_catalogue(2))).text)  # A provider and two models, with two prices.
    assert "all or nothing" in text
    assert "as a job that can be canceled" in html.unescape(ann.get(compared(ann, bulk_catalogue(3))).text)


@pytest.mark.parametrize("chunks", [1, 2])
def test_an_import_continues_where_its_process_ended(app, ann, monkeypatch, chunks):
    job_id = started(ann, bulk_catalogue(5))

    def end() -> None:
        raise Stop

    after_chunks(monkeypatch, chunks, end)
    with pytest.raises(Stop):
        run_jobs()
    assert (job_of(job_id).status, bulk_models()) == (RUNNING, 2 * chunks)
    with by_hand() as session:
        session.execute(update(Job).values(lease_until=audit_log.now()))
    run_jobs()
    assert (job_of(job_id).status, job_of(job_id).totals["added"], bulk_models(), bulk_models(Price)) == (DONE, 11, 5, 5)
    assert len([event for event in events("registry:model:create") if event.target_name.startswith("bulk/")]) == 5


def test_a_canceled_import_keeps_what_was_committed_and_can_be_continued_with_the_same_file(app, ann, monkeypatch):
    job_id = started(ann, bulk_catalogue(5))
    after_chunks(monkeypatch, 1, lambda: cancel(job_id))
    run_jobs()
    assert (job_of(job_id).status, bulk_models()) == (CANCELED, 2)
    page = html.unescape(ann.get("/admin/exchange/").text)
    assert "Ended after 2 of 5 models. What was done stays." in page
    assert "Import the file again to continue" in page
    (summary,) = events("catalog:file:import")
    assert (summary.after["result"], summary.after["models"], summary.after["of"]) == (CANCELED, 2, 5)
    ann.post(f"{compared(ann, bulk_catalogue(5))}apply")  # Three models are left, which is few enough for one transaction.
    assert (bulk_models(), bulk_models(Price)) == (5, 5)


def test_a_changed_registry_is_compared_again_before_a_job_starts(app, ann):
    address = compared(ann, bulk_catalogue(5))
    with writing() as session:
        models.create(session, {"provider": "openai", "model_id": "x", "display_name": "X", "type": "text"}, actor="ann")
    assert ann.post(f"{address}apply").location == address
    assert db.session.execute(select(Job)).first() is None
    ann.post(f"{address}apply")
    assert db.session.execute(select(func.count()).select_from(Job)).scalar_one() == 1
    assert db.session.execute(select(ImportDraft)).first() is None


def test_names_in_use_are_confirmed_once_at_the_start(app, ann):
    document = bulk_catalogue(5)
    document["models"][4] |= {"model_id": "gpt-4o", "active": True}
    address = compared(ann, document)
    response = ann.post(f"{address}apply")
    assert response.status_code == 409
    assert db.session.execute(select(Job)).first() is None
    keys = [part.partition('"')[0] for part in response.text.split('name="confirm" value="')[1:]]
    ann.post(f"{address}apply", {"confirm": keys})
    assert run_jobs() == 1
    assert bulk_models() == 5
    assert events("catalog:file:import")[0].after["confirmed"]


def test_a_csv_file_continues_with_the_prices_of_its_start(app, ann, monkeypatch):
    text = ann.get("/admin/exchange/download/csv").text
    lines = text.splitlines()
    column = lines[0].split(",").index("display_name")
    changed = [",".join([*cells[:column], "Renamed", *cells[column + 1 :]]) for cells in (line.split(",") for line in lines[1:8])]
    job_id = started(ann, "\n".join([lines[0], *changed]), "models.csv")
    after_chunks(monkeypatch, 1, lambda: (_ for _ in ()).throw(ZeroDivisionError))
    run_jobs()
    with by_hand() as session:
        session.execute(update(Job).values(not_before=None))
    run_jobs()
    assert (job_of(job_id).status, job_of(job_id).totals["changed"]) == (DONE, 7)
    db.session.rollback()
    assert db.session.execute(select(func.count()).select_from(Model).where(Model.display_name == "Renamed")).scalar_one() == 7


def test_only_one_large_import_runs_at_a_time(app, ann, bob):
    started(ann, bulk_catalogue(5))
    address = compared(bob, bulk_catalogue(6))
    bob.post(f"{address}apply")
    assert "is working on this" in html.unescape(bob.get("/admin/exchange/").text)
    assert db.session.execute(select(func.count()).select_from(Job)).scalar_one() == 1
