"""E22: a password check has the intended cost, a process runs at most four checks at once, and overlong passwords are never hashed."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from argon2 import PasswordHasher
from environment import PASSWORD
from factories import csrf_token

from webapp.domain.shared.errors import TooManyConcurrentCalls
from webapp.runtime.transaction import writing
from webapp.security import passwords
from webapp.services.accounts import accounts

MEBIBYTE = "x" * 1_048_576
TWELVE = 12
GREAT_MANY = threading.BoundedSemaphore(1_000)


class Counting(PasswordHasher):
    """A real hasher that counts its calls. While `go_on` is cleared, calls wait inside, so that concurrent calls add up."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.inside = self.most = self.calls = 0
        self._count, self.go_on = threading.Lock(), threading.Event()
        self.go_on.set()

    def _counted(self, work, *arguments):
        with self._count:
            self.inside, self.calls = self.inside + 1, self.calls + 1
            self.most = max(self.most, self.inside)
        try:
            self.go_on.wait(20)
            return work(*arguments)
        finally:
            with self._count:
                self.inside -= 1

    def verify(self, *arguments):
        return self._counted(super().verify, *arguments)

    def hash(self, *arguments):
        return self._counted(super().hash, *arguments)


@pytest.fixture
def quick_hashes() -> None:
    """Keep the production hasher, because this file tests its cost."""


@pytest.fixture
def hasher(monkeypatch):
    counting = Counting()
    monkeypatch.setattr(passwords, "HASHER", counting)
    yield counting
    counting.go_on.set()


def guess(app, number: int):
    """Guess a password with a separate browser, address and account, so that no throttle applies."""
    client = app.test_client()
    form = {"csrf_token": csrf_token(client.get("/login").text), "email": f"nobody-{number}@example.com", "password": "wrong"}
    return client.post("/login", data=form, environ_base={"REMOTE_ADDR": f"127.0.{number % 200}.9"})


def all_at_once(app, hasher, first: int = 0) -> list:
    """Return the responses to twelve guesses. No check ends before all other guesses are rejected or also in a check."""
    hasher.go_on.clear()
    with ThreadPoolExecutor(TWELVE) as pool:
        futures = [pool.submit(guess, app, number) for number in range(first, first + TWELVE)]
        deadline = time.monotonic() + 20
        while sum(future.done() for future in futures) + hasher.inside < TWELVE and time.monotonic() < deadline:
            time.sleep(0.01)
        hasher.go_on.set()
        return [future.result() for future in futures]


def test_e22_no_more_than_four_passwords_are_checked_at_once_and_the_others_are_told_when_to_come_back(app, hasher, scale, report):
    rounds = scale(1, 20)
    responses = [response for number in range(rounds) for response in all_at_once(app, hasher, number * TWELVE)]
    refused = [response for response in responses if response.status_code == 429]
    report(f"{rounds} x 12 at once: at most {hasher.most} hashed at the same time, {hasher.calls} in all, {len(refused)} answered with 429")
    assert (hasher.most, hasher.calls, len(refused)) == (4, 4 * rounds, 8 * rounds)
    assert {response.status_code for response in responses} == {422, 429}
    assert all(response.headers["Retry-After"] == "2" and "Too many people are signing in" in response.text for response in refused)
    assert guess(app, rounds * TWELVE).status_code == 422  # The slots are released.


def test_e22_control_without_the_bound_more_than_four_are_hashed_at_once(app, hasher, report):
    with patch.object(passwords, "_hash_slots", GREAT_MANY):
        responses = all_at_once(app, hasher)
    report(f"12 at once without the bound: {hasher.most} hashed at the same time")
    assert (hasher.most, {response.status_code for response in responses}) == (TWELVE, {422})


@pytest.fixture
def all_taken():
    """Occupy all hashing slots."""
    with patch.object(passwords, "_hash_slots", threading.Semaphore(0)):
        yield


