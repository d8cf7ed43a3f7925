"""Tests of a provider's config, and of request templates, whose placeholders are replaced once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.catalog.driver_config import PLACEHOLDERS, fill_template, validate_config, value_at
from webapp.domain.shared.errors import Invalid

TEMPLATE = {
    "model": "{{model}}",
    "ask": "{{system}} / {{user}}",
    "limit": "{{max_tokens}}",
    "heat": "{{temperature}}",
    "list": ["{{schema}}", 1],
}
PATHS = {"text": "choices.0.message.content", "input": "usage.prompt_tokens"}
GOOD = [
    {},
    {"auth_header": "X-Api-Key", "auth_prefix": ""},
    {"auth_prefix": "Token", "token_parameter": "max_tokens", "json_mode": "prompt"},
    {"extra_headers": {"X-Team": "ops", "User-Agent": "Desk"}},
    {"request_template": TEMPLATE, "response_paths": PATHS, "path": "/ask"},
]
BAD = [
    ({"url": "https://x"}, "config.url"),
    ({"auth_header": "X Key"}, "config.auth_header"),
    ({"auth_header": "Host"}, "config.auth_header"),
    ({"auth_header": "X-Key\r\nX-Evil: 1"}, "config.auth_header"),
    ({"auth_prefix": "two words"}, "config.auth_prefix"),
    ({"auth_prefix": "a\nb"}, "config.auth_prefix"),
    ({"extra_headers": {"Content-Length": "0"}}, "config.extra_headers"),
    ({"extra_headers": {"authorization": "Bearer x"}}, "config.extra_headers"),
    ({"extra_headers": {"Cookie": "a=b"}}, "config.extra_headers"),
    ({"extra_headers": {"X": "a\r\nb"}}, "config.extra_headers"),
    ({"extra_headers": {"X": 1}}, "config.extra_headers"),
    ({"extra_headers": []}, "config.extra_headers"),
    ({"token_parameter": "stream"}, "config.token_parameter"),
    ({"json_mode": "yes"}, "config.json_mode"),
    ({"path": "https://evil.example/"}, "config.path"),
    ({"path": "/a?b"}, "config.path"),
    ({"request_template": {"x": "{{user}} {{secret}}"}, "response_paths": PATHS}, "config.request_template"),
    ({"request_template": {"x": "no question"}, "response_paths": PATHS}, "config.request_template"),
    ({"request_template": "{{user}}"}, "config.request_template"),
    ({"request_template": TEMPLATE, "response_paths": {"input": "a"}}, "config.response_paths"),
    ({"response_paths": PATHS}, "config.response_paths"),
    ({"request_template": TEMPLATE, "response_paths": {"text": "a..b"}}, "config.response_paths"),
    ({"request_template": TEMPLATE, "response_paths": {"text": "__class__()"}}, "config.response_paths"),
    ({"request_template": TEMPLATE, "response_paths": {"text": "a", "colour": "b"}}, "config.response_paths"),
]


@pytest.mark.parametrize("config", GOOD, ids=str)
def test_what_a_driver_can_follow_is_taken(config):
    assert validate_config(config, "config") == config


@pytest.mark.parametrize(("config", "field"), BAD, ids=[str(config)[:60] for config, _ in BAD])
def test_what_it_cannot_is_refused_at_its_field(config, field):
    with pytest.raises(Invalid) as caught:
        validate_config(config, "config")
    assert field in {error.field for error in caught.value.errors}


def test_placeholders_become_values_and_what_has_none_is_left_out():
    values = {"model": "m", "system": "S", "user": "U", "max_tokens": 77, "temperature": None, "schema": None}
    assert fill_template(TEMPLATE, values) == {"model": "m", "ask": "S / U", "limit": 77, "list": [1]}


@given(st.text(), st.sampled_from(["{{user}}", "{{model}}", "{{7*7}}", "{% for x in y %}", "${x}", "%(x)s", "{0.__class__}"]))
def test_what_is_put_in_is_never_looked_at_again(text, trick):
    filled = fill_template({"a": "[{{user}}]", "b": "{{user}}"}, {"user": f"{text}{trick}", "model": "EXPANDED"})
    assert filled == {"a": f"[{text}{trick}]", "b": f"{text}{trick}"}


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
)
def test_looking_for_a_path_never_fails(document):
    value = value_at(document, "choices.0.message.content")
    assert value is None or isinstance(document, dict)


def test_a_path_leads_through_objects_and_lists():
    assert value_at({"a": [{"b": "found"}]}, "a.0.b") == "found"
    assert value_at({"a": [{"b": "found"}]}, "a.9.b") is None
    assert value_at(["x"], "a") is None


def test_every_placeholder_has_a_meaning():
    assert set(PLACEHOLDERS) == {"model", "system", "user", "max_tokens", "temperature", "schema"}
