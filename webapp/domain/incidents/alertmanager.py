"""Parser of Alertmanager webhooks (version 4) and compatible ones, such as Grafana's. It ignores unknown fields."""

import json
from collections.abc import Iterator, Mapping

from webapp.domain.incidents.incidents import MAX_ALERTS, MAX_LABELS, MAX_TEXT, MAX_TITLE, Incident, clean_text, incident_from

_SEVERITY = dict.fromkeys(("critical", "page", "emergency", "fatal", "error", "high"), "critical") | dict.fromkeys(
    ("info", "information", "informational", "none", "low"), "info"
)
_HOST_LABELS = ("host", "hostname", "nodename", "node", "instance")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")
_DESCRIPTION_ANNOTATIONS = ("description", "message", "summary")


def is_alertmanager(data: Mapping[str, object]) -> bool:
    """Return whether this is a webhook payload: alerts with labels, and a field that an incident does not have."""
    alerts = data.get("alerts")
    if not isinstance(alerts, list) or not ({"groupLabels", "commonLabels", "receiver", "groupKey"} & set(data)):
        return False
    return all(isinstance(alert, Mapping) and isinstance(alert.get("labels"), Mapping) for alert in alerts)


def incident_from_payload(data: Mapping[str, object]) -> Incident:
    """Return an incident from its own JSON or from a webhook payload. Raises `Invalid`."""
    return incident_from_alertmanager(data) if is_alertmanager(data) else incident_from(data)


def incident_from_alertmanager(data: Mapping[str, object]) -> Incident:
    """Return the incident in a webhook payload. Text that is too long is shortened, and unprintable characters are replaced."""
    alerts = [alert for alert in _list(data.get("alerts")) if isinstance(alert, Mapping)]
    labels, annotations = _labels(data.get("commonLabels")), _labels(data.get("commonAnnotations"))
    if alerts:
        labels, annotations = labels or _labels(alerts[0].get("labels")), annotations or _labels(alerts[0].get("annotations"))
    status = data.get("status", "firing")
    return incident_from(
        {
            "title": _title(labels, annotations),
            "description": next((annotations[name] for name in _DESCRIPTION_ANNOTATIONS if annotations.get(name)), ""),
            "severity": _severity(labels, alerts),
            "status": "resolved" if status == "resolved" else "open",
            "alerts": [_alert(alert) for alert in alerts[:MAX_ALERTS]],
            "metadata": _metadata(data, labels, annotations, alerts),
        }
    )


def _title(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    parts = [part for part in (labels.get("alertname"), annotations.get("summary") or annotations.get("title")) if part]
    return _clean(": ".join(parts) or "Alert without a name", MAX_TITLE, lines=False)


def _severity(labels: Mapping[str, str], alerts: list[Mapping[str, object]]) -> str:
    """Return the highest severity of any alert in the group, or `warning` if there is none."""
    severities = [
        labels.get("severity"),
        *(alert_labels.get("severity") for alert in alerts if isinstance(alert_labels := alert.get("labels"), Mapping)),
    ]
    named = {_SEVERITY.get(word.lower(), "warning") for word in severities if isinstance(word, str) and word}
    return next((severity for severity in ("critical", "warning", "info") if severity in named), "warning")


def _alert(alert: Mapping[str, object]) -> dict[str, object]:
    labels, annotations = _labels(alert.get("labels")), _labels(alert.get("annotations"))
    texts = dict.fromkeys(annotations[name] for name in ("summary", "description", "message") if annotations.get(name))
    return {
        "name": _clean(labels.get("alertname") or "Alert without a name", MAX_TITLE, lines=False),
        "description": _clean(". ".join(texts), MAX_TEXT),
        "labels": labels,
    }


def _metadata(
    data: Mapping[str, object], labels: Mapping[str, str], annotations: Mapping[str, str], alerts: list[Mapping[str, object]]
) -> dict[str, object]:
    metadata: dict[str, object] = {"source": "alertmanager", "labels": _limit_labels(labels), "annotations": _limit_labels(annotations)}
    metadata |= _select_texts(data, "receiver", "externalURL")
    if host := _host(labels):
        metadata["host"] = host
    if alerts:
        metadata |= _select_texts(alerts[0], "startsAt", "generatorURL") | {"alerts_total": len(alerts)}
    if values := dict(_values(alerts)):
        metadata["values"] = values
    return metadata


def _limit_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels within the limits of an incident's metadata."""
    return {name: text[:500] for name, text in list(labels.items())[:30]}


def _select_texts(data: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: text for name in names if (text := _clean(data.get(name), MAX_TITLE, lines=False))}


def _host(labels: Mapping[str, str]) -> str | None:
    """Return the host in the labels. `localhost` is ignored, because it means the sender's machine and not this server."""
    named = next((labels[name] for name in _HOST_LABELS if labels.get(name)), "")
    host = named.rsplit(":", 1)[0] if named.count(":") == 1 or named.startswith("[") else named
    return host if host and host.lower() not in _LOCAL_HOSTS else None


def _values(alerts: list[Mapping[str, object]]) -> Iterator[tuple[str, float]]:
    """Yield the numbers that Grafana sends for a firing alert."""
    for alert in alerts[:MAX_ALERTS]:
        values = alert.get("values")
        for name, value in list(values.items())[:MAX_LABELS] if isinstance(values, Mapping) else ():
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**18:
                yield _clean(name, MAX_TITLE, lines=False) or "value", value


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    pairs = list(value.items())[:MAX_LABELS]
    cleaned = ((_clean(name, 200, lines=False), _clean(text, 2_000)) for name, text in pairs)
    return {name: text for name, text in cleaned if name}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _clean(value: object, limit: int, *, lines: bool = True) -> str:
    if value is None or isinstance(value, Mapping | list):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return clean_text(text[: limit + 100], lines=lines).strip()[:limit]
