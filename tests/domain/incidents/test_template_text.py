"""Tests of prompt templates: single replacement of placeholders (T27), rejection of unknown ones, and line-by-line comparison."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.incidents import answer_schema
from webapp.domain.incidents.incidents import Incident
from webapp.domain.incidents.prompt_templates import (
    BUILT_IN,
    PLACEHOLDER_VALUES,
    Template,
    diff_lines,
    render_prompt,
    validate_template_text,
)
from webapp.domain.incidents.samples import SAMPLES
from webapp.domain.shared.errors import Invalid

TRICKS = ["{{title}}", "{{ incident }}", "{{7*7}}", "{% for x in y %}", "${x}", "%(x)s", "{0.__class__}", "{{title"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.slug)
def test_the_built_in_template_says_what_was_always_said(sample):
    incident = sample.incident()
    assert render_prompt(BUILT_IN, incident) == (answer_schema.SYSTEM_PROMPT, answer_schema.format_incident(incident))


@given(st.text(max_size=60), st.sampled_from(TRICKS))
def test_t27_what_an_incident_says_is_never_a_placeholder(text, trick):
    template = Template("t", 1, "T", "x", "S {{title}}", "[{{description}}] {{severity}}")
    prompt = render_prompt(template, Incident(f"{text}{trick}", f"{trick}{text}", "critical"))
    assert prompt == (f"S {text}{trick}", f"[{trick}{text}] critical")


@pytest.mark.parametrize("text", ["Hello {{name}}", "{{incident.title}}", "{{7*7}}", "{{ }}", "{{title|upper}} {{incident}}"])
def test_a_placeholder_that_is_none_is_refused_with_those_that_are(text):
    with pytest.raises(Invalid) as caught:
        validate_template_text(text, "user", needs_incident=False)
    assert (caught.value.errors[0].field, "{{incident}}" in caught.value.detail) == ("user", True)


def test_a_question_that_says_nothing_of_the_incident_is_refused():
    with pytest.raises(Invalid, match="says nothing about the incident"):
        validate_template_text("What is wrong?", "user", needs_incident=True)
    assert validate_template_text("{{title}}", "user", needs_incident=True)


@pytest.mark.parametrize("name", PLACEHOLDER_VALUES)
def test_every_placeholder_has_a_value(name):
    filled = render_prompt(Template("t", 1, "T", "x", f"{{{{ {name} }}}}", "{{incident}}"), SAMPLES[0].incident()).system
    assert "{{" not in filled
    assert filled


@given(st.lists(st.text(alphabet="abc ", max_size=8), max_size=12), st.lists(st.text(alphabet="abc ", max_size=8), max_size=12))
def test_a_comparison_holds_both_texts(before, after):
    lines = list(diff_lines("\n".join(before), "\n".join(after)))
    assert [line.text for line in lines if line.mark in " -"] == "\n".join(before).splitlines()
    assert [line.text for line in lines if line.mark in " +"] == "\n".join(after).splitlines()
