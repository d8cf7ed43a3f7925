"""Bodies that could take quadratic time: unterminated strings full of escapes."""

import time

import pytest

from webapp.api.v1.core.json_body import parse_json_object
from webapp.domain.shared.errors import Malformed

BOMBS = {
    "an endless string of escaped quotes": b'"' + b'\\"' * 300_000,
    "a bracket and then only escaped quotes": b'{"a":"[' + b'\\"' * 450_000,
    "quotes only": b'"' * 999_999,
    "strings that open and never close": b'"[' * 400_000,
    "backslashes only": b"\\" * 999_999,
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS.keys())
def test_t30_a_string_without_an_end_is_refused_in_one_pass(body):
    began = time.thread_time()
    with pytest.raises(Malformed):
        parse_json_object(body)
    assert time.thread_time() - began < 2  # Seconds of CPU time. A search for another start in it took many minutes.


@pytest.mark.parametrize("body", [b'{"a":"\\\\"}', b'{"a":"\\\\\\"[["}', b'{"a":{"b":"]\\"}"}}', b'{"a":"[[[[[[[[[[[[[[[[[[[[[[["}'])
def test_brackets_and_quotes_inside_of_strings_are_only_text(body):
    assert parse_json_object(body)
