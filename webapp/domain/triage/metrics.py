"""Metrics in an incident's texts and metadata: percentages, “x of y”, bytes, load against cores, days, seconds."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from webapp.domain.incidents.incidents import Incident
from webapp.domain.triage.keyword_score import incident_texts, match_positions, split_identifiers

MAX_CLAUSE = 400  # Longer clauses are not sentences. The rest is ignored.
_NUMBER = r"(\d{1,12}(?:\.\d{1,6})?)"
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_BYTES = r"(bytes?|[kmgt]i?b?)"
_FREE = re.compile(r"\b(?:left|free|remaining|remains?|available|idle)\b", re.IGNORECASE)
_FULL = re.compile(r"\b(?:used|full|usage|utili[sz]ation|use|usages|busy|consumed|at)\b", re.IGNORECASE)
_PERCENT = re.compile(rf"(?<![\w.]){_NUMBER}\s?(?:%|percent\b|per cent\b)", re.IGNORECASE)
_OF = re.compile(rf"(?<![\w.]){_NUMBER}\s?{_BYTES}?\s?(?:of|/|out of)\s?{_NUMBER}\s?({_BYTES}\b|inodes|connections)", re.IGNORECASE)
_LOAD = re.compile(rf"\bload(?: averages?| avg)?(?:\s(?:is|at|of|above|over)|:)*\s{_NUMBER}", re.IGNORECASE)
_CORES = re.compile(rf"{_NUMBER}\s(?:v?cpus?|cpu cores|cores|processors)\b", re.IGNORECASE)
_EXPIRES = re.compile(rf"\bexpir\w*\s(?:in|within)\s{_NUMBER}\s?days?\b|{_NUMBER}\sdays?\s(?:left|remaining|until|before)", re.IGNORECASE)
_EXPIRED = re.compile(r"\b(?:certificate|cert)\b[^.]{0,60}\b(?:has |have |is )?expired\b", re.IGNORECASE)
_LAG = re.compile(rf"\blag\w*\D{{0,20}}{_NUMBER}\s?(s|secs?|seconds?|min|minutes?|h|hours?)\b", re.IGNORECASE)
_RESTARTS = re.compile(rf"\brestart(?:s|ed)?\D{{0,12}}{_NUMBER}\b|{_NUMBER}\srestarts\b", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NOT_A_LEVEL = re.compile(r"(?:\bby|\bthreshold\D{0,6}|\bgrew|\bgrowth of|\brate(?: of| is|:)?)\s*$", re.IGNORECASE)
_CLAUSES = re.compile(r"[.;,](?=\s|$)|\n|\(|\)")

# Gauge -> the words in a metadata name that identify it.
_GAUGES: Sequence[tuple[str, frozenset[str]]] = (
    ("packet_loss", frozenset({"loss"})),
    ("replication_lag", frozenset({"lag"})),
    ("connections", frozenset({"connections", "conns"})),
    ("restarts", frozenset({"restarts", "restart"})),
    ("certificate", frozenset({"expiry", "expires", "expire", "expiration", "certificate", "cert"})),
    ("disk", frozenset({"disk", "filesystem", "fs", "storage", "inode", "inodes", "volume"})),
    ("memory", frozenset({"memory", "mem", "ram", "swap", "heap"})),
    ("cpu", frozenset({"cpu", "load", "load1", "load5", "load15"})),
)
_PERCENT_NAMES = frozenset({"percent", "pct", "percentage", "utilization", "utilisation"})
_FREE_NAMES = frozenset({"free", "available", "avail", "left", "remaining", "idle"})
_USED_NAMES = frozenset({"used", "current", "usage", "active", "use"})
_TOTAL_NAMES = frozenset({"total", "limit", "max", "size", "capacity"})
_LOAD_NAMES = frozenset({"load", "load1", "load5", "load15"})
_CORE_NAMES = frozenset({"cores", "cpus", "vcpus"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured value.

    `value` is percent used, except for certificate (days left), replication_lag (seconds) and restarts (count).
    """

    gauge: str | None  # None: a level of the incident's main kind.
    value: float
    field: str
    text: str


