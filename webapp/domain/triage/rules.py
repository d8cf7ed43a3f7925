"""The built-in rules: recommendations for an incident from its words and numbers, without a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from webapp.domain.incidents.incidents import PRIORITIES, Incident, Recommendation
from webapp.domain.triage.host_metrics import HostMetrics, ProcessMetrics
from webapp.domain.triage.keyword_score import Evidence, score_keywords
from webapp.domain.triage.metrics import Metric, extract_metrics
from webapp.domain.triage.runbook import ACTIONS, LABELS

TOP_PROCESSES = 5
BUSY_PERCENT = 70  # Host metrics above this percentage are reported even if the incident does not mention them.


@dataclass(frozen=True, slots=True)
class PriorityScale:
    """The priorities of a gauge's values. `limits` are (limit, priority), worst first; `default` applies below all of them."""

    unit: str
    limits: tuple[tuple[float, str], ...]
    default: str = "low"
    lower_is_worse: bool = False  # For example, days until a certificate expires.

    def classify(self, value: float) -> tuple[str, str]:
        """Return the priority and a description of the threshold that decided it."""
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
# Words that need other steps than the default steps of their kind.
_SPECIFIC_STEPS = (
    ("disk", "inodes", ("inode", "inodes")),
    ("disk", "quota", ("quota", "disk quota")),
    ("network", "certificate", ("certificate", "certificates", "tls", "ssl", "x509", "handshake")),
    ("network", "dns", ("dns", "resolver", "nxdomain")),
)


class Verdict(NamedTuple):
    """A metric, its priority, and the threshold that decided it."""

    measure: Metric
    priority: str
    threshold: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The evidence and metrics for one kind of problem."""

    evidence: Evidence
    metrics: tuple[Metric, ...]
    incident: Incident
    host: HostMetrics | None

    @property
    def kind(self) -> str:
        return self.evidence.kind

    def worst(self) -> Verdict | None:
        """Return the metric with the highest priority, or None."""
        verdicts = [Verdict(metric, *SCALES[metric.gauge or self.kind].classify(metric.value)) for metric in self.metrics]
        return max(verdicts, key=lambda verdict: (PRIORITIES.index(verdict.priority), verdict.measure.value), default=None)


def analyze_incident(incident: Incident, host: HostMetrics | None = None) -> tuple[Recommendation, ...]:
    """Return recommendations, best evidence first, or a triage recommendation if nothing is recognized.

    Pass `host` only for incidents about this host.
    """
    findings = _findings(incident, host)
    return tuple(_recommendation(finding) for finding in findings) or (_triage_recommendation(incident),)


def _findings(incident: Incident, host: HostMetrics | None) -> list[Finding]:
    incident_metrics = extract_metrics(incident)
    scored = score_keywords(incident)
    kinds = {evidence.kind for evidence in scored}
    metrics = incident_metrics + (_host_metrics(host, kinds) if host else [])
    # An alarming number is evidence too, regardless of the words.
    scored += [Evidence(kind) for kind in KIND_GAUGES if kind not in kinds and _is_alarming(kind, metrics)]
    leading = next((evidence.kind for evidence in scored if evidence.kind in ("memory", "disk", "cpu")), None)
    findings = [Finding(evidence, _metrics_of(evidence.kind, metrics, leading), incident, host) for evidence in scored]
    return [finding for finding in findings if finding.metrics or not _is_incidental(finding.evidence, scored[0])]


def _is_incidental(evidence: Evidence, leading: Evidence) -> bool:
    """Return whether a kind is only mentioned in passing.

    Words in a description ("disk and network are idle") do not count if the incident is clearly about another kind.
    """
    return evidence.score <= 2 and evidence.score * 2 < leading.score


def _metrics_of(kind: str, metrics: Iterable[Metric], leading: str | None) -> tuple[Metric, ...]:
    """Return the metrics of a kind. A metric without a gauge belongs to the leading kind."""
    return tuple(metric for metric in metrics if metric.gauge in KIND_GAUGES[kind] or (metric.gauge is None and kind == leading))


def _is_alarming(kind: str, metrics: Iterable[Metric]) -> bool:
    return any(
        metric.gauge in KIND_GAUGES[kind] and SCALES[metric.gauge].classify(metric.value)[0] in ("high", "critical") for metric in metrics
    )


def _host_metrics(host: HostMetrics, kinds: set[str]) -> list[Metric]:
    """Return the host's metrics of the kinds that the incident names. If it names none, return the ones above BUSY_PERCENT."""
    metrics = [Metric("memory", host.memory_percent, "this host", "memory in use")]
    metrics += [Metric("disk", disk.used_percent, "this host", disk.path) for disk in host.disks]
    cpu = 100 * host.load / host.cores if host.load is not None and host.cores else host.cpu_percent
    metrics.append(Metric("cpu", round(cpu, 1), "this host", f"load {host.load} on {host.cores} cores"))
    requested = kinds & {"memory", "disk", "cpu"}
    return [metric for metric in metrics if (metric.gauge in requested if requested else metric.value > BUSY_PERCENT)]


