"""Steps of the evaluation tests: start, wait, resume, delay a response, and count the costs of runs."""

import html
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from background_jobs import wait_for_jobs, work_in_background
from environment import by_hand
from fake_provider import reply
from sqlalchemy import select, update

from webapp.domain.incidents.evaluation import LOCAL
from webapp.extensions import db
from webapp.models import Evaluation, Run
from webapp.services.runs import evaluations


def form(*names, **more):
    refs = [LOCAL if name == "local" else f"{name}/{name}-m" for name in names]
    return {"samples": ["disk-full", "memory-oom"], "models": refs, "repeats": "1", "spend_cap": "", "incident": ""} | more


def started(visitor, *names, wait=20.0, **more) -> Evaluation:
    response = visitor.post("/admin/bench/new", form(*names, **more))
    assert response.status_code == 302, html.unescape(response.text)
    public_id = response.location.rstrip("/").rsplit("/", 1)[1]
    if wait:
        wait_for_jobs(wait)
    work_in_background()
    db.session.rollback()
    return evaluations.find_with_cells(db.session(), public_id)


def after_resuming(visitor, row) -> Evaluation:
    visitor.post(f"/admin/bench/{row.public_id}/resume")
    wait_for_jobs()
    db.session.rollback()
    return evaluations.find_with_cells(db.session(), row.public_id)


def when(event, respond):
    """Return a handler that responds after the event."""

    def later(handler):
        assert event.wait(20)
        respond(handler)

    return later


def until(happened) -> None:
    deadline = time.monotonic() + 15
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def statuses(row) -> dict[str, list[str]]:
    return {model: [cell.status for cell in row.cells if cell.model == model] for model in row.models}


def loaded(row) -> Evaluation:
    db.session.rollback()
    return evaluations.find_with_cells(db.session(), row.public_id)


def paid(row) -> Decimal:
    """Return the total cost of all runs in the database."""
    return sum(db.session.execute(select(Run.cost_total).where(Run.cost_total.is_not(None))).scalars(), Decimal(0))


def gone_silent() -> None:
    with by_hand() as session:
        session.execute(update(Evaluation).values(heartbeat_at=datetime.now(UTC) - timedelta(minutes=5)))


def held_up(visitor, upstream) -> tuple[threading.Event, Evaluation]:
    """Start an evaluation whose first response waits for the returned event."""
    released = threading.Event()
    upstream.says(when(released, reply()), reply())
    row = started(visitor, "slow", wait=0)
    until(lambda: len(upstream.requests) == 1)
    return released, row