def extract_metrics(incident: Incident) -> list[Metric]:
    """Return all metrics in the texts, the metadata and the alert labels, in that order."""
    metrics = [metric for path, text in incident_texts(incident) for metric in _metrics_from_text(path, text)]
    metrics += _metrics_from_metadata(incident.metadata)
    for index, alert in enumerate(incident.alerts):
        metrics += _metrics_from_mapping(alert.labels, f"alerts[{index}].labels", ())
    return metrics


def _metrics_from_text(path: str, text: str) -> Iterator[Metric]:
    for part in _CLAUSES.split(text):
        clause = part[:MAX_CLAUSE]
        if any(character.isdigit() for character in clause):
            yield from _level_metrics(path, clause)
            yield from _count_metrics(path, clause)
    for match in _EXPIRED.finditer(text):
        yield Metric("certificate", 0, path, match.group().strip())
    # The load and the number of cores can be in neighboring clauses.
    if (load := _LOAD.search(text)) and (cores := _CORES.search(text)) and float(cores[1]):
        yield Metric("cpu", 100 * float(load[1]) / float(cores[1]), path, f"load {load[1]} on {cores[1]} cores")


def _level_metrics(path: str, clause: str) -> Iterator[Metric]:
    free = bool(_FREE.search(clause)) and not re.search(r"\b(?:used|full|usage|utili[sz]ation)\b", clause, re.IGNORECASE)
    keywords = [(position, kind) for kind in ("disk", "memory", "cpu") for position in match_positions(kind, split_identifiers(clause))]
    lossy = re.search(r"\bloss\b", clause, re.IGNORECASE)
    for match in _PERCENT.finditer(clause):
        gauge = "packet_loss" if lossy else _nearest_gauge(keywords, match.start())
        if _NOT_A_LEVEL.search(clause[: match.start()]) or not (gauge or free or _FULL.search(clause)):
            continue
        value = float(match[1])
        yield Metric(gauge, 100 - value if free and gauge != "packet_loss" else value, path, clause.strip()[:120])
    for match in _OF.finditer(clause):
        used, total = float(match[1]) * _byte_factor(match[2] or match[5]), float(match[3]) * _byte_factor(match[5])
        if total > 0 and used <= 100 * total:
            gauge = "connections" if match[4].lower() == "connections" else _nearest_gauge(keywords, match.start())
            percent = 100 * used / total
            yield Metric(gauge, 100 - percent if free else percent, path, match.group().strip())


def _count_metrics(path: str, clause: str) -> Iterator[Metric]:
    for match in _EXPIRES.finditer(clause):
        yield Metric("certificate", float(match[1] or match[2]), path, match.group().strip())
    for match in _LAG.finditer(clause):
        yield Metric("replication_lag", float(match[1]) * _SECONDS[match[2][0].lower()], path, match.group().strip())
    for match in _RESTARTS.finditer(clause):
        yield Metric("restarts", float(match[1] or match[2]), path, match.group().strip())


def _nearest_gauge(keywords: Sequence[tuple[int, str]], position: int) -> str | None:
    """Return the gauge whose word is nearest to a number in the same clause."""
    return min(keywords, key=lambda keyword: abs(keyword[0] - position))[1] if keywords else None


def _byte_factor(unit: str | None) -> int:
    return _UNITS.get(unit.lower() if len(unit) > 1 else f"{unit.lower()}b", 1) if unit else 1


def _metrics_from_metadata(metadata: Mapping[str, object]) -> list[Metric]:
    metrics = list(_metrics_from_mapping(metadata, "metadata", ()))
    pairs = list(_numbers(metadata, "metadata"))
    loads = [(path, number) for path, words, number in pairs if words & _LOAD_NAMES]
    cores = [number for _, words, number in pairs if words & _CORE_NAMES or {"cpu", "count"} <= words]
    if loads and cores and cores[0]:
        path, load = loads[0]
        metrics.append(Metric("cpu", 100 * load / cores[0], path, f"load {load:g} on {cores[0]:g} cores"))
    return metrics


