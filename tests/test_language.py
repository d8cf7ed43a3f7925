"""The ban list of docs/language.md: names are free of it, prose and text never get worse."""

import subprocess
import sys

import pytest

from webapp.config.settings import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import check_commits  # a script, in no package
import language  # a script, in no package

# How many hits there still are in what users read. The number may only fall.
MAX_TEXT_HITS = 436


@pytest.mark.parametrize("sentence", language.GOOD)
def test_a_good_sentence_passes(sentence):
    assert list(language.search(sentence, "", 1, ["prose", "text"])) == []


def test_names_are_free_of_banned_words():
    assert [str(hit) for hit in language.identifier_hits()] == []


def test_docstrings_and_comments_are_free_of_banned_words():
    assert [str(hit) for hit in language.prose_hits()] == []


def test_what_users_read_has_no_more_banned_words_than_before():
    hits = list(language.text_hits())
    assert len(hits) <= MAX_TEXT_HITS, "\n".join(map(str, hits))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("found = 1", "found"),
        ("def facts(): ...", "facts"),
        ("def add(other): ...", "other"),
        ("class Told: ...", "Told"),
        ("try: ...\nexcept ValueError as one: ...", "one"),
        ("from x import y as moment", "moment"),
        ("MOST_ROWS = 3", "MOST_ROWS"),
    ],
)
def test_a_banned_name_is_seen_wherever_it_is_bound(code, name, tmp_path, monkeypatch):
    monkeypatch.setattr(language, "ROOT", tmp_path)
    (tmp_path / "example.py").write_text(code)
    assert [hit.text for hit in language.identifier_hits(["example.py"])] == [name]


def test_a_parameter_of_a_special_method_is_exempt(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "ROOT", tmp_path)
    (tmp_path / "example.py").write_text("class A:\n    def __eq__(self, other): ...")
    assert list(language.identifier_hits(["example.py"])) == []


@pytest.mark.parametrize(
    ("code", "line"),
    [('"""Nobody may."""\n', 1), ("x = 1  # it is cheap, just so.\n", 1), ('def f():\n    """Ask\n\n    whoever is there."""\n', 4)],
)
def test_a_banned_word_is_seen_in_docstrings_and_comments(code, line, tmp_path, monkeypatch):
    monkeypatch.setattr(language, "ROOT", tmp_path)
    (tmp_path / "example.py").write_text(code)
    assert [hit.line for hit in language.prose_hits(["example.py"])] == [line]


def test_words_in_code_and_messages_are_not_prose(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "ROOT", tmp_path)
    (tmp_path / "example.py").write_text('"""Reads `nobody`."""\nx = "nobody is there"\n')
    assert list(language.prose_hits(["example.py"])) == []


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Add a price filter\n\nStaff asked for it.", None),
        ("Add a price filter", "the body is empty"),
        ("Adds a price filter\n\nReason.", "imperative"),
        ("add a price filter\n\nReason.", "imperative"),
        (f"Add {'x' * 70}\n\nReason.", "characters"),
        ("Add a filter because staff asked\n\nReason.", "because"),
        ("Add a filter.\n\nReason.", "no final period"),
        ("Merge branch 'x'", None),
    ],
)
def test_a_commit_message_is_checked(message, problem):
    lines = list(check_commits.problems(message))
    assert (problem is None) is not bool(lines)
    assert problem is None or any(problem in line for line in lines)


def test_the_hook_refuses_a_bad_message_and_says_why(tmp_path):
    (tmp_path / "message").write_text("Fixed things\n# a comment of git\n")
    command = [sys.executable, ROOT / "scripts/check_commits.py", tmp_path / "message"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert "imperative" in run.stdout
    assert "the body is empty" in run.stdout


def test_a_space_between_an_expression_of_a_template_and_a_percent_sign_is_found():
    hits = [
        hit.text for markup in ("{{ share }} %", "{{ share }}%") for hit in language.search(language.visible_text(markup), "x", 1, ["text"])
    ]
    assert hits == ["0 %"]
