"""Templates comply with the content security policy: nothing inline, and nothing that htmx evaluates. Names keep their spelling."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static" / "js").glob("*.js"))
JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
FORBIDDEN = {
    "an inline handler": re.compile(r"""\son[a-z]+\s*=\s*["'{]""", re.IGNORECASE),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
    "an inline style": re.compile(r"""\sstyle\s*=|<style\b""", re.IGNORECASE),
    "an inline script": re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE),
    "an attribute that htmx evaluates": re.compile(r"""hx-on|hx-vals\s*=\s*["']js:|hx-trigger\s*=\s*["'][^"']*\["""),
    "a filter that changes the spelling of names": re.compile(r"\|\s*(?:capitalize|title)\b"),
    "another host": re.compile(r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//"""),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_template_contains(what):
    matches = [path.name for path in TEMPLATES if FORBIDDEN[what].search(JINJA_COMMENT.sub("", path.read_text()))]
    assert matches == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("an inline handler", '<a onclick="x()">'),
        ("an inline style", '<p style="color: red">'),
        ("an inline script", "<script>x()</script>"),
        ("an attribute that htmx evaluates", '<a hx-trigger="click[ctrlKey]">'),
        ("a filter that changes the spelling of names", "{{ error|capitalize }}"),
        ("another host", '<img src="//example.com/x.png">'),
    ],
)
def test_what_is_forbidden_would_be_found(what, text):
    assert FORBIDDEN[what].search(text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_evaluates_text_or_writes_markup(path):
    assert re.search(r"\beval\(|new Function|innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write", path.read_text()) is None
