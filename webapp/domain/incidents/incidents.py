"""Incidents with their alerts, and recommendations: input and output of the try-it page and of `POST /runs`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from webapp.domain.shared.errors import FieldError, Invalid, Malformed

SEVERITIES = ("critical", "warning", "info")
STATUSES = ("open", "acknowledged", "resolved", "closed")
TYPES = ("memory", "disk", "cpu", "process", "network", "general")
PRIORITIES = ("low", "medium", "high", "critical")

MAX_TITLE = 300
MAX_TEXT = 10_000
MAX_ALERTS = 50
MAX_LABELS = 100
MAX_DEPTH = 8
MAX_VALUES = 2_000  # The number of values in the metadata, including keys.
MAX_CHARACTERS = 50_000  # The total length of all texts in the metadata.
MAX_NUMBER = 10**18

_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS_AND_LINES = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

INCIDENT_FIELDS = ("title", "description", "severity", "status", "alerts", "metadata")
ALERT_FIELDS = ("name", "description", "labels")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of an incident."""

    name: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident to analyze. `incident_from` validates and creates it."""

    title: str
    description: str = ""
    severity: str = "warning"
    status: str = "open"
    alerts: tuple[Alert, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One recommendation. `details` is a JSON object with the evidence."""

    type: str
    priority: str
    title: str
    description: str
    details: Mapping[str, object] = field(default_factory=dict)
    actions: tuple[str, ...] = ()


def incident_from(data: Mapping[str, object]) -> Incident:
    """Return an incident from JSON.

    Raises `Invalid` that names all invalid fields, or `Malformed` for unknown fields and wrong types.
    """
    reader = _IncidentReader()
    members = reader.members(data, "incident", INCIDENT_FIELDS)
    incident = Incident(
        title=reader.text(members, "title", "incident", limit=MAX_TITLE, required=True),
        description=reader.text(members, "description", "incident", limit=MAX_TEXT),
        severity=reader.choice(members, "severity", SEVERITIES, "warning"),
        status=reader.choice(members, "status", STATUSES, "open"),
        alerts=reader.alerts(members.get("alerts", [])),
        metadata=reader.metadata(members.get("metadata", {})),
    )
    reader.raise_errors()
    return incident


def alert_document(alert: Alert) -> dict[str, object]:
    """Return the JSON shape. `labels` is left out if it is empty."""
    shape: dict[str, object] = {"name": alert.name, "description": alert.description}
    return shape | {"labels": dict(alert.labels)} if alert.labels else shape


def incident_document(incident: Incident) -> dict[str, object]:
    """Return the JSON shape of the contract. `incident_from` parses it back to an equal incident."""
    return {
        "title": incident.title,
        "description": incident.description,
        "severity": incident.severity,
        "status": incident.status,
        "alerts": [alert_document(alert) for alert in incident.alerts],
        "metadata": dict(incident.metadata),
    }


def recommendation_document(recommendation: Recommendation) -> dict[str, object]:
    """Return the JSON shape of the contract."""
    return asdict(recommendation) | {"actions": list(recommendation.actions)}


def text_problem(text: str, *, lines: bool) -> str | None:
    """Return why this text cannot be stored and shown, or None."""
    if _SURROGATES.search(text):
        return "holds half of a surrogate pair, which is no character"
    if lines:
        return "holds a control character" if _CONTROLS.search(text) else None
    return "must be one line without control characters" if _CONTROLS_AND_LINES.search(text) else None


def clean_text(text: str, *, lines: bool) -> str:
    """Return the text with spaces in place of the characters that `text_problem` rejects."""
    return _SURROGATES.sub(" ", (_CONTROLS if lines else _CONTROLS_AND_LINES).sub(" ", text))


