"""Trusted Types (T25): in a browser that supports them, no text becomes a script on any page."""

import re

import pytest

pytestmark = pytest.mark.browser
SCRIPTS_FROM_TEXT = {
    "the text of a script": "document.createElement('script').textContent = 'window.ran = 1'",
    "the address of a script": "document.createElement('script').src = '/admin/exchange/export.js'",
    "eval": "(0, eval)('window.ran = 1')",
    "the address of a script elsewhere": "document.createElement('script').src = 'https://evil.example/x.js'",
    "another policy": "trustedTypes.createPolicy('mine', { createScript: (text) => text })",
}

# Runs in a timer, because code that a debugger runs directly can call eval.
LATER = """() => new Promise((done) => setTimeout(() => { try { %s; done("done") } catch (error) { done(error.name) } }))"""


@pytest.mark.parametrize("attempt", SCRIPTS_FROM_TEXT.values(), ids=SCRIPTS_FROM_TEXT.keys())
def test_t25_no_text_becomes_a_script(ann, watch, attempt):
    refused = ann.evaluate(LATER % attempt)
    assert refused in ("TypeError", "EvalError")
    assert ann.evaluate("() => window.ran") is None
    # The browser reports this violation and nothing else.
    assert watch.complaints
    assert [text for text in watch.complaints if not re.search("Trusted|trusted-types|unsafe-eval", text)] == []
    watch.complaints.clear()