DOORS = {
    "sign-in": ("/login", "/login", {"email": "ann@example.com", "password": PASSWORD}),
    "confirm": ("/confirm", "/confirm", {"password": PASSWORD}),
    "account": (
        "/admin/account/password",
        "/admin/account/",
        {"present": PASSWORD, "new": "a new sentence of my own", "again": "a new sentence of my own"},
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_e22_every_door_to_a_password_says_so_in_words(app, ann, hasher, all_taken, door):
    path, page, form = DOORS[door]
    visitor = app.test_client() if door == "sign-in" else ann.client
    response = visitor.post(path, data={"csrf_token": csrf_token(visitor.get(page).text)} | form)
    assert (response.status_code, response.headers["Retry-After"], hasher.calls) == (429, "2", 0)
    assert "Too many people are signing in at this moment. Wait a few seconds and send it again." in response.text


def test_e22_a_setup_link_is_not_spent_when_there_is_no_turn(app, hasher):
    with writing(refresh=False) as session:
        secret = accounts.make_link(session, accounts.find(session, "eve@example.com"), actor="tests", now=datetime.now(UTC))
    client, path = app.test_client(), f"/setup/{secret}"
    form = {
        "csrf_token": csrf_token(client.get(path).text),
        "password": "a new sentence of my own",
        "password_again": "a new sentence of my own",
    }
    with patch.object(passwords, "_hash_slots", threading.Semaphore(0)):
        response = client.post(path, data=form)
    assert (response.status_code, response.headers["Retry-After"], hasher.calls) == (429, "2", 0)
    assert client.post(path, data=form).status_code == 302


@pytest.mark.parametrize(("size", "status"), [(201, 422), (5_000, 422), (100_000, 422), (1_048_576, 413)])
def test_e22_a_password_that_is_too_long_is_refused_before_it_is_hashed(app, ann, hasher, size, status):
    """With one megabyte, the whole form is rejected unread."""
    signed_in = hasher.calls
    for door, (path, page, form) in DOORS.items():
        visitor = app.test_client() if door == "sign-in" else ann.client
        long_form = {name: value if name == "email" else MEBIBYTE[:size] for name, value in form.items()}
        response = visitor.post(path, data={"csrf_token": csrf_token(visitor.get(page).text)} | long_form)
        assert (response.status_code, hasher.calls) == (status, signed_in), door
    with pytest.raises(Exception, match="must have 15 to 200"):
        passwords.hash_password(MEBIBYTE[:size])
    assert hasher.calls == signed_in


def test_e22_what_a_check_costs_in_earnest(scale, report):
    """The target is 100 to 500 ms. The assertion allows for faster or busy machines."""
    password_hash, times = passwords.hash_password("a long enough sentence"), []
    for _ in range(scale(3, 50)):
        start = time.perf_counter()
        assert passwords.verify(password_hash, "a long enough sentence")
        times.append((time.perf_counter() - start) * 1e3)
    report(f"{len(times)} checks: median {statistics.median(times):.0f} ms, most {max(times):.0f} ms")
    assert passwords.HASHER.memory_cost >= 47_104
    assert not passwords.HASHER.check_needs_rehash(passwords.DUMMY_HASH)  # An unknown email address has the same cost.
    assert 15 < statistics.median(times) < 5_000


def test_e22_a_turn_is_given_back_after_a_wrong_password_and_after_a_password_that_cannot_be_hashed(hasher):
    password_hash = passwords.hash_password("a long enough sentence")
    for wrong in ("wrong", "\ud800") * passwords.MAX_CONCURRENT_HASHES:
        assert not passwords.verify(password_hash, wrong)
    assert passwords.verify(password_hash, "a long enough sentence")
    with patch.object(passwords, "_hash_slots", threading.Semaphore(0)), pytest.raises(TooManyConcurrentCalls):
        passwords.verify(password_hash, "a long enough sentence")
