"""Tests of suggestions for names with decoration of vendors and gateways. No decorated name is resolved."""

import time

import pytest
from factories import a_model

from webapp.domain.catalog.resolution import index_names, resolve, suggest_refs
from webapp.domain.catalog.vendor_names import fine_tune_hint, plain_forms
from webapp.domain.shared.errors import UnknownModel

NAMES = index_names(
    (
        a_model("claude-sonnet-4-5", "anthropic", aliases=("claude-sonnet-4-5-20250929",)),
        a_model("claude-sonnet-4-20250514", "anthropic"),
        a_model("gpt-4o-mini", "openai", aliases=("gpt-4o-mini-2024-07-18",)),
        a_model("gpt-4o", "openai"),
        a_model("gpt-4.1-mini", "openai"),
        a_model("grok-4-0709", "xai", aliases=("grok-4",)),
        a_model("gemini-2.5-pro", "google"),
        a_model("mistral-large-2512", "a-reseller"),
        a_model("mistral-large-2512", "mistral"),
        a_model("meta-llama/llama-3.1-70b", "together"),
        a_model("@cf/meta/llama-3.1-8b-instruct", "cloudflare"),
        a_model("claude-sonnet-4-5", "azure", active=False),
        a_model("anthropic/claude-sonnet-4.5", "gateway", active=False),
    )
)
SONNET, MINI = "anthropic/claude-sonnet-4-5", "openai/gpt-4o-mini"


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        *[
            (f"{region}.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET)
            for region in ("us", "eu", "apac", "global", "jp", "au", "us-gov")
        ],
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0:200k", SONNET),
        ("US.Anthropic.Claude-Sonnet-4-5-20250929-V1:0", SONNET),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET),
        ("bedrock/us-east-1/anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET),
        ("claude-sonnet-4-5@20250929", SONNET),
        ("vertex_ai/claude-sonnet-4-5@20250929", SONNET),
        ("claude-sonnet-4-5@default", SONNET),
        ("claude-sonnet-4.5", SONNET),
        ("anthropic/claude-sonnet-4.5:free", SONNET),
        ("openrouter/anthropic/claude-sonnet-4.5:beta", SONNET),
        ("claude-sonnet-4-5-20251231", SONNET),
        ("ft:gpt-4o-mini-2024-07-18:acme::Bz", MINI),
        ("ft:gpt-4o-mini-2024-07-18:acme:suffix:Bz", MINI),
        ("openai/ft:gpt-4o-mini-2024-07-18:acme::Bz", MINI),
        ("gpt-4o-mini-2024-07-18.ft-0123456789abcdef", MINI),
        ("azure/gpt-4o-mini", MINI),
        ("openrouter/openai/gpt-4o-mini:free", MINI),
        ("gpt-4-1-mini", "openai/gpt-4.1-mini"),
        ("x-ai/grok-4", "xai/grok-4-0709"),
        ("openrouter/x-ai/grok-4", "xai/grok-4-0709"),
        ("gemini/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("mistralai/mistral-large-2512", "mistral/mistral-large-2512"),
        ("openrouter/meta-llama/llama-3.1-70b:free", "together/meta-llama/llama-3.1-70b"),
        ("workers-ai/@cf/meta/llama-3.1-8b-instruct", "cloudflare/@cf/meta/llama-3.1-8b-instruct"),
        ("gpt-4.1-minni", "openai/gpt-4.1-mini"),
        ("claude-sonnet-4-5-2025092", SONNET),
    ],
)
def test_a_decorated_name_stays_unknown_and_its_plain_model_is_the_first_suggestion(name, ref):
    with pytest.raises(UnknownModel) as unknown:
        resolve(NAMES, name)
    assert unknown.value.suggestions[0] == ref


@pytest.mark.parametrize("name", ["ft:gpt-4o-mini-2024-07-18:acme::Bz", "openai/ft:gpt-4o:a::b", "ft:no-such:x", "gpt-4o.ft-0123"])
def test_the_error_of_a_fine_tuned_model_says_that_it_has_a_price_of_its_own(name):
    with pytest.raises(UnknownModel, match="fine-tuned model has a price of its own"):
        resolve(NAMES, name)
    assert fine_tune_hint("gpt-4o-mini") == fine_tune_hint("soft:ware") == ""


def test_the_fine_tunable_model_itself_is_suggested_if_it_is_in_the_registry():
    names = index_names((a_model("gpt-4o-mini", "openai"), a_model("ft:gpt-4o-mini", "openai")))
    assert suggest_refs(names, "ft:gpt-4o-mini:acme::Bz")[0] == "openai/ft:gpt-4o-mini"


def test_an_active_model_is_suggested_before_an_inactive_one():
    assert suggest_refs(NAMES, "us.anthropic.claude-sonnet-4-5-v1:0")[:2] == [SONNET, "azure/claude-sonnet-4-5"]


@pytest.mark.parametrize("name", ["", " ", "@", "/", "//", ":", "ft:", "ft::", "a/", "us.", "@x", ":free", "-v1:0"])
def test_names_that_are_only_decoration_get_no_suggestion(name):
    assert suggest_refs(NAMES, name) == []


def test_removal_of_decoration_takes_linear_time():
    started = time.thread_time()
    for character in "/.:@-a1":
        plain_forms(character * 300)
        fine_tune_hint("ft:" + character * 1_000_000)
    assert time.thread_time() - started < 1
