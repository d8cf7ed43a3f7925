"""Tests of the origins that a variable of the server's environment can be sent to."""

import pytest

from webapp.domain.catalog.builtin import catalog_document
from webapp.domain.catalog.input_schemas import validate_provider
from webapp.domain.credentials.environment_keys import VENDOR_ORIGINS, parse_bindings, read_environment_keys
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.urls import parse_origin
from webapp.drivers import DRIVERS

OURS = {"MODELDESK_SECRET_KEY": "one", "MODELDESK_ENCRYPTION_KEYS": "two", "DATABASE_URL": "three", "PGPASSWORD": "four"}
OPENAI, EVIL = "https://api.openai.com", "https://evil.example"


def test_a_variable_is_sent_to_its_vendor_and_to_nobody_else():
    keys = read_environment_keys({"OPENAI_API_KEY": " sk-1 "}, {})
    assert (keys.first_usable(["OPENAI_API_KEY"], OPENAI), keys.value_of("OPENAI_API_KEY")) == ("OPENAI_API_KEY", "sk-1")
    assert [keys.first_usable(["OPENAI_API_KEY"], origin) for origin in (EVIL, "http://api.openai.com", f"{OPENAI}:8443", None)] == [
        None
    ] * 4
    assert (keys.first_unbound(["OPENAI_API_KEY"], EVIL), keys.first_unbound(["OPENAI_API_KEY"], OPENAI)) == ("OPENAI_API_KEY", None)


def test_the_first_variable_that_is_set_and_may_be_sent_is_used():
    keys = read_environment_keys({"ACME_KEY": "a", "OPENAI_API_KEY": "b", "XAI_API_KEY": ""}, {"ACME_KEY": frozenset({EVIL})})
    assert keys.first_usable(["XAI_API_KEY", "ACME_KEY", "OPENAI_API_KEY"], OPENAI) == "OPENAI_API_KEY"


def test_nothing_is_remembered_but_keys_and_the_words_beside_them():
    keys = read_environment_keys({**OURS, "HOME": "/root", "OPENAI_API_KEY": "b", "OPENAI_MODEL": "gpt-5"}, {})
    assert set(keys.values) == {"OPENAI_API_KEY", "OPENAI_MODEL"}
    assert "gpt-5" not in repr(keys)


def test_what_the_operator_binds_replaces_what_is_shipped():
    keys = read_environment_keys({"OPENAI_API_KEY": "b"}, parse_bindings("OPENAI_API_KEY=https://gateway.acme.example"))
    assert (keys.first_usable(["OPENAI_API_KEY"], OPENAI), keys.first_usable(["OPENAI_API_KEY"], "https://gateway.acme.example")) == (
        None,
        "OPENAI_API_KEY",
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("A=https://Llm.Acme.example/", {"A": {"https://llm.acme.example"}}),
        ("A=https://x.example:443, A=http://10.0.0.5:8080", {"A": {"https://x.example", "http://10.0.0.5:8080"}}),
        ("A=http://x.example:80,B_2=http://[::1]:8080,", {"A": {"http://x.example"}, "B_2": {"http://[::1]:8080"}}),
    ],
)
def test_bindings_are_read_as_base_urls_are(written, meant):
    assert parse_bindings(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "A",
        "A=",
        "=https://x.example",
        "a=https://x.example",
        "A=x.example",
        "A=https://x.example/v1",
        "A=https://u@x.example",
        "A=*",
        "A=https://127.1",
    ],
)
def test_bindings_that_make_no_sense_are_refused(written):
    with pytest.raises(ValueError, match="must be pairs"):
        parse_bindings(written)


@pytest.mark.parametrize("name", [*OURS, "MODELDESK_ANYTHING"])
def test_t20_no_setting_of_modeldesk_can_be_named_as_a_key(name):
    with pytest.raises(ValueError, match="never sent"):
        parse_bindings(f"{name}=https://x.example")
    with pytest.raises(Invalid, match="required_environment") as refused:
        validate_provider({"slug": "acme", "display_name": "Acme", "driver": "custom", "required_environment": [name]}, partial=False)
    assert "never sent" in refused.value.errors[0].message


def test_the_table_agrees_with_the_drivers_and_the_catalogue():
    named = {info.key_variable: {parse_origin(info.base_url)} for info in DRIVERS.values() if info.key_variable}
    seeded = {
        name: {parse_origin(provider["base_url"])}
        for provider in catalog_document()["providers"]
        for name in provider["required_environment"]
    }
    assert set(VENDOR_ORIGINS) == named.keys() | seeded.keys()
    assert all(origins <= VENDOR_ORIGINS[name] for name, origins in (named | seeded).items())
