"""Tests of webhook payloads from Alertmanager and Grafana."""

import pytest

from webapp.domain.incidents.alertmanager import incident_from_alertmanager, incident_from_payload, is_alertmanager
from webapp.domain.incidents.incidents import incident_from
from webapp.domain.incidents.samples import SAMPLES_BY_SLUG
from webapp.domain.shared.errors import Invalid
from webapp.domain.triage.rules import analyze_incident

PAYLOAD = SAMPLES_BY_SLUG["alertmanager"].data
GRAFANA = {
    "receiver": "desk",
    "status": "firing",
    "orgId": 1,
    "version": "1",
    "state": "alerting",
    "title": "[FIRING:1]",
    "groupLabels": {},
    "commonLabels": {"alertname": "HighMemory", "instance": "localhost:9100", "severity": "page"},
    "commonAnnotations": {},
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "HighMemory", "instance": "localhost:9100"},
            "annotations": {"summary": "Memory at 93%"},
            "values": {"B": 93.4, "C": 1, "bad": "x", "nan": float("nan")},
            "silenceURL": "http://x",
            "dashboardURL": "",
        }
    ],
}


def test_an_alertmanager_payload_becomes_an_incident():
    incident = incident_from_payload(PAYLOAD)
    assert incident.title == "NodeFilesystemAlmostOutOfSpace: Filesystem has less than 3% space left."
    assert (incident.severity, incident.status, len(incident.alerts)) == ("critical", "open", 2)
    assert incident.alerts[1].description == "Filesystem on /dev/sda2 at web-2 has only 1.87% available space left."
    assert incident.metadata["startsAt"] == "2026-11-20T22:14:07.511Z"
    assert analyze_incident(incident)[0].type == "disk"


def test_grafanas_numbers_are_kept_and_its_localhost_is_not_ours():
    incident = incident_from_payload(GRAFANA)
    assert incident.metadata["values"] == {"B": 93.4, "C": 1}
    assert "host" not in incident.metadata
    assert incident.severity == "critical"
    assert (analyze_incident(incident)[0].type, analyze_incident(incident)[0].priority) == ("memory", "critical")


@pytest.mark.parametrize(
    ("said", "severity"), [("warning", "warning"), ("page", "critical"), ("INFO", "info"), ("sev2", "warning"), ("", "warning")]
)
def test_the_severity_comes_from_the_labels(said, severity):
    payload = {"receiver": "x", "status": "firing", "alerts": [{"labels": {"alertname": "A", "severity": said}}]}
    assert incident_from_payload(payload).severity == severity


def test_a_resolved_group_is_a_resolved_incident():
    assert incident_from_payload(PAYLOAD | {"status": "resolved"}).status == "resolved"


@pytest.mark.parametrize(
    ("instance", "host"),
    [
        ("web-1:9100", "web-1"),
        ("10.0.0.5:9100", "10.0.0.5"),
        ("[2001:db8::1]:9100", "[2001:db8::1]"),
        ("web-1", "web-1"),
        ("127.0.0.1:9", None),
    ],
)
def test_the_host_is_the_instance_without_its_port(instance, host):
    incident = incident_from_payload({"receiver": "x", "alerts": [{"labels": {"instance": instance}}]})
    assert incident.metadata.get("host") == host


def test_hostile_texts_are_cleaned_and_shortened():
    labels = {f"label{number}": "x\x00" * 5_000 for number in range(500)} | {"alertname": "A\x00\nB" * 500, "\ud800": "\udfff"}
    alerts = [{"labels": labels, "annotations": {"description": "\x00" + "y" * 50_000}}] * 200
    incident = incident_from_alertmanager({"receiver": "x", "alerts": alerts})
    assert len(incident.alerts) == 50
    assert incident.metadata["alerts_total"] == 200


@pytest.mark.parametrize(
    "payload",
    [
        {"alerts": [{"labels": {}}], "receiver": None, "commonLabels": 7, "groupLabels": []},
        {"alerts": [], "receiver": "x"},
        {"alerts": [{"labels": {"alertname": None, "severity": ["x"]}, "annotations": 7, "startsAt": 5}], "groupKey": {}, "status": 4},
    ],
)
def test_a_strange_payload_is_still_an_incident(payload):
    assert is_alertmanager(payload)
    assert incident_from_payload(payload).title


@pytest.mark.parametrize(
    "data",
    [
        {"title": "x"},
        {"title": "x", "alerts": [{"name": "a", "labels": {}}]},
        {"alerts": "x", "receiver": "y"},
        {"alerts": [7], "receiver": "y"},
    ],
)
def test_an_incident_of_our_own_is_no_webhook(data):
    assert not is_alertmanager(data)


def test_our_own_form_stays_strict():
    with pytest.raises(Invalid):
        incident_from_payload({"title": "x", "surprise": 1})
    assert incident_from_payload({"title": "x"}) == incident_from({"title": "x"})
