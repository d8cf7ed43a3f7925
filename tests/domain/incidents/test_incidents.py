"""Tests of the strict incident parser, which reports the path of each invalid field."""

import json

import pytest

from webapp.domain.incidents.incidents import Alert, Incident, Recommendation, incident_document, incident_from, recommendation_document
from webapp.domain.shared.errors import Invalid, Malformed

FULL = {
    "title": "Disk full",
    "description": "97 % used\nsince 02:10\tUTC",
    "severity": "critical",
    "status": "acknowledged",
    "alerts": [{"name": "DiskSpaceLow", "description": "3 % left", "labels": {"instance": "db-1:9100"}}],
    "metadata": {"host": "db-1", "used_percent": 97.5, "nested": {"list": [1, None, True, "x"]}},
}


def errors(data):
    with pytest.raises(Invalid) as caught:
        incident_from(data)
    return {error.field: error.message for error in caught.value.errors}


def test_a_full_incident_is_read_and_written_back_the_same():
    incident = incident_from(FULL)
    assert incident.alerts == (Alert("DiskSpaceLow", "3 % left", {"instance": "db-1:9100"}),)
    assert incident_document(incident) == FULL
    assert incident_from(json.loads(json.dumps(incident_document(incident)))) == incident


def test_only_a_title_is_needed():
    assert incident_from({"title": "It is slow"}) == Incident("It is slow", "", "warning", "open", (), {})


BAD = [
    ({"title": ""}, "incident.title"),
    ({"title": "   "}, "incident.title"),
    ({"title": None}, "incident.title"),
    ({"title": 7}, "incident.title"),
    ({"title": "x" * 301}, "incident.title"),
    ({"title": "a\x00b"}, "incident.title"),
    ({"title": "two\nlines"}, "incident.title"),
    ({"title": "\ud800"}, "incident.title"),
    ({"description": "x" * 10_001}, "incident.description"),
    ({"description": "a\x1b[31m"}, "incident.description"),
    ({"description": None}, "incident.description"),
    ({"severity": "apocalyptic"}, "incident.severity"),
    ({"severity": ["critical"]}, "incident.severity"),
    ({"status": "forgotten"}, "incident.status"),
    ({"alerts": "none"}, "incident.alerts"),
    ({"alerts": None}, "incident.alerts"),
    ({"alerts": [{"name": "a"}] * 51}, "incident.alerts"),
    ({"alerts": [7]}, "incident.alerts[0]"),
    ({"alerts": [{"name": "a"}, {"description": "no name"}]}, "incident.alerts[1].name"),
    ({"alerts": [{"name": "a", "surprise": 1}]}, "incident.alerts[0].surprise"),
    ({"alerts": [{"name": "a", "labels": {"x": 1}}]}, "incident.alerts[0].labels"),
    ({"metadata": []}, "incident.metadata"),
    ({"metadata": {"a": float("nan")}}, "incident.metadata.a"),
    ({"metadata": {"a": float("inf")}}, "incident.metadata.a"),
    ({"metadata": {"a": 10**400}}, "incident.metadata.a"),
    ({"metadata": {"a": {"b": "\x00"}}}, "incident.metadata.a.b"),
    ({"metadata": {"a": ["\udfff"]}}, "incident.metadata.a[0]"),
    ({"metadata": {"": 1}}, "incident.metadata."),
    ({"metadata": {7: 1}}, "incident.metadata.7"),
    ({"metadata": {"a": b"bytes"}}, "incident.metadata.a"),
    ({"metadata": {"a": "x" * 10_001}}, "incident.metadata.a"),
    ({"metadata": {str(number): number for number in range(3_000)}}, "incident.metadata"),
    ({"metadata": {str(number): "x" * 9_000 for number in range(9)}}, "incident.metadata"),
    ({"base_url": "https://evil.example"}, "incident.base_url"),
]


@pytest.mark.parametrize(("change", "field"), BAD, ids=[f"{index}-{field}" for index, (_, field) in enumerate(BAD)])
def test_what_makes_no_sense_is_refused_with_its_path(change, field):
    assert field in errors(FULL | change)


def test_all_mistakes_are_told_at_once():
    assert set(errors({"description": 1, "severity": "x", "alerts": [{}]})) == {
        "incident.title",
        "incident.description",
        "incident.severity",
        "incident.alerts[0].name",
    }


def test_unknown_fields_and_wrong_shapes_are_malformed_and_wrong_values_are_not():
    for data in ({"title": "a", "surprise": 1}, {"title": "a", "metadata": []}, ["title"]):
        with pytest.raises(Malformed):
            incident_from(data)
    with pytest.raises(Invalid) as caught:
        incident_from({"title": "a", "severity": "x"})
    assert not isinstance(caught.value, Malformed)


def test_deep_metadata_is_refused_and_not_followed():
    deep: dict = {}
    for _ in range(5_000):
        deep = {"a": deep}
    assert any("nested" in message for message in errors({"title": "a", "metadata": deep}).values())


def test_the_incident_keeps_no_reference_to_what_it_was_read_from():
    metadata = {"a": {"b": 1}}
    incident = incident_from({"title": "a", "metadata": metadata})
    metadata["a"]["b"] = 2
    assert incident.metadata == {"a": {"b": 1}}


def test_a_recommendation_is_json():
    shape = recommendation_document(Recommendation("disk", "high", "T", "D", {"words": {"title": ("disk",)}}, ("a", "b")))
    assert json.loads(json.dumps(shape)) == {
        "type": "disk",
        "priority": "high",
        "title": "T",
        "description": "D",
        "details": {"words": {"title": ["disk"]}},
        "actions": ["a", "b"],
    }