def _numbers(mapping: Mapping[str, object], path: str) -> Iterator[tuple[str, frozenset[str], float]]:
    for name, value in mapping.items():
        value_path = f"{path}.{name}"
        if isinstance(value, Mapping):
            yield from _numbers(value, value_path)
        first = value[0] if isinstance(value, list) and value else value
        if (quantity := _parse_quantity(first)) is not None:
            yield value_path, _name_words(name), quantity[0]


def _metrics_from_mapping(mapping: Mapping[str, object], path: str, parents: Iterable[str]) -> Iterator[Metric]:
    sizes: dict[frozenset[str], dict[str, tuple[float, str]]] = {}
    for name, value in mapping.items():
        words, value_path = _name_words(name), f"{path}.{name}"
        if isinstance(value, Mapping):
            yield from _metrics_from_mapping(value, value_path, (*parents, *words))
        elif isinstance(value, str) and name in ("summary", "description", "message"):
            yield from _metrics_from_text(value_path, value)
        elif (quantity := _parse_quantity(value)) is not None:
            number, unit = quantity
            gauge = _gauge_of(words) or _gauge_of(frozenset(parents))
            if (level := _level_of(gauge, words, number, unit)) is not None:
                yield Metric(gauge, level, value_path, str(value)[:120])
            role, stem = _size_role(words)
            sizes.setdefault(stem, {})[role] = (number * _byte_factor(unit or _unit_of(words)), value_path)
    for stem, roles in sizes.items():
        yield from _ratio_metric(_gauge_of(stem) or _gauge_of(frozenset(parents)), roles)


def _level_of(gauge: str | None, words: frozenset[str], number: float, unit: str) -> float | None:
    """Return the level that one named number states, or None if the name does not define the unit."""
    if gauge in ("replication_lag", "restarts"):
        return number
    if gauge == "certificate":
        return number if words & {"days", "day"} else None
    percent = unit == "%" or bool(words & _PERCENT_NAMES) or (gauge == "cpu" and "usage" in words)
    if "ratio" in words and number <= 1:
        percent, number = True, number * 100
    if not percent or not 0 <= number <= 100_000:
        return None
    return 100 - number if words & _FREE_NAMES and gauge != "packet_loss" else number


def _ratio_metric(gauge: str | None, roles: Mapping[str, tuple[float, str]]) -> Iterator[Metric]:
    total = roles.get("total", (0.0, ""))[0]
    part = roles.get("used") or roles.get("free") or (roles.get("") if gauge == "connections" else None)
    if total <= 0 or part is None or part[0] > 100 * total:
        return
    share = 100 * part[0] / total
    yield Metric(gauge, share if "used" in roles or "free" not in roles else 100 - share, part[1], f"{part[0]:g} of {total:g}")


def _size_role(words: frozenset[str]) -> tuple[str, frozenset[str]]:
    """Return the role of a size (used, free, total) and the words for its subject."""
    for role, names in (("total", _TOTAL_NAMES), ("used", _USED_NAMES), ("free", _FREE_NAMES)):
        if words & names:
            return role, words - _TOTAL_NAMES - _USED_NAMES - _FREE_NAMES - set(_UNITS) - {"bytes"}
    return "", words


def _unit_of(words: frozenset[str]) -> str:
    return next((unit for unit in _UNITS if unit in words), "")


def _gauge_of(words: frozenset[str]) -> str | None:
    return next((gauge for gauge, names in _GAUGES if words & names), None)


def _name_words(name: str) -> frozenset[str]:
    return frozenset(re.split(r"[\s.\-]+", split_identifiers(name).lower()))


def _parse_quantity(value: object) -> tuple[float, str] | None:
    """Return a number and its unit from a JSON number or from text such as `97 %` or `31.2 GB`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return float(value), ""
    match = re.fullmatch(rf"\s*{_NUMBER}\s?(%|{_BYTES})?\s*", value, re.IGNORECASE)
    return (float(match[1]), (match[2] or "").lower()) if match else None
