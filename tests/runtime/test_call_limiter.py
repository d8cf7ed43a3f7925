"""Requests that wait for providers leave threads for everybody else (T18)."""

import threading
import time

import pytest
from environment import running
from factories import provider_values
from fake_provider import Upstream, after, reply
from serving import serving

from webapp.domain.shared.errors import TooManyConcurrentCalls
from webapp.runtime import container
from webapp.runtime.call_limiter import CallLimiter
from webapp.runtime.transaction import writing
from webapp.security.urlguard import OutboundPolicy
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials


def test_half_of_the_threads_may_wait_and_one_caller_never_takes_all_of_them():
    turns = CallLimiter(8)
    held = [turns.acquire("ann") for _ in range(3)]
    for one in held:
        one.__enter__()
    with pytest.raises(TooManyConcurrentCalls, match="of yours"), turns.acquire("ann"):
        pass
    with turns.acquire("bob"), pytest.raises(TooManyConcurrentCalls, match="4 calls wait"), turns.acquire("eve"):
        pass
    held[0].__exit__(None, None, None)
    with turns.acquire("ann"):
        pass


def test_a_desk_of_one_thread_can_still_ask():
    with CallLimiter(1).acquire("ann"):
        pass


def test_a_turn_is_given_back_whatever_happens():
    turns = CallLimiter(2)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), turns.acquire("ann"):
            raise ZeroDivisionError


@pytest.fixture
def slow():
    found = Upstream().says(after(3, reply()))
    yield found
    found.stop()


def test_t18_a_provider_that_keeps_its_callers_waiting_keeps_nobody_else_waiting(settings, slow, tmp_path):
    """One worker of four threads, nine runs at once on a provider that takes three seconds."""
    for _ in running(settings):
        with writing() as session:
            policy = OutboundPolicy(frozenset({slow.place}))
            made = providers.create(session, provider_values(base_url=slow.base_url), actor="ann", policy=policy)
            credentials.store(session, made, "sk-0123456789abcdef", vault=container.vault(), actor="ann")
            models.create(session, {"provider": "acme", "model_id": "m", "display_name": "M", "type": "text"}, actor="ann")
    with serving(settings, tmp_path, workers=1, MODELDESK_OUTBOUND_ALLOW=slow.place) as desk:
        token = desk.token("registry:read", "runs:write")
        answers = []

        def ask(number: int) -> None:
            client = desk.client(token)
            answers.append(client.ask("POST", "/runs", {"incident": {"title": f"Disk {number}"}, "model": "acme/m"}))
            client.close()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(9)]
        for thread in threads:
            thread.start()
        while not slow.accepted:  # The first of them waits for the provider now.
            time.sleep(0.01)
        reader, began = desk.client(token), time.monotonic()
        assert reader.ask("GET", "/defaults").status == 200
        seconds = time.monotonic() - began
        reader.close()
        for thread in threads:
            thread.join(30)
    statuses = [found.status for found in answers]
    assert (set(statuses), 201 in statuses, len(statuses)) == ({201, 429}, True, 9)
    assert seconds < 2
