"""Metrics of the host that Modeldesk runs on, and the check whether an incident is about that host."""

from collections.abc import Collection
from dataclasses import dataclass

from webapp.domain.incidents.incidents import Incident

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


@dataclass(frozen=True, slots=True)
class ProcessMetrics:
    """One process. Its command line is left out, because it can hold secrets."""

    pid: int
    name: str
    cpu_percent: float
    memory_percent: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class DiskMetrics:
    """The usage of one file system."""

    path: str
    used_percent: float


@dataclass(frozen=True, slots=True)
class HostMetrics:
    """One measurement of the host. `load` is the average of the last minute, or None if the system has none."""

    memory_percent: float
    swap_percent: float
    cpu_percent: float
    load: float | None
    cores: int
    disks: tuple[DiskMetrics, ...] = ()
    processes: tuple[ProcessMetrics, ...] = ()


def is_about_this_host(incident: Incident, names: Collection[str] = ()) -> bool:
    """Return whether the metadata has `this_host: true`, or a `host` that is a loopback name or one of `names`."""
    if incident.metadata.get("this_host") is True:
        return True
    host = incident.metadata.get("host")
    return isinstance(host, str) and host.strip().lower() in LOOPBACK_NAMES | {name.lower() for name in names}
