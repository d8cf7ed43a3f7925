"""Tests of the prompt for a model, and of the parser of its responses in any wrapping."""

import json
import time

import pytest

from webapp.domain.incidents.answer_schema import RESPONSE_SCHEMA, SYSTEM_PROMPT, SchemaMismatch, format_incident, parse_recommendations
from webapp.domain.incidents.incidents import PRIORITIES, TYPES, Alert, Incident

ITEM = {"type": "disk", "priority": "high", "title": "T", "description": "D", "actions": ["A", "B"]}
LIST = json.dumps([ITEM])
OBJECT = json.dumps({"recommendations": [ITEM]})


@pytest.mark.parametrize(
    "answer",
    [
        LIST,
        OBJECT,
        json.dumps(ITEM),
        json.dumps({"recommendations": ITEM}),
        f"```json\n{OBJECT}\n```",
        f"```\n{LIST}\n``` \n",
        f"Here is [1] my {{advice}}:\n\n{OBJECT}\nHope it helps {{}}",
        f"<think>maybe {json.dumps([ITEM | {'title': 'not this'}])}</think>{OBJECT}",
        f"<THINK>a\nb</THINK>\n```json\n{LIST}\n```",
        f"\ufeff  {OBJECT}",
        json.dumps([7, None, "x", [], ITEM, ITEM | {"description": ""}]),
    ],
)
def test_recommendations_are_found_wherever_they_stand(answer):
    (recommendation,) = parse_recommendations(answer)
    assert (recommendation.type, recommendation.priority, recommendation.title, recommendation.description, recommendation.actions) == (
        "disk",
        "high",
        "T",
        "D",
        ("A", "B"),
    )


def one_of(**change):
    return parse_recommendations(json.dumps([ITEM | change]))[0]


def test_what_is_unknown_gets_its_default():
    assert (one_of(type="quantum").type, one_of(type=None).type, one_of(type=" DISK ").type) == ("general", "general", "disk")
    assert (one_of(priority="asap").priority, one_of(priority=3).priority) == ("medium", "medium")
    assert one_of(title=None).title == "Advice of the model"
    assert one_of(actions="Reboot").actions == ("Reboot",)
    assert one_of(actions=None).actions == ()
    assert one_of(actions=[None, "", 7, {"x": 1}, "ok"]).actions == ("7", "ok")


def test_details_never_come_from_the_model():
    assert one_of(details={"x": 1}).details == {}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "not JSON"),
        ("I cannot help.", "not JSON"),
        ("{", "not JSON"),
        ("[" * 150_000, "not JSON"),
        ('{"a":' * 30_000, "not JSON"),
        ("[]", "another shape"),
        ("{}", "another shape"),
        ('{"recommendations": []}', "another shape"),
        ("[1, 2]", "another shape"),
        (json.dumps([{"title": "no description"}]), "another shape"),
        ("x" * 200_001, "longer than"),
        ("{" * 100_000 + OBJECT, "not JSON"),
        (f"<think>{OBJECT}</think>", "not JSON"),
    ],
    ids=lambda value: value[:20],
)
def test_an_answer_without_recommendations_is_a_clear_error(answer, why):
    started = time.thread_time()
    with pytest.raises(SchemaMismatch, match=why) as caught:
        parse_recommendations(answer)
    assert time.thread_time() - started < 2
    assert (caught.value.code, caught.value.kind) == ("schema_mismatch", "schema_mismatch")


def test_an_answer_is_bounded_and_can_be_stored():
    item = ITEM | {"title": "t\x00\n" * 500, "description": "d\ud800" * 4_000, "actions": ["a" * 900] * 40}
    advice = parse_recommendations(json.dumps([item]))
    assert len(parse_recommendations(json.dumps([ITEM] * 500))) == 20
    assert (len(advice[0].title) <= 200, len(advice[0].description), len(advice[0].actions), len(advice[0].actions[0])) == (
        True,
        4_000,
        20,
        500,
    )
    assert "\x00" not in advice[0].title + advice[0].description
    (advice[0].title + advice[0].description).encode()  # Raises an error for a lone surrogate, which cannot be stored.


def test_numbers_that_json_does_not_know_do_no_harm():
    odd = '{"description": "D", "type": NaN, "title": Infinity}'
    assert len(parse_recommendations(f"[{odd}, {LIST[1:-1]}]")) == 2
    with pytest.raises(SchemaMismatch):
        parse_recommendations(f'{{"description": {"9" * 5_000}x}}')


def test_the_user_text_tells_the_whole_incident_and_ten_alerts():
    alerts = tuple(Alert(f"A{number}", f"alert {number}") for number in range(12))
    text = format_incident(Incident("Title here", "What happened", "critical", "open", alerts, {"b": 1, "a": "ž"}))
    assert text.splitlines()[:4] == ["Incident: Title here", "Severity: critical", "Status: open", "Description: What happened"]
    assert "- A9: alert 9" in text
    assert "A10" not in text
    assert "- and 2 more" in text
    assert text.endswith('Metadata: {"a": "ž", "b": 1}')


@pytest.mark.parametrize("payload", ["{{7*7}}", "{% for x in y %}", "${7*7}", "%(x)s", "{0.__class__}", "{title}"])
def test_no_template_is_made_from_data(payload):
    text = format_incident(Incident(payload, payload, alerts=(Alert(payload, payload),), metadata={payload: payload}))
    assert text.count(payload) == 6


def test_the_schema_is_strict_everywhere_and_knows_our_words():
    item = RESPONSE_SCHEMA["properties"]["recommendations"]["items"]
    for shape in (RESPONSE_SCHEMA, item):
        assert shape["additionalProperties"] is False
        assert set(shape["required"]) == set(shape["properties"])
    assert item["properties"]["type"]["enum"] == list(TYPES)
    assert item["properties"]["priority"]["enum"] == list(PRIORITIES)


def test_the_system_prompt_names_every_type_and_priority():
    assert all(word in SYSTEM_PROMPT for word in (*TYPES, *PRIORITIES))