def _recommendation(finding: Finding) -> Recommendation:
    kind, worst = finding.kind, finding.worst()
    priority, reason = _priority(finding.incident.severity, worst)
    details: dict[str, object] = {"words": dict(finding.evidence.words), "reason": reason}
    if finding.metrics:
        details["numbers"] = [_metric_document(metric) for metric in finding.metrics[:20]]
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
    """Return the priority and its reason. The worst number decides.

    A critical incident is at least high. It is critical if the number is high or missing.
    """
    if worst is None:
        by_severity = {"critical": "critical", "warning": "medium"}.get(severity, "low")
        return by_severity, f"no number was found, so the severity ({severity}) decides"
    metric, priority, threshold = worst
    reason = f"{metric.field} says “{metric.text}”, and {threshold}"
    if severity != "critical" or priority == "critical":
        return priority, reason
    if priority == "high":
        return "critical", f"{reason}; the incident is critical, and the number agrees"
    return "high", f"{reason}; the incident is critical, though the number alone would be {priority}"


def _title(kind: str, priority: str, worst: Verdict | None) -> str:
    if worst is None:
        return f"{LABELS[kind]} trouble is reported, without a number"
    text = _format_metric(worst.measure, kind)
    verdict = {"low": "no cause for alarm", "medium": "watch it", "high": "act today", "critical": "act now"}[priority]
    return f"{text[0].upper()}{text[1:]}: {verdict}"


def _format_metric(metric: Metric, kind: str) -> str:
    if metric.gauge == "certificate" and metric.value <= 0:
        return "certificate has expired"
    return _METRIC_TEXTS[metric.gauge or kind].format(value=round(metric.value, 1))


def _description(finding: Finding, reason: str) -> str:
    words = [word for matches in finding.evidence.words.values() for word in matches]
    quoted = ", ".join(f"“{word}”" for word in dict.fromkeys(words))
    parts = [f"The incident speaks of {quoted}." if quoted else "The numbers of the incident tell of it, not its words."]
    if metric_texts := dict.fromkeys(_format_metric(metric, finding.kind) for metric in finding.metrics[:5]):
        parts.append(f"What was read: {'; '.join(metric_texts)}.")
    return " ".join([*parts, f"Priority: {reason}."])


def _actions(evidence: Evidence) -> tuple[str, ...]:
    words = {word for matches in evidence.words.values() for word in matches}
    specific = [ACTIONS[steps] for kind, steps, keywords in _SPECIFIC_STEPS if kind == evidence.kind and words & set(keywords)]
    return tuple(step for steps in specific or [ACTIONS[evidence.kind]] for step in steps)


def _metric_document(metric: Metric) -> dict[str, object]:
    unit = SCALES[metric.gauge].unit.strip() if metric.gauge else "%"
    return {"field": metric.field, "text": metric.text, "value": round(metric.value, 1), "unit": unit}


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