class _IncidentReader:
    """Parser of an incident that collects all errors, so that a user can fix them together."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.malformed = False
        self.values = 0
        self.characters = 0

    def add_error(self, path: str, message: str, *, malformed: bool = False) -> None:
        self.malformed = self.malformed or malformed
        if len(self.errors) < MAX_ALERTS:
            self.errors.append(FieldError(path, message))

    def raise_errors(self) -> None:
        if self.errors:
            kind = Malformed if self.malformed else Invalid
            raise kind("; ".join(f"{error.field} {error.message}" for error in self.errors[:5]), self.errors)

    def members(self, value: object, path: str, known: Sequence[str]) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            self.add_error(path, "must be an object", malformed=True)
            return {}
        for name in value:
            if name not in known:
                self.add_error(f"{path}.{_printable(name)}", f"is not known here; known are {', '.join(known)}", malformed=True)
        return value

    def text(self, members: Mapping[str, object], name: str, path: str, *, limit: int, required: bool = False) -> str:
        value = members.get(name, None if required else "")
        path = f"{path}.{name}"
        if not isinstance(value, str):
            self.add_error(path, "is required" if name not in members else "must be text")
            return ""
        if required and not value.strip():
            self.add_error(path, "must not be empty")
        return self.check_text(value, path, limit, lines=not required)

    def check_text(self, value: str, path: str, limit: int, *, lines: bool = True) -> str:
        if len(value) > limit:
            self.add_error(path, f"is longer than {limit:,} characters")
        elif problem := text_problem(value, lines=lines):
            self.add_error(path, problem)
        return value

    def choice(self, members: Mapping[str, object], name: str, choices: Sequence[str], default: str) -> str:
        value = members.get(name, default)
        if isinstance(value, str) and value in choices:
            return value
        self.add_error(f"incident.{name}", f"must be one of {', '.join(choices)}")
        return default

    def alerts(self, value: object) -> tuple[Alert, ...]:
        if not isinstance(value, list | tuple):
            self.add_error("incident.alerts", "must be a list", malformed=True)
            return ()
        if len(value) > MAX_ALERTS:
            self.add_error("incident.alerts", f"holds more than {MAX_ALERTS} alerts")
            return ()
        return tuple(self.alert(alert, f"incident.alerts[{index}]") for index, alert in enumerate(value))

    def alert(self, value: object, path: str) -> Alert:
        members = self.members(value, path, ALERT_FIELDS)
        return Alert(
            name=self.text(members, "name", path, limit=MAX_TITLE, required=True),
            description=self.text(members, "description", path, limit=MAX_TEXT),
            labels=self.labels(members.get("labels", {}), f"{path}.labels"),
        )

    def labels(self, value: object, path: str) -> dict[str, str]:
        if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
            self.add_error(path, "must be an object whose values are texts", malformed=True)
            return {}
        if len(value) > MAX_LABELS:
            self.add_error(path, f"holds more than {MAX_LABELS} labels")
            return {}
        return {self.check_text(name, path, MAX_TITLE): self.check_text(text, path, MAX_TEXT) for name, text in value.items()}

    def metadata(self, value: object) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            self.add_error("incident.metadata", "must be an object", malformed=True)
            return {}
        copied = self.copy_json(value, "incident.metadata", MAX_DEPTH)
        if self.values > MAX_VALUES or self.characters > MAX_CHARACTERS:
            self.add_error("incident.metadata", f"is larger than {MAX_VALUES:,} values or {MAX_CHARACTERS:,} characters")
        return copied if isinstance(copied, dict) else {}

    def copy_json(self, value: object, path: str, depth: int) -> object:
        """Return a copy of one JSON value. A rejected value becomes None."""
        self.values += 1
        if self.values > MAX_VALUES or self.characters > MAX_CHARACTERS:
            return None  # `metadata` reports this once.
        if isinstance(value, Mapping | list | tuple):
            return self.copy_nested(value, path, depth - 1)
        if isinstance(value, str):
            self.characters += len(value)
            return self.check_text(value, path, MAX_TEXT)
        if not (value is None or isinstance(value, bool) or _is_number(value)):
            self.add_error(path, f"must be JSON: text, true, false, null or a number up to {MAX_NUMBER:,}")
        return value

    def copy_nested(self, value: Mapping[str, object] | Sequence[object], path: str, depth: int) -> object:
        if depth < 0:
            self.add_error(path, f"is nested more than {MAX_DEPTH} levels deep")
            return None
        if not isinstance(value, Mapping):
            return [self.copy_json(item, f"{path}[{index}]", depth) for index, item in enumerate(value)]
        copied: dict[str, object] = {}
        for key, item in value.items():
            item_path = f"{path}.{_printable(key)}"
            if not isinstance(key, str) or not key:
                self.add_error(item_path, "must have a name that is text", malformed=True)
                continue
            self.characters += len(key)
            self.check_text(key, item_path, MAX_TITLE, lines=False)
            copied[key] = self.copy_json(item, item_path, depth)
        return copied


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= MAX_NUMBER  # False for NaN and infinities.


def _printable(name: object) -> str:
    return "".join(character if character.isprintable() else "�" for character in str(name)[:60])
