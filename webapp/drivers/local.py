"""The local rules as a driver: no network, no key; looks at this machine only for incidents that are about it."""

import os
import socket
import time
from collections.abc import Callable, Iterator

import psutil

from webapp.domain.incidents.incidents import Incident, Recommendation
from webapp.domain.triage.host_metrics import DiskMetrics, HostMetrics, ProcessMetrics, is_about_this_host
from webapp.domain.triage.rules import analyze_incident
from webapp.drivers.core.base import ChatReply, ChatRequest, CheckResult, Driver, DriverError, Endpoint, UpstreamModel
from webapp.security.urlguard import OutboundPolicy

SAMPLE_S = 0.1
MAX_DISKS = 20
MAX_PROCESSES = 10


class LocalDriver:
    """Advice without a model. `advise` is what runs use; there is no model to chat with."""

    def __init__(self, look: Callable[[], HostMetrics] | None = None):
        self._look = look or collect_host_metrics

    def advise(self, incident: Incident) -> tuple[Recommendation, ...]:
        """What the rules say, with this machine's own numbers if the incident is about it."""
        here = is_about_this_host(incident, (socket.gethostname(), socket.gethostname().split(".")[0]))
        return analyze_incident(incident, self._look() if here else None)

    def chat(self, request: ChatRequest) -> ChatReply:
        raise DriverError("config", "The local rules read incidents and know no prompts: choose a model for this.")

    def list_models(self) -> tuple[UpstreamModel, ...]:
        return ()

    def check(self, model: str | None = None) -> CheckResult:
        return CheckResult(True, "The local rules are always there.", models=0)

    def close(self) -> None:
        """Nothing is held."""


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `create_driver` calls."""
    return LocalDriver()


def collect_host_metrics() -> HostMetrics:
    """One look at this machine, a tenth of a second long."""
    watched = list(psutil.process_iter())
    psutil.cpu_percent()
    for process in watched:
        _cpu_percent(process)
    time.sleep(SAMPLE_S)
    facts = sorted(_processes(watched), key=lambda fact: max(fact.memory_percent, fact.cpu_percent), reverse=True)
    return HostMetrics(
        memory_percent=psutil.virtual_memory().percent,
        swap_percent=psutil.swap_memory().percent,
        cpu_percent=psutil.cpu_percent(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        cores=psutil.cpu_count() or 1,
        disks=tuple(_disks()),
        processes=tuple(facts[:MAX_PROCESSES]),
    )


def _cpu_percent(process: psutil.Process) -> float:
    try:
        return process.cpu_percent()
    except psutil.Error:
        return 0.0


def _processes(watched: list[psutil.Process]) -> Iterator[ProcessMetrics]:
    for process in watched:
        try:
            memory = process.memory_info().rss
            share = process.memory_percent()
            # The name only: command lines hold passwords more often than one would think.
            yield ProcessMetrics(
                process.pid, process.name()[:100], round(_cpu_percent(process), 1), round(share, 1), round(memory / 2**20, 1)
            )
        except psutil.Error:
            continue


def _disks() -> Iterator[DiskMetrics]:
    paths = dict.fromkeys(["/", *(partition.mountpoint for partition in psutil.disk_partitions())])
    for path in list(paths)[:MAX_DISKS]:
        try:
            usage = psutil.disk_usage(path)
        except OSError:
            continue
        if usage.total:
            yield DiskMetrics(path, usage.percent)
