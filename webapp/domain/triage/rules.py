"""The local rules: advice on an incident from its own words and numbers, without any model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from webapp.domain.incidents.incidents import PRIORITIES, Incident, Recommendation
from webapp.domain.triage.host_metrics import HostMetrics, ProcessMetrics
from webapp.domain.triage.keyword_score import Evidence, score_keywords
from webapp.domain.triage.metrics import Metric, extract_metrics
from webapp.domain.triage.runbook import ACTIONS, LABELS

TOP_PROCESSES = 5
BUSY_PERCENT = 70  # Percent from which this host's own numbers are worth telling although the incident's words tell of nothing.


@dataclass(frozen=True, slots=True)
class PriorityScale:
    """When a number is how bad. `limits` are (limit, priority), worst first; below all of them it is `otherwise`."""

    unit: str
    limits: tuple[tuple[float, str], ...]
    default: str = "low"
    lower_is_worse: bool = False  # Less is worse: days until a certificate expires.

    def classify(self, value: float) -> tuple[str, str]:
        """The priority, and the threshold that decided in words."""
        for limit, priority in self.limits:
            if value <= limit if self.lower_is_worse else value > limit:
                return priority, f"{'at most' if self.lower_is_worse else 'more than'} {limit:g}{self.unit} is {priority}"
        return self.default, f"anything {'more' if self.lower_is_worse else 'less'} is {self.default}"


SCALES: Mapping[str, PriorityScale] = {
    "memory": PriorityScale(" %", ((90, "critical"), (80, "high"), (70, "medium"))),
    "disk": PriorityScale(" %", ((95, "critical"), (90, "high"), (80, "medium"))),
    "cpu": PriorityScale(" %", ((90, "critical"), (80, "high")), default="medium"),
    "connections": PriorityScale(" %", ((95, "critical"), (85, "high"), (70, "medium"))),
    "replication_lag": PriorityScale(" s", ((600, "critical"), (60, "high"), (10, "medium"))),
    "restarts": PriorityScale(" restarts", ((20, "critical"), (5, "high"), (2, "medium"))),
    "packet_loss": PriorityScale(" %", ((10, "critical"), (2, "high"), (0.5, "medium"))),
    "certificate": PriorityScale(" days", ((3, "critical"), (14, "high"), (30, "medium")), lower_is_worse=True),
}
KIND_GAUGES: Mapping[str, tuple[str, ...]] = {
    "memory": ("memory",),
    "disk": ("disk",),
    "cpu": ("cpu",),
    "process": ("restarts",),
    "network": ("packet_loss", "certificate"),
    "database": ("connections", "replication_lag"),
}
_METRIC_TEXTS = {
    "memory": "memory is {value:g} % used",
    "disk": "disk is {value:g} % used",
    "cpu": "CPU is at {value:g} %",
    "connections": "{value:g} % of the database connections are taken",
    "replication_lag": "replication is {value:g} s behind",
    "restarts": "process restarted {value:g} times",
    "packet_loss": "{value:g} % of the packets are lost",
    "certificate": "certificate expires in {value:g} days",
}
# Words that call for other steps than their kind's.
_SPECIFIC_STEPS = (
    ("disk", "inodes", ("inode", "inodes")),
    ("disk", "quota", ("quota", "disk quota")),
    ("network", "certificate", ("certificate", "certificates", "tls", "ssl", "x509", "handshake")),
    ("network", "dns", ("dns", "resolver", "nxdomain")),
)


class Verdict(NamedTuple):
    """A number, how bad it is, and the threshold that decided."""

    measure: Metric
    priority: str
    threshold: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one kind of trouble."""

    evidence: Evidence
    metrics: tuple[Metric, ...]
    incident: Incident
    host: HostMetrics | None

    @property
    def kind(self) -> str:
        return self.evidence.kind

    def worst(self) -> Verdict | None:
        """The number that is worst for its scale, its priority and the threshold that decided."""
        judged = [Verdict(reading, *SCALES[reading.gauge or self.kind].classify(reading.value)) for reading in self.metrics]
        return max(judged, key=lambda verdict: (PRIORITIES.index(verdict.priority), verdict.measure.value), default=None)


def analyze_incident(incident: Incident, host: HostMetrics | None = None) -> tuple[Recommendation, ...]:
    """What to do, the best founded kind of trouble first; triage if nothing is recognised. `host` only for incidents about this host."""
    found = _findings(incident, host)
    return tuple(_recommendation(finding) for finding in found) or (_triage_recommendation(incident),)


def _findings(incident: Incident, host: HostMetrics | None) -> list[Finding]:
    numbers = extract_metrics(incident)
    weighed = score_keywords(incident)
    named = {evidence.kind for evidence in weighed}
    everything = numbers + (_host_metrics(host, named) if host else [])
    # A number that is bad by itself is evidence too, whatever the words are.
    weighed += [Evidence(kind) for kind in KIND_GAUGES if kind not in named and _is_alarming(kind, everything)]
    leading = next((evidence.kind for evidence in weighed if evidence.kind in ("memory", "disk", "cpu")), None)
    found = [Finding(evidence, _metrics_of(evidence.kind, everything, leading), incident, host) for evidence in weighed]
    return [finding for finding in found if finding.metrics or not _is_incidental(finding.evidence, weighed[0])]


def _is_incidental(evidence: Evidence, leading: Evidence) -> bool:
    """A word in a description ("disk and network are idle") does not make an incident that is clearly about another kind about it."""
    return evidence.score <= 2 and evidence.score * 2 < leading.score


