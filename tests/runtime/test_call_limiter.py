"""Tests of the call limiter: runs that wait for providers leave threads for other requests (T18)."""

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
    limiter = CallLimiter(8)
    slots = [limiter.acquire("ann") for _ in range(3)]
    for slot in slots:
        slot.__enter__()
    with pytest.raises(TooManyConcurrentCalls, match="of yours"), limiter.acquire("ann"):
        pass
    with limiter.acquire("bob"), pytest.raises(TooManyConcurrentCalls, match="4 calls wait"), limiter.acquire("eve"):
        pass
    slots[0].__exit__(None, None, None)
    with limiter.acquire("ann"):
        pass


def test_a_desk_of_one_thread_can_still_ask():
    with CallLimiter(1).acquire("ann"):
        pass


def test_a_turn_is_given_back_whatever_happens():
    limiter = CallLimiter(2)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), limiter.acquire("ann"):
            raise ZeroDivisionError


@pytest.fixture
def slow():
    upstream = Upstream().says(after(3, reply()))
    yield upstream
    upstream.stop()


def test_t18_a_provider_that_keeps_its_callers_waiting_keeps_nobody_else_waiting(settings, slow, tmp_path):
    """One worker with four threads, and nine concurrent runs on a provider that takes three seconds."""
    for _ in running(settings):
        with writing() as session:
            policy = OutboundPolicy(frozenset({slow.place}))
            provider = providers.create(session, provider_values(base_url=slow.base_url), actor="ann", policy=policy)
            credentials.store(session, provider, "sk-0123456789abcdef", vault=container.vault(), actor="ann")
            models.create(session, {"provider": "acme", "model_id": "m", "display_name": "M", "type": "text"}, actor="ann")
    with serving(settings, tmp_path, workers=1, MODELDESK_OUTBOUND_ALLOW=slow.place) as server:
        token = server.token("registry:read", "runs:write")
        responses = []

        def ask(number: int) -> None:
            client = server.client(token)
            responses.append(client.ask("POST", "/runs", {"incident": {"title": f"Disk {number}"}, "model": "acme/m"}))
            client.close()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(9)]
        for thread in threads:
            thread.start()
        while not slow.accepted:  # The first run waits for the provider now.
            time.sleep(0.01)
        reader, started_at = server.client(token), time.monotonic()
        assert reader.ask("GET", "/defaults").status == 200
        seconds = time.monotonic() - started_at
        reader.close()
        for thread in threads:
            thread.join(30)
    statuses = [response.status for response in responses]
    assert (set(statuses), 201 in statuses, len(statuses)) == ({201, 429}, True, 9)
    assert seconds < 2
