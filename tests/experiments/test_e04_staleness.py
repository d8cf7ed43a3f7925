"""E4: staleness of responses from two servers with four workers each, while this process commits changes."""

import threading
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from environment import api_for, running
from factories import model_values, price_values
from serving import serving
from sqlalchemy.orm import Session

from webapp.registry import revision as state
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens
from webapp.services.catalog import models
from webapp.services.pricing import prices

P99_S, MAX_S = 0.6, 1.0
PATH = "/models/openai/gpt-4o-mini"


@dataclass
class Committed:
    """The commit time of each revision, in revision order."""

    revisions: list[int] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)

    def age(self, revision: int, asked_at: float) -> float:
        """Return how long the response was already out of date at the time of the request, in seconds, or 0 if it was current."""
        following = bisect_right(self.revisions, revision)
        return max(0.0, asked_at - self.moments[following]) if following < len(self.moments) else 0.0


def watch(served, token: str, answers: list[tuple[float, int]], backwards: list[int], stop: threading.Event) -> None:
    """Poll over one connection after another. Each connection reaches one worker, whose revision must never decrease."""
    while not stop.is_set():
        client, last = served.client(token), 0
        for _ in range(20):
            asked_at = time.monotonic()
            revision = int(client.ask("GET", PATH).headers["Modeldesk-Revision"])
            answers.append((asked_at, revision))
            if revision < last:
                backwards.append(revision)
            last = revision
            time.sleep(0.005)
        client.close()


def change(session: Session, number: int, model_id: int, tokens: list[int]) -> None:
    """Make one of the changes that must spread in time: a new price, a toggled model or a revoked token."""
    if number % 3 == 0:
        start = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(hours=number)
        prices.add(session, model_id, price_values(effective_from=f"{start:%Y-%m-%dT%H:%M:%SZ}"), actor="e4")
    elif number % 3 == 1:
        models.set_active(session, model_id, actor="e4")
    else:
        api_tokens.revoke(session, tokens.pop(), actor="e4", now=datetime.now(UTC))


def commit_changes(changes: int) -> Committed:
    committed = Committed()
    with writing(refresh=False) as session:
        model_id = models.create(session, model_values(model_id="changing"), actor="e4").id
        tokens = [api_tokens.create(session, f"e4 {number}", ["registry:read"], actor="e4")[0].id for number in range(changes // 3 + 1)]
    for number in range(changes):
        with writing(refresh=False) as session:
            revision = state.bump(session).revision
            change(session, number, model_id, tokens)
        committed.revisions.append(revision)
        committed.moments.append(time.monotonic())
        time.sleep(0.02 if changes > 100 else 0.1)
    return committed


def all_arrived(served, token: str, revision: int) -> bool:
    """Whether every worker reaches the last revision within 20 seconds. Each new connection can reach another worker."""
    deadline = time.monotonic() + 20
    in_a_row = 0
    while in_a_row < 40 and time.monotonic() < deadline:
        client = served.client(token)
        response_revision = int(client.ask("GET", PATH).headers["Modeldesk-Revision"])
        client.close()
        in_a_row = in_a_row + 1 if response_revision == revision else 0
    return in_a_row == 40


def measured(settings, folder, changes: int, application: str = "wsgi:app") -> tuple[list[float], list[int], int]:
    answers: list[tuple[float, int]] = []
    backwards: list[int] = []
    stop = threading.Event()
    for instance in running(settings):
        token = api_for(instance, "registry:read").token  # Created before the servers start, because the control's workers never refresh.
    served = partial(serving, settings, folder, workers=4, application=application)
    with served() as first, served() as second:
        watchers = [threading.Thread(target=watch, args=(instance, token, answers, backwards, stop)) for instance in (first, second)]
        for thread in watchers:
            thread.start()
        try:
            for _ in running(settings):
                committed = commit_changes(changes)
                time.sleep(1.2)
        finally:
            stop.set()
            for thread in watchers:
                thread.join()
        assert application != "wsgi:app" or all(all_arrived(instance, token, committed.revisions[-1]) for instance in (first, second))
    ages = sorted(committed.age(revision, asked_at) for asked_at, revision in answers)
    return ages, backwards, len(answers)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_settings(request):
    return request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")


def test_e4_no_worker_goes_back_and_all_of_them_arrive(either_settings, tmp_path, scale, report):
    """The full form needs a dedicated machine and checks the limit of one second from the design. `make test` does not check times."""
    ages, backwards, count = measured(either_settings, tmp_path, scale(20, 1_000))
    p99 = ages[int(0.99 * (len(ages) - 1))]
    report(f"{count} answers of 8 workers in 2 servers: p99 {p99 * 1e3:.0f} ms, most {ages[-1] * 1e3:.0f} ms, {len(backwards)} went back")
    assert backwards == []
    assert scale(True, ages[-1] <= MAX_S and p99 <= P99_S)


def test_e4_control_servers_that_do_not_look_answer_with_old_state(settings, tmp_path, report):
    ages, _, count = measured(settings, tmp_path, 10, "experiments.mutants.never_refreshes:app")
    report(f"{count} answers of servers that never look: most {ages[-1] * 1e3:.0f} ms")
    assert ages[-1] > MAX_S
