"""What the tests of benches do: starting, waiting, resuming, holding an answer up, and counting what came back."""

import html
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from environment import by_hand
from fake_provider import reply
from sqlalchemy import select, update

from webapp.domain.incidents.evaluation import LOCAL
from webapp.extensions import db
from webapp.models import Evaluation, Run
from webapp.runtime.evaluation_runner import get_runner
from webapp.services.runs import evaluations


def form(*names, **more):
    refs = [LOCAL if name == "local" else f"{name}/m" for name in names]
    return {"samples": ["disk-full", "memory-oom"], "models": refs, "repeats": "1", "spend_cap": "", "incident": ""} | more


def started(visitor, *names, wait=20.0, **more) -> Evaluation:
    answer = visitor.post("/admin/bench/new", form(*names, **more))
    assert answer.status_code == 302, html.unescape(answer.text)
    public_id = answer.location.rstrip("/").rsplit("/", 1)[1]
    if wait:
        get_runner().wait(evaluations.find(db.session(), public_id).id, wait)
    db.session.rollback()
    return evaluations.find_with_cells(db.session(), public_id)


def after_resuming(visitor, found) -> Evaluation:
    visitor.post(f"/admin/bench/{found.public_id}/resume")
    get_runner().wait(found.id, 20)
    db.session.rollback()
    return evaluations.find_with_cells(db.session(), found.public_id)


def when(event, answer):
    """An answer that is given once the event happened."""

    def later(handler):
        assert event.wait(20)
        answer(handler)

    return later


def until(happened) -> None:
    end = time.monotonic() + 15
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def statuses(found) -> dict[str, list[str]]:
    return {model: [cell.status for cell in found.cells if cell.model == model] for model in found.models}


def loaded(found) -> Evaluation:
    db.session.rollback()
    return evaluations.find_with_cells(db.session(), found.public_id)


def paid(found) -> Decimal:
    """What all runs that there are have cost."""
    return sum(db.session.execute(select(Run.cost_total).where(Run.cost_total.is_not(None))).scalars(), Decimal(0))


def gone_silent() -> None:
    with by_hand() as session:
        session.execute(update(Evaluation).values(heartbeat_at=datetime.now(UTC) - timedelta(minutes=5)))


def held_up(visitor, upstream) -> tuple[threading.Event, Evaluation]:
    """A bench whose first answer is under way until the event happens."""
    held = threading.Event()
    upstream.says(when(held, reply()), reply())
    found = started(visitor, "slow", wait=0)
    until(lambda: len(upstream.requests) == 1)
    return held, found
