"""Texts in templates keep the spelling of the names in them."""

import pytest

from webapp.web.templating import as_sentence, first_upper


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rule of the project ACME", "Rule of the project ACME."),
        ("successor of openai/GPT-4o", "Successor of openai/GPT-4o."),
        ("must have 6 digits, as in Google Authenticator.", "Must have 6 digits, as in Google Authenticator."),
        ("is it right?", "Is it right?"),
        ("é", "É."),
    ],
)
def test_a_message_becomes_a_sentence_and_keeps_its_names(text, sentence):
    assert as_sentence(text) == sentence


def test_an_empty_label_stays_empty():
    assert first_upper("") == ""
