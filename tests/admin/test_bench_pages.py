"""Benches end to end: several models on loopback, one failing, one slow; money, cancelling, rating, exports, and who may what."""

import csv
import html
import io
import json
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from factories import Visitor, price_values, provider_values
from sqlalchemy import func, select, text, update
from upstream import ANSWER, Upstream, after, completion, error, reply
from world import PASSWORD, by_hand, running

from webapp.domain import bench as rules
from webapp.domain.bench import LOCAL
from webapp.extensions import db
from webapp.models import AuditEvent, Bench, BenchCell, Provider, Rating, Run
from webapp.services import accounts, benches, credentials, models, prices, providers
from webapp.services.credentials import Holder
from webapp.web import benching, current
from webapp.web.benching import runner
from webapp.web.transaction import writing

INJECTED = "<script>alert(1)</script> ![x](http://127.0.0.1:9/?q) \x1b[31mred\u202eltr"
SLOW_S = 0.5


@pytest.fixture
def upstreams():
    found = {name: Upstream() for name in ("quick", "failing", "slow", "tricky")}
    found["failing"].says(error(500))
    found["slow"].says(after(SLOW_S, reply()))
    advice = {"recommendations": [{"type": "cpu", "priority": "low", "title": INJECTED, "description": INJECTED, "actions": [INJECTED]}]}
    found["tricky"].says(reply(200, completion(json.dumps(advice))))
    yield found
    for one in found.values():
        one.stop()


def desk_with(settings, upstreams):
    allowed = frozenset(one.place for one in upstreams.values())
    for app in running(replace(settings, outbound_allow=allowed)):
        with writing() as session:
            for name, one in upstreams.items():
                values = provider_values(slug=name, display_name=name.title(), base_url=one.base_url)
                made = providers.create(session, values, actor="ann", policy=current.desk().outbound)
                credentials.store(session, made, "sk-CANARY-0123456789", vault=current.vault(), actor="ann")
                model = models.create(session, {"provider": name, "model_id": "m", "display_name": name, "type": "text"}, actor="ann")
                if name != "tricky":
                    prices.add(session, model.id, price_values(), actor="ann")
        yield app


