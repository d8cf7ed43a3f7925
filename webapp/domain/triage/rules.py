"""The local rules: advice on an incident from its own words and numbers, without any model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from webapp.domain.incidents.incidents import PRIORITIES, Incident, Recommendation
from webapp.domain.triage.host_metrics import HostFacts, ProcessFact
from webapp.domain.triage.keyword_score import Evidence, weigh
from webapp.domain.triage.metrics import Measure, measures
from webapp.domain.triage.runbook import ACTIONS, LABELS

TOP_PROCESSES = 5
BUSY = 70  # Percent from which this host's own numbers are worth telling although the incident's words tell of nothing.


@dataclass(frozen=True, slots=True)
class Scale:
    """When a number is how bad. `limits` are (limit, priority), worst first; below all of them it is `otherwise`."""

    unit: str
    limits: tuple[tuple[float, str], ...]
    otherwise: str = "low"
    falling: bool = False  # Less is worse: days until a certificate expires.

    def judge(self, value: float) -> tuple[str, str]:
        """The priority, and the threshold that decided in words."""
        for limit, priority in self.limits:
            if value <= limit if self.falling else value > limit:
                return priority, f"{'at most' if self.falling else 'more than'} {limit:g}{self.unit} is {priority}"
        return self.otherwise, f"anything {'more' if self.falling else 'less'} is {self.otherwise}"


SCALES: Mapping[str, Scale] = {
    "memory": Scale(" %", ((90, "critical"), (80, "high"), (70, "medium"))),
    "disk": Scale(" %", ((95, "critical"), (90, "high"), (80, "medium"))),
    "cpu": Scale(" %", ((90, "critical"), (80, "high")), otherwise="medium"),
    "connections": Scale(" %", ((95, "critical"), (85, "high"), (70, "medium"))),
    "replication_lag": Scale(" s", ((600, "critical"), (60, "high"), (10, "medium"))),
    "restarts": Scale(" restarts", ((20, "critical"), (5, "high"), (2, "medium"))),
    "packet_loss": Scale(" %", ((10, "critical"), (2, "high"), (0.5, "medium"))),
    "certificate": Scale(" days", ((3, "critical"), (14, "high"), (30, "medium")), falling=True),
}
GAUGES: Mapping[str, tuple[str, ...]] = {
    "memory": ("memory",),
    "disk": ("disk",),
    "cpu": ("cpu",),
    "process": ("restarts",),
    "network": ("packet_loss", "certificate"),
    "database": ("connections", "replication_lag"),
}
_READINGS = {
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
_SPECIAL = (
    ("disk", "inodes", ("inode", "inodes")),
    ("disk", "quota", ("quota", "disk quota")),
    ("network", "certificate", ("certificate", "certificates", "tls", "ssl", "x509", "handshake")),
    ("network", "dns", ("dns", "resolver", "nxdomain")),
)


class Verdict(NamedTuple):
    """A number, how bad it is, and the threshold that decided."""

    measure: Measure
    priority: str
    threshold: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one kind of trouble."""

    evidence: Evidence
    readings: tuple[Measure, ...]
    incident: Incident
    host: HostFacts | None

    @property
    def kind(self) -> str:
        return self.evidence.kind

    def worst(self) -> Verdict | None:
        """The number that is worst for its scale, its priority and the threshold that decided."""
        judged = [Verdict(reading, *SCALES[reading.gauge or self.kind].judge(reading.value)) for reading in self.readings]
        return max(judged, key=lambda verdict: (PRIORITIES.index(verdict.priority), verdict.measure.value), default=None)


def local_advice(incident: Incident, host: HostFacts | None = None) -> tuple[Recommendation, ...]:
    """What to do, the best founded kind of trouble first; triage if nothing is recognised. `host` only for incidents about this host."""
    found = _findings(incident, host)
    return tuple(_recommendation(finding) for finding in found) or (_triage(incident),)


def _findings(incident: Incident, host: HostFacts | None) -> list[Finding]:
    numbers = measures(incident)
    weighed = weigh(incident)
    named = {evidence.kind for evidence in weighed}
    everything = numbers + (_host_measures(host, named) if host else [])
    # A number that is bad by itself is evidence too, whatever the words are.
    weighed += [Evidence(kind) for kind in GAUGES if kind not in named and _is_alarming(kind, everything)]
    leading = next((evidence.kind for evidence in weighed if evidence.kind in ("memory", "disk", "cpu")), None)
    found = [Finding(evidence, _of(evidence.kind, everything, leading), incident, host) for evidence in weighed]
    return [finding for finding in found if finding.readings or not _in_passing(finding.evidence, weighed[0])]


