"""Pool of clients, one per provider and key. All threads of a process share a client. It is closed when its key or settings change."""

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
MAX_CONCURRENT_CALLS = 4  # Per provider, so that a slow provider cannot occupy every thread.
T = TypeVar("T")


class _Lease:
    """A client and the number of its users. A retired client is closed when its last user is done."""

    def __init__(self, driver: Driver, identity: bytes) -> None:
        self.driver, self.identity = driver, identity
        self.users, self.retired = 0, False


class _LeaseCache(LRUCache[str, _Lease]):
    """The clients by provider and credential. Evicted clients are retired."""

    def popitem(self) -> tuple[str, _Lease]:
        slot, lease = super().popitem()
        _retire(lease)
        return slot, lease


class ClientPool:
    """The clients of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: _LeaseCache = _LeaseCache(MAX_CLIENTS)
        self._slots: dict[str, threading.BoundedSemaphore] = {}

    def use(self, endpoint: Endpoint, policy: OutboundPolicy, work: Callable[[Driver], T]) -> T:
        """Run `work` with the endpoint's client, which is created again if any setting changed. Raises `DriverError`."""
        lease = self._acquire(endpoint, policy)
        call_slot = self._call_slot(endpoint.slug)
        try:
            if not call_slot.acquire(timeout=endpoint.timeout_s):
                raise DriverError(
                    "overloaded", f"{MAX_CONCURRENT_CALLS} calls of this provider are under way already: try again when they have ended."
                )
            try:
                return work(lease.driver)
            finally:
                call_slot.release()
        finally:
            self._release(lease)

    def _acquire(self, endpoint: Endpoint, policy: OutboundPolicy) -> _Lease:
        identity, slot = _settings_digest(endpoint, policy), f"{endpoint.slug}\n{endpoint.credential}"
        with self._lock:
            lease = self._leases.get(slot)
            if lease is None or lease.identity != identity:
                # The first client imports its SDK under the lock. Other threads would only wait for the same import.
                fresh = _Lease(create_driver(endpoint, policy), identity)
                if lease is not None:
                    _retire(self._leases.pop(slot))
                lease = self._leases[slot] = fresh
            lease.users += 1
            return lease

    def _release(self, lease: _Lease) -> None:
        with self._lock:
            lease.users -= 1
            if lease.retired and not lease.users:
                lease.driver.close()

    def _call_slot(self, slug: str) -> threading.BoundedSemaphore:
        with self._lock:
            return self._slots.setdefault(slug, threading.BoundedSemaphore(MAX_CONCURRENT_CALLS))

    def close(self) -> None:
        """Close all clients. Those in use are closed when they are released."""
        with self._lock:
            while self._leases:
                self._leases.popitem()


def _retire(lease: _Lease) -> None:
    lease.retired = True
    if not lease.users:
        lease.driver.close()


def _settings_digest(endpoint: Endpoint, policy: OutboundPolicy) -> bytes:
    """Return a digest of the settings that a client depends on. It is a digest because the key is one of them."""
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
    """Return the pool of this process."""
    return _process


def _reset_after_fork() -> None:
    """Discard the parent's clients. Their locks may be held by threads that do not exist in this process."""
    global _process
    _process = ClientPool()


os.register_at_fork(after_in_child=_reset_after_fork)