@pytest.fixture
def desk(settings, upstreams):
    yield from desk_with(settings, upstreams)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_desk(request, upstreams):
    yield from desk_with(request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings"), upstreams)


def form(*names, **more):
    refs = [LOCAL if name == "local" else f"{name}/m" for name in names]
    return {"samples": ["disk-full", "memory-oom"], "models": refs, "repeats": "1", "spend_cap": "", "incident": ""} | more


def started(visitor, *names, wait=20.0, **more) -> Bench:
    answer = visitor.post("/admin/bench/new", form(*names, **more))
    assert answer.status_code == 302, html.unescape(answer.text)
    public_id = answer.location.rstrip("/").rsplit("/", 1)[1]
    if wait:
        runner().wait(benches.find(db.session(), public_id).id, wait)
    db.session.rollback()
    return benches.with_cells(db.session(), public_id)


def after_resuming(visitor, found) -> Bench:
    visitor.post(f"/admin/bench/{found.public_id}/resume")
    runner().wait(found.id, 20)
    db.session.rollback()
    return benches.with_cells(db.session(), found.public_id)


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


def test_every_incident_goes_to_every_model_and_a_failing_one_fails_alone(either_desk):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    found = started(ann, "quick", "failing", "local", repeats="2")
    assert statuses(found) == {"quick/m": ["done"] * 4, "failing/m": ["failed"] * 4, LOCAL: ["done"] * 4}
    assert (found.status, len({cell.run.public_id for cell in found.cells})) == ("finished", 12)
    page = html.unescape(ann.get(f"/admin/bench/{found.public_id}/").text)
    assert "The provider failed" in page
    assert "quick/m and Local rules" in page
    assert 'hx-trigger="every 1s"' not in page  # Nothing more arrives.


def test_a_slow_model_delays_no_other(desk, upstreams):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    began = time.monotonic()
    found = started(ann, "quick", "slow", repeats="2", wait=0)
    while "done" not in statuses(found)["slow/m"]:
        assert time.monotonic() - began < 15
        db.session.rollback()
        found = benches.with_cells(db.session(), found.public_id)
        if statuses(found)["quick/m"] == ["done"] * 4:
            break
        time.sleep(0.02)
    assert statuses(found)["slow/m"].count("done") <= 1  # All of the quick one's are there while the slow one has hardly begun.
    runner().wait(found.id, 20)
    assert len(upstreams["slow"].requests) == 4


def test_the_spend_cap_stops_the_bench_and_says_what_was_not_asked(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    estimate = ann.post("/admin/bench/estimate", form("quick"), headers={"HX-Request": "true"}).text
    assert "In all" in estimate
    found = started(ann, "quick", repeats="5", spend_cap="0.033")
    spent = benches.spent(db.session(), found.public_id)
    counts = statuses(found)["quick/m"]
    assert (set(counts), spent <= Decimal("0.033"), counts.count("done") >= 1) == ({"done", "skipped"}, True, True)
    assert "The spend cap was reached before this was asked." in html.unescape(ann.get(f"/admin/bench/{found.public_id}/").text)


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
            benches.cancel(session, public_id, actor="bob@example.com")
    with desk.app_context():
        runner().wait(number, 20)
        after_all = benches.with_cells(db.session(), public_id)
        assert after_all.status == "cancelled"
        assert set(statuses(after_all)["slow/m"]) == {"done", "cancelled"}
        assert len(upstreams["slow"].requests) <= 2
        db.session.remove()


def test_what_a_dead_process_left_is_interrupted_and_can_be_resumed(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    found = started(ann, "quick")
    with by_hand() as session:
        old = datetime.now(UTC) - timedelta(minutes=5)
        session.execute(update(Bench).values(status="running", finished_at=None, heartbeat_at=old))
        session.execute(text("UPDATE bench_cells SET status = 'running', run_id = NULL WHERE position = 1"))
    page = ann.get(f"/admin/bench/{found.public_id}/").text
    assert "Interrupted" in page
    ann.post(f"/admin/bench/{found.public_id}/resume")
    runner().wait(found.id, 20)
    db.session.rollback()
    assert statuses(benches.with_cells(db.session(), found.public_id)) == {"quick/m": ["done", "done"]}


def test_whoever_resumes_a_bench_asks_with_keys_of_their_own_and_is_named(desk):
    ann, bob = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "bob@example.com", PASSWORD)
    with writing() as session:
        quick = session.execute(select(Provider).where(Provider.slug == "quick")).scalar_one()
        quick.allow_personal_keys = True
        for owner in ("ann@example.com", "bob@example.com"):
            holder = Holder("personal", owner)
            credentials.store(session, quick, f"sk-{owner}-0123456789", vault=current.vault(), actor=owner, holder=holder)
    found = started(ann, "quick")
    assert ["ann@example.com" in cell.run.key_source for cell in found.cells] == [True, True]
    assert "Resumed by" not in ann.get(f"/admin/bench/{found.public_id}/").text
    with by_hand() as session:
        session.execute(text("UPDATE bench_cells SET status = 'cancelled', run_id = NULL WHERE position = 1"))
        session.execute(update(Bench).values(status="cancelled"))
    resumed = after_resuming(bob, found)
    assert [cell.run.actor for cell in resumed.cells] == ["ann@example.com", "bob@example.com"]
    assert ["bob@example.com" in cell.run.key_source for cell in resumed.cells] == [False, True]
    assert "Resumed by bob@example.com" in ann.get(f"/admin/bench/{found.public_id}/").text
    assert (resumed.actor, ann.get(f"/admin/bench/{found.public_id}/export.json").json["resumed_by"]) == (ann.email, bob.email)
    line = db.session.execute(select(AuditEvent).where(AuditEvent.action == "runs:bench:resume")).scalar_one()
    assert (line.actor, line.before["runs_as"], line.after["runs_as"]) == (bob.email, ann.email, bob.email)
    created = select(AuditEvent.actor).where(AuditEvent.action == "runs:run:create").order_by(AuditEvent.id)
    assert db.session.execute(created).scalars().all() == [ann.email, ann.email, bob.email]


def priced_in_euros(name: str) -> None:
    with writing() as session:
        prices.add(session, current.registry().get_model(f"{name}/m").id, price_values(currency="EUR"), actor="ann")


def test_money_of_different_currencies_is_never_added_up(desk):
    priced_in_euros("tricky")
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    estimate = html.unescape(ann.post("/admin/bench/estimate", form("quick", "tricky")).text)
    found = started(ann, "quick", "tricky", spend_cap="0.5")
    dollars, euros = (
        sum((cell.run.cost_total for cell in found.cells if cell.model == model), Decimal(0)) for model in ("quick/m", "tricky/m")
    )
    page = html.unescape(ann.get(f"/admin/bench/{found.public_id}/").text)
    said = " ".join(re.sub("<[^>]+>", "", page.split('role="status">')[1].split("</p>")[0]).split())
    assert said.endswith(f"Spent ${dollars} of at most $0.50, and €{euros} that the cap does not count.")
    assert re.search(r"and ≈ €[0-9.]+ to €[0-9.]+</strong>", estimate)
    assert "what costs another currency is not counted towards it (tricky/m)" in estimate
    body = ann.get(f"/admin/bench/{found.public_id}/export.json").json
    quick, tricky = body["models"]
    assert body["costs"] == [{"currency": "USD", "cost": str(dollars)}, {"currency": "EUR", "cost": str(euros)}]
    assert (quick["cost"], tricky["cost"], tricky["costs"]) == (str(dollars), "0", [{"currency": "EUR", "cost": str(euros)}])
    assert [len(one["costs_per_1000"]) for one in (quick, tricky)] == [1, 1]
    assert (quick["cost_per_1000"], tricky["cost_per_1000"]) == (quick["costs_per_1000"][0]["cost"], None)
    rows = csv.DictReader(io.StringIO(ann.get(f"/admin/bench/{found.public_id}/export.csv").text))
    assert [row["currency"] for row in rows] == ["USD", "EUR"] * 2


def test_what_costs_another_currency_is_unknown_to_the_cap(desk):
    priced_in_euros("tricky")
    found = started(Visitor(desk, "ann@example.com", PASSWORD), "tricky", "quick", spend_cap="0.000001")
    assert statuses(found) == {"tricky/m": ["done"] * 2, "quick/m": ["skipped"] * 2}
    assert [cell.most_cost is None for cell in found.cells] == [True, False] * 2
    assert (benches.spent(db.session(), found.public_id), paid(found) > 0) == (0, True)


def test_the_page_of_a_model_adds_up_by_currency(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    found = started(ann, "quick")
    with by_hand() as session:
        session.execute(update(Run).where(Run.id == found.cells[0].run_id).values(currency="EUR", cost_total=Decimal("0.25")))
    own = found.cells[1].run.cost_total
    page = html.unescape(ann.get(f"/admin/model/details/?id={current.registry().get_model('quick/m').id}").text)
    assert f"<dd>${own} and €0.25</dd>" in page
    assert re.search(r"<dd>≈ \$[0-9.]+ in 1 run and ≈ €0.25 in 1 run</dd>", page)


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
    runner().wait(found.id, 20)
    db.session.rollback()
    found = benches.with_cells(db.session(), found.public_id)
    assert statuses(found)["slow/m"] == ["done"] + ["skipped"] * 5  # What was under way came back.
    assert len(upstreams["slow"].requests) == 1
    assert "bob@example.com may not run anything any more" in html.unescape(ann.get(f"/admin/bench/{found.public_id}/").text)
    resumed = after_resuming(ann, found)
    assert statuses(resumed)["slow/m"] == ["done"] * 6
    assert [cell.run.actor for cell in resumed.cells if cell.model == "slow/m"] == ["bob@example.com"] + ["ann@example.com"] * 5


def loaded(found) -> Bench:
    db.session.rollback()
    return benches.with_cells(db.session(), found.public_id)


def paid(found) -> Decimal:
    """What all runs that there are have cost."""
    return sum(db.session.execute(select(Run.cost_total).where(Run.cost_total.is_not(None))).scalars(), Decimal(0))


def gone_silent() -> None:
    with by_hand() as session:
        session.execute(update(Bench).values(heartbeat_at=datetime.now(UTC) - timedelta(minutes=5)))


def held_up(visitor, upstream) -> tuple[threading.Event, Bench]:
    """A bench whose first answer is under way until the event happens."""
    held = threading.Event()
    upstream.says(when(held, reply()), reply())
    found = started(visitor, "slow", wait=0)
    until(lambda: len(upstream.requests) == 1)
    return held, found


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
    runner().wait(found.id, 20)
    assert "Run what is missing" in ann.get(page).text
    assert statuses(after_resuming(ann, found))["slow/m"] == ["done", "done"]
    assert (len(upstreams["slow"].requests), benches.spent(db.session(), found.public_id)) == (2, paid(found))


def test_a_process_says_that_it_waits_also_after_a_cancellation(desk, upstreams, monkeypatch):
    monkeypatch.setattr(benching, "BEAT_S", 0.1)
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    held, found = held_up(ann, upstreams["slow"])
    ann.post(f"/admin/bench/{found.public_id}/cancel")
    gone_silent()
    until(lambda: not benches.is_silent(loaded(found)))
    held.set()


def test_a_late_answer_is_counted_and_replaces_no_newer_one(either_desk, upstreams):
    ann = Visitor(either_desk, "ann@example.com", PASSWORD)
    held, found = held_up(ann, upstreams["slow"])
    gone_silent()  # Its process was frozen, say.
    ann.post(f"/admin/bench/{found.public_id}/resume")
    until(lambda: statuses(loaded(found))["slow/m"] == ["done", "done"])
    newer = [cell.run.public_id for cell in loaded(found).cells]
    held.set()
    runner().wait(found.id, 20)
    found = loaded(found)
    assert ([cell.run.public_id for cell in found.cells], found.status, found.generation) == (newer, "finished", 1)
    late = db.session.execute(select(Run).where(Run.public_id.not_in(newer))).scalar_one()
    assert (late.bench, late.status, len(upstreams["slow"].requests)) == (found.public_id, "succeeded", 3)
    assert benches.spent(db.session(), found.public_id) == paid(found) == 3 * late.cost_total
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
        benches.resume(session, found.public_id, actor=ann.email)
        benches.cancel(session, found.public_id, actor=ann.email)
    held.set()
    runner().wait(found.id, 20)
    assert (statuses(loaded(found))["slow/m"], len(upstreams["slow"].requests)) == (["done", "cancelled"], 1)


def test_lanes_of_an_earlier_generation_begin_nothing_and_finish_nothing(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    found = started(ann, "quick")
    with by_hand() as session:
        session.execute(text("UPDATE bench_cells SET status = 'planned', run_id = NULL"))
        session.execute(update(Bench).values(status="running", generation=4))
    with writing(refresh=False) as session:
        assert benches.begin(session, found.id, 3, "quick/m") == rules.SKIP
        benches.finish(session, found.id, 3)
    assert (loaded(found).status, statuses(loaded(found))["quick/m"]) == ("running", ["planned", "planned"])
    with writing(refresh=False) as session:
        assert isinstance(benches.begin(session, found.id, 4, "quick/m"), benches.Work)


def test_what_a_model_says_is_text_and_never_markup(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    found = started(ann, "tricky")
    page = ann.get(f"/admin/bench/{found.public_id}/").text
    assert "<script>alert(1)" not in page
    assert "<img" not in page.split("<main")[1]
    assert "&lt;script&gt;alert(1)" in page


def test_an_answer_is_rated_once_by_each_person(desk):
    ann, bob = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "bob@example.com", PASSWORD)
    found = started(ann, "quick")
    run = found.cells[0].run.public_id
    for visitor, score in ((ann, "5"), (ann, "3"), (bob, "4")):
        assert visitor.post(f"/admin/bench/{found.public_id}/rate", {"run": run, "score": score}).status_code == 302
    assert sorted(db.session.execute(select(Rating.owner, Rating.score)).all()) == [("ann@example.com", 3), ("bob@example.com", 4)]
    assert "3.5" in ann.get(f"/admin/bench/{found.public_id}/").text
    for run_id, score in ((run, "6"), (run, "x"), ("run_nope", "3")):
        assert ann.post(f"/admin/bench/{found.public_id}/rate", {"run": run_id, "score": score}).status_code in (404, 422)


def test_exports_hold_exact_numbers_and_no_formula(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    found = started(ann, "quick", "local", name="=cmd()")
    rows = list(csv.DictReader(io.StringIO(ann.get(f"/admin/bench/{found.public_id}/export.csv").text)))
    asked = [row for row in rows if row["model"] == "quick/m"]
    assert [Decimal(row["cost"]) for row in asked] == [cell.run.cost_total for cell in found.cells if cell.model == "quick/m"]
    assert rows[0]["model"] != "@local"  # A leading @ would be a formula.
    body = ann.get(f"/admin/bench/{found.public_id}/export.json").json
    assert (len(body["cells"]), body["models"][0]["model"], body["agreement"][0]["incidents"]) == (4, "quick/m", 2)
    assert "sk-CANARY" not in json.dumps(body)


def test_uploaded_and_pasted_incidents_join_the_samples_and_can_be_kept(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    payload = {
        "version": "4",
        "receiver": "x",
        "status": "firing",
        "alerts": [{"labels": {"alertname": "DiskFull"}, "annotations": {"summary": "97 %"}}],
    }
    files = [(io.BytesIO(json.dumps(payload).encode()), "alert.json"), (io.BytesIO(b'[{"title": "One"}, {"title": "Two"}]'), "two.json")]
    found = started(ann, "local", samples=["disk-full"], incident="Pasted\nby hand", files=files)
    titles = [incident["title"] for incident in found.incidents]
    assert (len(titles), titles[1], titles[-2:]) == (5, "Pasted", ["One", "Two"])
    ann.post("/admin/bench/incidents", {"incident": '{"title": "Kept one"}'})
    page = ann.get("/admin/bench/new").text
    assert "Kept one" in page
    again = started(ann, "local", samples=[], saved=["1"])
    assert [incident["title"] for incident in again.incidents] == ["Kept one"]
    ann.post("/admin/bench/incidents/1/delete")
    ann.get("/admin/bench/new")  # Says that it was deleted.
    assert "Kept one" not in ann.get("/admin/bench/new").text
    assert "Kept one" in ann.get(f"/admin/bench/{again.public_id}/").text


BAD = [
    {"samples": []},
    {"models": []},
    {"models": ["no-such/model"]},
    {"models": [f"openai/m{number}" for number in range(9)]},
    {"repeats": "6"},
    {"repeats": "x"},
    {"spend_cap": "1e999"},
    {"spend_cap": "1e-30000000"},
    {"spend_cap": "10000.01"},
    {"spend_cap": "-1"},
    {"spend_cap": "NaN"},
    {"incident": '{"title": '},
    {"template": "no-such"},
]


@pytest.mark.parametrize("bad", BAD, ids=[str(bad)[:50] for bad in BAD])
def test_what_cannot_be_run_is_said_and_nothing_is_lost_or_started(desk, bad):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    answer = ann.post("/admin/bench/new", form("quick") | {"name": "Kept name"} | bad)
    assert (answer.status_code, "Nothing was started" in answer.text, "Kept name" in answer.text) == (422, True, True)
    assert db.session.execute(select(func.count()).select_from(Bench)).scalar_one() == 0
    assert ann.post("/admin/bench/estimate", form("quick") | bad).status_code == 200


@pytest.mark.parametrize(("typed", "cap"), [(" $1,234.50 ", "1234.5"), ("$ 0.5", "0.5"), ("10,000", "10000"), ("0", "0"), ("", None)])
def test_a_spend_cap_is_read_as_people_write_money(desk, typed, cap):
    found = started(Visitor(desk, "ann@example.com", PASSWORD), "local", spend_cap=typed)
    assert found.spend_cap == (Decimal(cap) if cap else None)


def test_a_viewer_looks_at_benches_and_starts_none(desk):
    ann, eve = Visitor(desk, "ann@example.com", PASSWORD), Visitor(desk, "eve@example.com", PASSWORD)
    found = started(ann, "local")
    page = eve.get(f"/admin/bench/{found.public_id}/")
    assert (page.status_code, "Your rating" in page.text, "Make default" in page.text) == (200, False, False)
    assert ("New bench" in eve.get("/admin/bench/").text.split("<main")[1].split("</main")[0]) is False
    for path in ("new", "estimate", "incidents", f"{found.public_id}/cancel", f"{found.public_id}/rate", f"{found.public_id}/rename"):
        assert eve.post(f"/admin/bench/{path}", form("local")).status_code == 403


FOUND_BY = [
    ("search=disks", True),
    ("search=nope", False),
    ("by=ann", True),
    ("by=bob", False),
    ("model=local", True),
    ("model=gpt", False),
    ("status=finished", True),
    ("status=cancelled", False),
    ("page=99999999999", False),
]


def test_the_history_is_found_by_name_person_model_and_status(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    started(ann, "local", name="Tuesday's disks")
    for query, there in FOUND_BY:
        assert ("Tuesday" in ann.get(f"/admin/bench/?{query}").text) is there, query


def test_runs_of_a_bench_count_like_others_and_are_never_from_the_cache(desk):
    ann = Visitor(desk, "ann@example.com", PASSWORD)
    with writing() as session:
        session.execute(text("UPDATE prompt_templates SET cache_minutes = 60"))
    started(ann, "quick", repeats="2")
    found = db.session.execute(select(Run)).scalars().all()
    assert (len(found), any(run.cached for run in found)) == (4, False)
    assert db.session.execute(select(func.count()).select_from(BenchCell)).scalar_one() == 4
    model = current.registry().get_model("quick/m")
    page = html.unescape(ann.get(f"/admin/model/details/?id={model.id}").text)
    assert "4 runs" in page
    assert ANSWER


def test_a_bench_without_a_choice_yet_is_no_mistake_to_look_at_and_one_to_start(bob):
    page = bob.post("/admin/bench/estimate", {}).text
    assert ("Choose incidents and models to see" in page, "alert-triangle" in page) == (True, False)
    refused = bob.post("/admin/bench/new", {})
    assert (refused.status_code, "Choose 1 to 20 incidents" in refused.text, "Choose 1 to 8 models" in refused.text) == (422, True, True)
