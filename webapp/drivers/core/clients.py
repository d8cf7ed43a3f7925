"""One client a provider and key, shared by all threads of a process, and closed when its key or its settings change."""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from cachetools import LRUCache

from webapp.drivers import create_driver
from webapp.drivers.core.base import Driver, DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy

MAX_CLIENTS = 64
MAX_CONCURRENT_CALLS = 4  # Calls of one provider: a slow one must not hold every thread.
T = TypeVar("T")


class _Lease:
    """A client with those who use it just now. It is closed when the last of them is done and nobody else will get it."""

    def __init__(self, driver: Driver, identity: bytes) -> None:
        self.driver, self.identity = driver, identity
        self.users, self.retired = 0, False


class _LeaseCache(LRUCache[str, _Lease]):
    """The clients by provider and credential. What falls out is retired."""

    def popitem(self) -> tuple[str, _Lease]:
        slot, lease = super().popitem()
        _retire(lease)
        return slot, lease


class ClientPool:
    """The clients of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: _LeaseCache = _LeaseCache(MAX_CLIENTS)
        self._turns: dict[str, threading.BoundedSemaphore] = {}

    def use(self, endpoint: Endpoint, policy: OutboundPolicy, work: Callable[[Driver], T]) -> T:
        """Does the work with the endpoint's client, made anew if anything about it changed. Raises `DriverError`."""
        lease = self._acquire(endpoint, policy)
        turn = self._call_slot(endpoint.slug)
        try:
            if not turn.acquire(timeout=endpoint.timeout_s):
                raise DriverError(
                    "overloaded", f"{MAX_CONCURRENT_CALLS} calls of this provider are under way already: try again when they have ended."
                )
            try:
                return work(lease.driver)
            finally:
                turn.release()
        finally:
            self._release(lease)

    def _acquire(self, endpoint: Endpoint, policy: OutboundPolicy) -> _Lease:
        identity, slot = _settings_digest(endpoint, policy), f"{endpoint.slug}\n{endpoint.credential}"
        with self._lock:
            found = self._leases.get(slot)
            if found is None or found.identity != identity:
                # A first client imports its SDK, under the lock: the others would only wait for the same import.
                fresh = _Lease(create_driver(endpoint, policy), identity)
                if found is not None:
                    _retire(self._leases.pop(slot))
                found = self._leases[slot] = fresh
            found.users += 1
            return found

    def _release(self, lease: _Lease) -> None:
        with self._lock:
            lease.users -= 1
            if lease.retired and not lease.users:
                lease.driver.close()

    def _call_slot(self, slug: str) -> threading.BoundedSemaphore:
        with self._lock:
            return self._turns.setdefault(slug, threading.BoundedSemaphore(MAX_CONCURRENT_CALLS))

    def close(self) -> None:
        """Ends all clients; those in use as soon as they are given back."""
        with self._lock:
            while self._leases:
                self._leases.popitem()


def _retire(lease: _Lease) -> None:
    lease.retired = True
    if not lease.users:
        lease.driver.close()


def _settings_digest(endpoint: Endpoint, policy: OutboundPolicy) -> bytes:
    """What must stay the same for a client to be used again, as a digest: the key is in it."""
    content = [
        endpoint.driver,
        endpoint.base_url,
        endpoint.api_key,
        endpoint.config,
        endpoint.timeout_s,
        sorted(policy.allow),
        id(policy.resolver),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).digest()


_process = ClientPool()


def shared_clients() -> ClientPool:
    """The clients of this process."""
    return _process


def _reset_after_fork() -> None:
    """The parent's clients are the parent's: their locks may be held by threads that do not exist here."""
    global _process
    _process = ClientPool()


os.register_at_fork(after_in_child=_reset_after_fork)
