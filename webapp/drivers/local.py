"""The built-in rules as a driver: no network, no key. It inspects this server only for incidents about it."""

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
    """Recommendations without a model. Runs use `advise`. There is no model for chat."""

    def __init__(self, collect_metrics: Callable[[], HostMetrics] | None = None):
        self._collect_metrics = collect_metrics or collect_host_metrics

    def advise(self, incident: Incident) -> tuple[Recommendation, ...]:
        """Return the recommendations of the rules, with this server's metrics if the incident is about it."""
        is_local = is_about_this_host(incident, (socket.gethostname(), socket.gethostname().split(".")[0]))
        return analyze_incident(incident, self._collect_metrics() if is_local else None)

    def chat(self, request: ChatRequest) -> ChatReply:
        raise DriverError("config", "The local rules read incidents and know no prompts: choose a model for this.")

    def list_models(self) -> tuple[UpstreamModel, ...]:
        return ()

    def check(self, model: str | None = None) -> CheckResult:
        return CheckResult(True, "The local rules are always there.", models=0)

    def close(self) -> None:
        """Do nothing, because there is nothing to close."""


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return LocalDriver()


def collect_host_metrics() -> HostMetrics:
    """Measure this server for a tenth of a second."""
    watched = list(psutil.process_iter())
    psutil.cpu_percent()
    for process in watched:
        _cpu_percent(process)
    time.sleep(SAMPLE_S)
    busiest = sorted(_processes(watched), key=lambda metrics: max(metrics.memory_percent, metrics.cpu_percent), reverse=True)
    return HostMetrics(
        memory_percent=psutil.virtual_memory().percent,
        swap_percent=psutil.swap_memory().percent,
        cpu_percent=psutil.cpu_percent(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        cores=psutil.cpu_count() or 1,
        disks=tuple(_disks()),
        processes=tuple(busiest[:MAX_PROCESSES]),
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
            # Only the name, because command lines often contain passwords.
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