def _in_passing(evidence: Evidence, leading: Evidence) -> bool:
    """A word in a description ("disk and network are idle") does not make an incident that is clearly about another kind about it."""
    return evidence.score <= 2 and evidence.score * 2 < leading.score


def _of(kind: str, numbers: Iterable[Measure], leading: str | None) -> tuple[Measure, ...]:
    """The numbers about a kind; a level of something unnamed belongs to the leading kind."""
    return tuple(one for one in numbers if one.gauge in GAUGES[kind] or (one.gauge is None and kind == leading))


def _is_alarming(kind: str, numbers: Iterable[Measure]) -> bool:
    return any(one.gauge in GAUGES[kind] and SCALES[one.gauge].judge(one.value)[0] in ("high", "critical") for one in numbers)


def _host_measures(host: HostFacts, named: set[str]) -> list[Measure]:
    """What this host says of itself: on the kinds that the incident names, or on what is busy if it names none of them."""
    levels = [Measure("memory", host.memory_percent, "this host", "memory in use")]
    levels += [Measure("disk", disk.used_percent, "this host", disk.path) for disk in host.disks]
    cpu = 100 * host.load / host.cores if host.load is not None and host.cores else host.cpu_percent
    levels.append(Measure("cpu", round(cpu, 1), "this host", f"load {host.load} on {host.cores} cores"))
    wanted = named & {"memory", "disk", "cpu"}
    return [level for level in levels if (level.gauge in wanted if wanted else level.value > BUSY)]


def _recommendation(finding: Finding) -> Recommendation:
    kind, worst = finding.kind, finding.worst()
    priority, reason = _priority(finding.incident.severity, worst)
    details: dict[str, object] = {"words": dict(finding.evidence.words), "reason": reason}
    if finding.readings:
        details["numbers"] = [_number(reading) for reading in finding.readings[:20]]
    if worst:
        details["threshold"] = worst.threshold
    if finding.host and kind in ("memory", "cpu"):
        details["processes"] = [asdict(process) for process in _largest(kind, finding.host.processes)]
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
    reading = _reading(worst.measure, kind)
    verdict = {"low": "no cause for alarm", "medium": "watch it", "high": "act today", "critical": "act now"}[priority]
    return f"{reading[0].upper()}{reading[1:]}: {verdict}"


def _reading(measure: Measure, kind: str) -> str:
    if measure.gauge == "certificate" and measure.value <= 0:
        return "certificate has expired"
    return _READINGS[measure.gauge or kind].format(value=round(measure.value, 1))


def _description(finding: Finding, reason: str) -> str:
    words = [word for found in finding.evidence.words.values() for word in found]
    said = ", ".join(f"“{word}”" for word in dict.fromkeys(words))
    parts = [f"The incident speaks of {said}." if said else "The numbers of the incident tell of it, not its words."]
    if readings := dict.fromkeys(_reading(reading, finding.kind) for reading in finding.readings[:5]):
        parts.append(f"What was read: {'; '.join(readings)}.")
    return " ".join([*parts, f"Priority: {reason}."])


def _actions(evidence: Evidence) -> tuple[str, ...]:
    words = {word for found in evidence.words.values() for word in found}
    special = [ACTIONS[steps] for kind, steps, signs in _SPECIAL if kind == evidence.kind and words & set(signs)]
    return tuple(step for steps in special or [ACTIONS[evidence.kind]] for step in steps)


def _number(measure: Measure) -> dict[str, object]:
    unit = SCALES[measure.gauge].unit.strip() if measure.gauge else "%"
    return {"field": measure.field, "text": measure.text, "value": round(measure.value, 1), "unit": unit}


def _largest(kind: str, processes: Sequence[ProcessFact]) -> list[ProcessFact]:
    def share(process: ProcessFact) -> float:
        return process.memory_percent if kind == "memory" else process.cpu_percent

    return sorted(processes, key=share, reverse=True)[:TOP_PROCESSES]


def _triage(incident: Incident) -> Recommendation:
    priority = {"critical": "high", "warning": "medium"}.get(incident.severity, "low")
    return Recommendation(
        type="general",
        priority=priority,
        title="No known kind of trouble is recognised: triage it",
        description="The local rules find no words or numbers of memory, disk, CPU, process, network or database trouble in this incident.",
        details={"reason": f"nothing was recognised, so the severity ({incident.severity}) decides"},
        actions=ACTIONS["general"],
    )
