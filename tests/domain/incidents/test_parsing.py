"""Tests of pasted text: it is parsed in its format, or rejected with a helpful message."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.incidents.parsing import ALERTMANAGER, INCIDENT, TEXT, dump_incident, parse_incident
from webapp.domain.incidents.samples import SAMPLES, SAMPLES_BY_SLUG
from webapp.domain.shared.errors import Invalid


def test_json_of_an_incident_is_read():
    parsed = parse_incident('{"title": "Disk full", "severity": "critical"}')
    assert (parsed.kind, parsed.incident.title, parsed.incident.severity) == (INCIDENT, "Disk full", "critical")


def test_an_alertmanager_payload_is_recognised():
    parsed = parse_incident(json.dumps(SAMPLES_BY_SLUG["alertmanager"].data))
    assert (parsed.kind, parsed.incident.severity, len(parsed.incident.alerts)) == (ALERTMANAGER, "critical", 2)


@pytest.mark.parametrize("text", ["Disk full\r\nIt is 97 % used.\r\nSince noon.", "  Disk full\nIt is 97 % used.\nSince noon.\n\n"])
def test_plain_text_has_its_title_in_the_first_line(text):
    parsed = parse_incident(text)
    assert (parsed.kind, parsed.incident.title, parsed.incident.description) == (TEXT, "Disk full", "It is 97 % used.\nSince noon.")


def test_a_title_may_begin_with_a_bracket():
    assert parse_incident("[FIRING:1] HostOutOfMemory").incident.title == "[FIRING:1] HostOutOfMemory"


def test_a_first_line_that_is_too_long_is_kept_whole_in_the_description():
    incident = parse_incident("x" * 400).incident
    assert (len(incident.title), incident.description) == (300, "x" * 400)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", "begins like JSON but is not"),
        ('{"title": "a", "title": "b"}', "twice"),
        ('[{"title": "a"}]', "is a list"),
        ('{"title": NaN}', "NaN"),
        ('{"title": 1}', "must be text"),
        ('{"titel": "a"}', "is not known here"),
        ("[" * 100_000, "is longer"),
        ('{"a":' * 5_000 + "1", "begins like JSON"),
        ('{"title": "a", "metadata": {"n": 1' + "0" * 5000 + "}}", "digits"),
        ("x" * 100_001, "is longer"),
        ("a\0b", "control character"),
        ('{"title": "\\ud800"}', "surrogate"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(text, said):
    with pytest.raises(Invalid, match=said):
        parse_incident(f"{text}1" if text.startswith("[[") else text)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.slug)
def test_what_is_written_reads_back_the_same(sample):
    assert parse_incident(dump_incident(sample.incident())).incident == sample.incident()


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    with suppress(Invalid):
        assert parse_incident(text).incident.title