def _metrics_of(kind: str, numbers: Iterable[Metric], leading: str | None) -> tuple[Metric, ...]:
    """The numbers about a kind; a level of something unnamed belongs to the leading kind."""
    return tuple(one for one in numbers if one.gauge in KIND_GAUGES[kind] or (one.gauge is None and kind == leading))


def _is_alarming(kind: str, numbers: Iterable[Metric]) -> bool:
    return any(one.gauge in KIND_GAUGES[kind] and SCALES[one.gauge].classify(one.value)[0] in ("high", "critical") for one in numbers)


def _host_metrics(host: HostMetrics, named: set[str]) -> list[Metric]:
    """What this host says of itself: on the kinds that the incident names, or on what is busy if it names none of them."""
    levels = [Metric("memory", host.memory_percent, "this host", "memory in use")]
    levels += [Metric("disk", disk.used_percent, "this host", disk.path) for disk in host.disks]
    cpu = 100 * host.load / host.cores if host.load is not None and host.cores else host.cpu_percent
    levels.append(Metric("cpu", round(cpu, 1), "this host", f"load {host.load} on {host.cores} cores"))
    wanted = named & {"memory", "disk", "cpu"}
    return [level for level in levels if (level.gauge in wanted if wanted else level.value > BUSY_PERCENT)]


def _recommendation(finding: Finding) -> Recommendation:
    kind, worst = finding.kind, finding.worst()
    priority, reason = _priority(finding.incident.severity, worst)
    details: dict[str, object] = {"words": dict(finding.evidence.words), "reason": reason}
    if finding.metrics:
        details["numbers"] = [_metric_document(reading) for reading in finding.metrics[:20]]
    if worst:
        details["threshold"] = worst.threshold
    if finding.host and kind in ("memory", "cpu"):
        details["processes"] = [asdict(process) for process in _top_processes(kind, finding.host.processes)]
    return Recommendation(
        type=kind if kind != "database" else "general",
        priority=priority,
        title=_title(kind, priority, worst),
        description=_description(finding, reason),
        details=details,
        actions=_actions(finding.evidence),
    )


def _priority(severity: str, worst: Verdict | None) -> tuple[str, str]:
    """The numbers decide; a critical incident is at least high, and critical where no number contradicts it."""
    if worst is None:
        by_severity = {"critical": "critical", "warning": "medium"}.get(severity, "low")
        return by_severity, f"no number was found, so the severity ({severity}) decides"
    measure, priority, threshold = worst
    reason = f"{measure.field} says “{measure.text}”, and {threshold}"
    if severity != "critical" or priority == "critical":
        return priority, reason
    if priority == "high":
        return "critical", f"{reason}; the incident is critical, and the number agrees"
    return "high", f"{reason}; the incident is critical, though the number alone would be {priority}"


def _title(kind: str, priority: str, worst: Verdict | None) -> str:
    if worst is None:
        return f"{LABELS[kind]} trouble is reported, without a number"
    reading = _format_metric(worst.measure, kind)
    verdict = {"low": "no cause for alarm", "medium": "watch it", "high": "act today", "critical": "act now"}[priority]
    return f"{reading[0].upper()}{reading[1:]}: {verdict}"


def _format_metric(measure: Metric, kind: str) -> str:
    if measure.gauge == "certificate" and measure.value <= 0:
        return "certificate has expired"
    return _METRIC_TEXTS[measure.gauge or kind].format(value=round(measure.value, 1))


def _description(finding: Finding, reason: str) -> str:
    words = [word for found in finding.evidence.words.values() for word in found]
    said = ", ".join(f"“{word}”" for word in dict.fromkeys(words))
    parts = [f"The incident speaks of {said}." if said else "The numbers of the incident tell of it, not its words."]
    if readings := dict.fromkeys(_format_metric(reading, finding.kind) for reading in finding.metrics[:5]):
        parts.append(f"What was read: {'; '.join(readings)}.")
    return " ".join([*parts, f"Priority: {reason}."])


def _actions(evidence: Evidence) -> tuple[str, ...]:
    words = {word for found in evidence.words.values() for word in found}
    special = [ACTIONS[steps] for kind, steps, signs in _SPECIFIC_STEPS if kind == evidence.kind and words & set(signs)]
    return tuple(step for steps in special or [ACTIONS[evidence.kind]] for step in steps)


def _metric_document(measure: Metric) -> dict[str, object]:
    unit = SCALES[measure.gauge].unit.strip() if measure.gauge else "%"
    return {"field": measure.field, "text": measure.text, "value": round(measure.value, 1), "unit": unit}


def _top_processes(kind: str, processes: Sequence[ProcessMetrics]) -> list[ProcessMetrics]:
    def share(process: ProcessMetrics) -> float:
        return process.memory_percent if kind == "memory" else process.cpu_percent

    return sorted(processes, key=share, reverse=True)[:TOP_PROCESSES]


def _triage_recommendation(incident: Incident) -> Recommendation:
    priority = {"critical": "high", "warning": "medium"}.get(incident.severity, "low")
    return Recommendation(
        type="general",
        priority=priority,
        title="No known kind of trouble is recognised: triage it",
        description="The local rules find no words or numbers of memory, disk, CPU, process, network or database trouble in this incident.",
        details={"reason": f"nothing was recognised, so the severity ({incident.severity}) decides"},
        actions=ACTIONS["general"],
    )
