"""The strict JSON reader."""

import json
from decimal import Decimal

import pytest
from environment import api_for
from flask import request
from hypothesis import given
from hypothesis import strategies as st

from webapp.api.v1.core import json_body
from webapp.domain.shared.errors import Malformed

MINI = b'{"model":"openai/gpt-4o-mini","usage":%b}'
NOT_JSON = {
    "nothing": b"",
    "half": b'{"model":',
    "two documents": b"{}{}",
    "a comment": b"{} // yes",
    "a trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "broken UTF-8": b'{"a":"\xff"}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "a list": b"[]",
    "null": b"null",
    "a raw newline in a text": b'{"a":"\n"}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a lone surrogate as a name": b'{"\\udfff":1}',
}
TWICE = {"at the top": b'{"a":1,"a":1}', "inside": b'{"a":{"b":1,"b":2}}', "in two spellings": b'{"a":1,"\\u0061":2}'}
NUMBERS = {"a float": b"1.5", "a whole float": b"1.0", "an exponent": b"1e3", "a huge exponent": b"1e1000000", "many digits": b"9" * 5_000}
DEEP = {
    "open lists": b"[" * 100_000,
    "lists": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "mixed": b'[{"a":' * 5_000 + b"1" + b"}]" * 5_000,
    "hidden behind texts": b'{"a":["]",' + b'["]",' * 30 + b"1" + b"]" * 31 + b"}",
    "hidden behind escapes": b'{"a":["\\"]",' + b'["\\"]",' * 30 + b"1" + b"]" * 31 + b"}",
}


@pytest.mark.parametrize("text", [*NOT_JSON.values(), *TWICE.values(), *DEEP.values()], ids=[*NOT_JSON, *TWICE, *DEEP])
def test_t30_a_body_that_is_not_strict_json_is_malformed(text):
    with pytest.raises(Malformed):
        json_body.parse_json_object(text)


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_t31_a_number_that_is_no_ordinary_integer_is_malformed(number):
    with pytest.raises(Malformed):
        json_body.parse_json_object(b'{"a":%b}' % number)


def test_floats_pass_only_where_the_caller_says_so():
    assert json_body.parse_json_object(b'{"a":1.5}', json_body.parse_float) == {"a": 1.5}
    for text in (b'{"a":1e400}', b'{"a":NaN}'):
        with pytest.raises(Malformed):
            json_body.parse_json_object(text, json_body.parse_float)


def test_decimals_pass_exactly_where_the_caller_says_so():
    parsed = json_body.parse_json_object(b'{"a":8.470,"b":1e400,"c":3}', json_body.parse_decimal)
    assert parsed == {"a": Decimal("8.470"), "b": Decimal("1E+400"), "c": 3}
    for text in (b'{"a":0.12345678901234567890123456789}', b'{"a":NaN}', b'{"a":123456789012345678}'):
        with pytest.raises(Malformed):
            json_body.parse_json_object(text, json_body.parse_decimal)


@pytest.mark.parametrize(("levels", "deep"), [(20, False), (21, True)])
def test_t30_twenty_levels_may_be_nested_and_no_more(levels, deep):
    assert json_body.is_too_deep(b'{"a":' * levels + b"1" + b"}" * levels) is deep


@given(
    st.dictionaries(st.text(max_size=20), st.recursive(st.text(max_size=20) | st.integers(0, 10**15), st.lists, max_leaves=20), max_size=8)
)
def test_any_ordinary_object_is_read_as_it_is(document):
    for escaped in (True, False):
        assert json_body.parse_json_object(json.dumps(document, ensure_ascii=escaped).encode()) == document


@given(st.recursive(st.text('[]{}",\\a', max_size=6), lambda inner: st.lists(inner, max_size=3), max_leaves=60))
def test_the_count_of_levels_is_exact_whatever_the_texts_hold(value):
    def levels(item) -> int:
        return 1 + max(map(levels, item), default=0) if isinstance(item, list) else 0

    assert json_body.is_too_deep(json.dumps([value]).encode()) is (levels([value]) > json_body.MAX_DEPTH)


FRACTION_WITH_ESCAPE = b'{"model":"gpt-4o","usage":{"input":5,"second":8.47},"attributes":{"region":"\\u00e9"}}'
QUOTE_WITH_ESCAPE = b'{"price":{"currency":"USD","rates":[]},"usage":{"second":8.47},"attributes":{"region":"\\u00e9"}}'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/cost", FRACTION_WITH_ESCAPE),
        ("/usage", FRACTION_WITH_ESCAPE),
        ("/cost/batch", b'{"items":[' + FRACTION_WITH_ESCAPE + b"]}"),
        ("/quote", QUOTE_WITH_ESCAPE),
        ("/compare", b'{"usage":{"second":8.47},"attributes":{"region":"\\u00e9"}}'),
    ],
)
def test_a_body_can_have_a_fraction_and_an_escaped_character(app, path, body):
    client = api_for(app, "registry:read", "usage:write")
    headers = {"Content-Type": "application/json", "Idempotency-Key": "one"}
    response = client.request("POST", path, data=body, headers=headers)
    assert response.status_code == (201 if path == "/usage" else 200)
    lone = client.request("POST", path, data=body.replace(b"\\u00e9", b"\\ud800"), headers=headers)
    assert (lone.status_code, lone.json["code"]) == (400, "malformed_json")


def test_a_body_of_another_kind_is_415(reader):
    for kind in ("text/plain", "application/json-but-not-quite", "multipart/form-data", ""):
        answer = reader.post("/cost", data=MINI % b"{}", content_type=kind)
        assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")
    assert reader.post("/cost", data=MINI % b"{}", content_type="application/json; charset=latin-1").status_code == 415
    assert reader.post("/cost", data=MINI % b"{}", content_type="application/json; charset=UTF-8").status_code == 200


def test_t29_a_body_of_more_than_a_megabyte_is_413(reader):
    padded = b'{"model":"%b","usage":{}}' % (b"x" * 1_000_000)
    answer = reader.post("/cost", data=padded, content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


def test_t29_a_compressed_body_is_not_unpacked(reader):
    answer = reader.post("/cost", data=b"\x1f\x8b\x08", content_type="application/json", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400


def test_a_request_without_fields_takes_an_empty_object_and_nothing_else(app):
    for sent in ({}, {"json": {}}):
        with app.test_request_context(method="POST", **sent):
            json_body.require_no_fields()
            assert request.method == "POST"
    with app.test_request_context(method="POST", json={"active": True}), pytest.raises(Malformed):
        json_body.require_no_fields()
