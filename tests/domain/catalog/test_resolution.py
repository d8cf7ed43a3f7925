"""Tests of the resolution: each step of the order, without any guess."""

import time

import pytest
from factories import a_model, a_provider, a_snapshot
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.catalog.resolution import index_names, normal_forms, resolve, suggest_refs, trace_resolution
from webapp.domain.shared.errors import AmbiguousModel, UnknownModel

GPT = a_model("gpt-4o", "openai", aliases=("gpt-4o-2024-08-06", "omni"))
MINI = a_model("gpt-4o-mini", "openai")
CLAUDE = a_model("claude-sonnet-4-5", "anthropic", aliases=("claude-sonnet-4-5-20250929",))
GEMINI = a_model("gemini-2.5-pro", "google")
TWIN, OTHER_TWIN = a_model("llama-3", "acme"), a_model("llama-3", "beta")
SLASHED = a_model("openai/gpt-oss", "beta")
MODELS = (GPT, MINI, CLAUDE, GEMINI, TWIN, OTHER_TWIN, SLASHED)
NAMES = index_names(MODELS, [("ft:*", "openai/gpt-4o"), ("ft:gpt-4o-mini*", "openai/gpt-4o-mini"), ("gone-*", "no/such")])


@pytest.mark.parametrize(
    ("ref", "model", "step"),
    [
        ("openai/gpt-4o", GPT, "canonical ref"),
        ("beta/openai/gpt-oss", SLASHED, "canonical ref"),
        ("omni", GPT, "exact alias"),
        ("openai/omni", GPT, "exact alias"),
        ("gpt-4o-mini", MINI, "bare model id"),
        ("openai/gpt-oss", SLASHED, "bare model id"),
        (" GPT-4o ", GPT, "normal form"),
        ("OpenAI/Omni", GPT, "normal form"),
        ("models/gemini-2.5-pro", GEMINI, "normal form"),
        ("publishers/google/models/gemini-2.5-pro", GEMINI, "normal form"),
        ("gpt-4o-20240806", GPT, "normal form"),
        ("claude-sonnet-4-5-2025-09-29", CLAUDE, "normal form"),
        ("ft:gpt-4o-mini:acme", MINI, "pattern ft:gpt-4o-mini*"),
        ("ft:anything", GPT, "pattern ft:*"),
    ],
)
def test_each_name_is_found_at_its_step(ref, model, step):
    models, steps = trace_resolution(NAMES, ref)
    assert (models, steps[-1].name) == ((model,), step)


@pytest.mark.parametrize(
    "ref",
    [
        "gpt-4",
        "gpt-4o-",
        "gpt-4o-latest",
        "gpt-4o-2024-05-13",
        "openai/claude-sonnet-4-5",
        "anthropic/gpt-4o",
        "claude-sonnet-4.5",
        "gemini-2.5",
        "gone-by",
        "openai/",
        "/gpt-4o",
        "",
        " ",
        "*",
        "g?t-4o",
        "gpt-4o\x00",
        "gpt-4o/" * 60,
    ],
)
def test_a_name_that_is_not_one_is_never_guessed(ref):
    with pytest.raises(UnknownModel):
        resolve(NAMES, ref)


@pytest.mark.parametrize("ref", ["llama-3", "LLAMA-3"])
def test_a_name_of_several_models_is_refused_with_the_candidates(ref):
    with pytest.raises(AmbiguousModel) as refused:
        resolve(NAMES, ref)
    assert refused.value.candidates == ("acme/llama-3", "beta/llama-3")


def test_an_alias_comes_before_a_bare_id_and_a_canonical_ref_before_both():
    holder, named = a_model("one", "acme", aliases=("two", "beta/three")), a_model("two", "beta")
    names = index_names((holder, named, a_model("three", "beta")))
    assert (resolve(names, "two"), resolve(names, "beta/three").ref) == (holder, "beta/three")


def test_an_alias_that_reads_like_another_providers_name_is_ambiguous_in_whatever_order():
    direct, resold = a_model("gpt", "openai", aliases=("gpt-x",)), a_model("gpt-r", "router", aliases=("openai/gpt-x",))
    for models in ((direct, resold), (resold, direct)):
        names = index_names(models)
        assert "openai/gpt-x" not in names.exact_matches()
        with pytest.raises(AmbiguousModel):
            resolve(names, "openai/gpt-x")
        assert resolve(names, "gpt-x") is direct


def test_patterns_that_say_equally_much_are_ambiguous_unless_they_lead_to_one_model():
    names = index_names((GPT, MINI), [("ab*", GPT.ref), ("*yz", MINI.ref), ("a*c", GPT.ref), ("?bc", GPT.ref)])
    with pytest.raises(AmbiguousModel):
        resolve(names, "ab-yz")
    assert resolve(names, "abc") is GPT


def test_the_steps_say_what_was_looked_up_and_found():
    _, steps = trace_resolution(NAMES, "gpt-4o-20240806")
    assert [(step.name, step.refs) for step in steps][:3] == [("canonical ref", ()), ("exact alias", ()), ("bare model id", ())]
    assert steps[-1].query == "gpt-4o-2024-08-06"


def test_a_wrong_name_gets_look_alikes_as_suggestions():
    assert suggest_refs(NAMES, "gpt-4o-minni")[0] == "openai/gpt-4o-mini"
    assert suggest_refs(NAMES, "zzz") == suggest_refs(NAMES, "") == []


@given(st.text(), st.sampled_from([model.ref for model in MODELS]))
def test_whatever_is_asked_gets_one_model_or_a_named_error(text, ref):
    for name in (text, ref + text, text + ref):
        try:
            model = resolve(NAMES, name)
        except (UnknownModel, AmbiguousModel):
            continue
        assert model in MODELS


@given(st.text())
def test_a_normal_form_is_its_own_normal_form(text):
    forms = normal_forms(text)
    assert len(forms) <= 3
    assert all(form == form.strip() for form in forms if not text.strip().lower().startswith(("models/", "publishers/")))


def test_a_wrong_name_is_cheap_in_a_large_registry():
    names = index_names(
        [a_model(f"model-{number}", "acme") for number in range(5000)], [(f"*{n}*{n}*{n}*", "acme/model-1") for n in range(200)]
    )
    started = time.thread_time()
    for ref in ("model-x" * 40, "1" * 300, "9" * 1_000_000):
        trace_resolution(names, ref)
        suggest_refs(names, ref)
    assert time.thread_time() - started < 2


def test_the_snapshot_answers_by_every_unambiguous_name():
    snapshot = a_snapshot(*MODELS, providers=tuple(a_provider(slug) for slug in ("openai", "anthropic", "google", "acme", "beta")))
    assert {"openai/gpt-4o", "gpt-4o", "omni", "openai/omni"} <= snapshot.by_name.keys()
    assert "llama-3" not in snapshot.by_name
