"""One client per provider and key: shared by threads, created again when its key changes, closed when no caller uses it."""

import os
import threading

import pytest
from fake_provider import ASK, KEY, Upstream, after, reply

from webapp.drivers.core import clients
from webapp.drivers.core.base import Endpoint
from webapp.drivers.core.clients import MAX_CONCURRENT_CALLS, ClientPool
from webapp.security.urlguard import OutboundPolicy


def endpoint(upstream: Upstream, key=KEY, slug="acme", **more) -> Endpoint:
    return Endpoint(slug, "openai", upstream.base_url, key, timeout_s=5.0, **more)


@pytest.fixture
def pool():
    client_pool = ClientPool()
    yield client_pool
    client_pool.close()


@pytest.fixture
def policy(upstream):
    return OutboundPolicy(frozenset({upstream.place}))


def test_the_same_provider_and_key_share_one_client_over_threads(pool, upstream, policy):
    seen = set()

    def ask():
        pool.use(endpoint(upstream), policy, lambda driver: (seen.add(id(driver)), driver.chat(ASK)))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seen), len(upstream.requests)) == (1, 12)


@pytest.mark.parametrize("change", [{"key": "sk-another-0123456789"}, {"config": {"extra_headers": {"X": "1"}}}], ids=["key", "config"])
def test_another_key_or_setting_makes_another_client_and_closes_the_old_one(pool, upstream, policy, change):
    old = pool.use(endpoint(upstream), policy, lambda driver: driver)
    new = pool.use(endpoint(upstream, **change), policy, lambda driver: driver)
    assert old is not new
    assert (old._sdk.is_closed(), new._sdk.is_closed()) == (True, False)


def test_keys_of_two_people_are_two_clients_and_neither_closes_the_other(pool, upstream, policy):
    ann = pool.use(endpoint(upstream, credential="personal:ann"), policy, lambda driver: driver)
    bob = pool.use(endpoint(upstream, key="sk-of-bob-0123456789", credential="personal:bob"), policy, lambda driver: driver)
    assert pool.use(endpoint(upstream, credential="personal:ann"), policy, lambda driver: driver) is ann
    assert (ann._sdk.is_closed(), bob._sdk.is_closed()) == (False, False)


def test_a_client_in_use_is_closed_only_when_it_is_given_back(pool, upstream, policy):
    upstream.says(after(0.5, reply()), reply())
    answers, begun = [], threading.Event()

    def slowly(driver):
        begun.set()
        answers.append(driver.chat(ASK).text)
        return driver

    drivers = []
    slow = threading.Thread(target=lambda: drivers.append(pool.use(endpoint(upstream), policy, slowly)))
    slow.start()
    begun.wait(5)
    pool.use(endpoint(upstream, key="sk-another-0123456789"), policy, lambda driver: driver)
    slow.join()
    assert len(answers) == 1
    assert drivers[0]._sdk.is_closed()


def test_only_a_few_calls_of_one_provider_run_at_once_and_another_is_not_delayed(pool, upstream, policy):
    running, counts, lock = [], [], threading.Lock()

    def work(driver):
        with lock:
            running.append(1)
            counts.append(len(running))
        barrier.wait(5)
        with lock:
            running.pop()

    barrier = threading.Barrier(MAX_CONCURRENT_CALLS + 1)
    threads = [threading.Thread(target=pool.use, args=(endpoint(upstream), policy, work)) for _ in range(MAX_CONCURRENT_CALLS)]
    for thread in threads:
        thread.start()
    second = endpoint(upstream, slug="other")
    assert pool.use(second, policy, lambda driver: driver.chat(ASK)).text  # While all slots of the first provider are in use.
    barrier.wait(5)
    for thread in threads:
        thread.join()
    assert max(counts) == MAX_CONCURRENT_CALLS


def test_the_key_is_in_no_slot_and_no_identity(pool, upstream, policy):
    pool.use(endpoint(upstream), policy, lambda driver: driver)
    assert KEY not in repr(dict(pool._leases)) + repr([vars(lease) for lease in pool._leases.values()])


def test_a_forked_process_has_clients_of_its_own():
    parent, reading, writing = clients.shared_clients(), *os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"own" if clients.shared_clients() is not parent else b"parent's")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 20) == b"own"
    os.close(reading)
    os.close(writing)
