"""Tests of names that several models have: only active models compete, so inactive models never change a name in use."""

from dataclasses import replace

import pytest
from factories import NOW, START, a_model, a_snapshot
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import Override, ProviderInfo
from webapp.domain.catalog.explanation import explain
from webapp.domain.catalog.resolution import index_names, normal_forms, resolve, trace_resolution
from webapp.domain.catalog.snapshot import CONSTANTS, build, project_snapshot
from webapp.domain.shared.errors import AmbiguousModel

GPT = a_model("gpt-4o", "openai", aliases=("omni", "gpt-4o-2024-08-06"))
RESOLD = a_model("gpt-4o", "azure", aliases=("azure-omni",), active=False)
LEGACY = a_model("legacy", "azure", aliases=("old-name", "omni"), active=False)


@pytest.mark.parametrize("name", ["gpt-4o", "omni", "openai/omni", "GPT-4o", " Omni", "models/gpt-4o", "gpt-4o-20240806"])
@pytest.mark.parametrize("flip", [False, True])
def test_an_active_model_keeps_its_names_next_to_inactive_ones(name, flip):
    names = index_names((RESOLD, LEGACY, GPT)[:: -1 if flip else 1])
    assert resolve(names, name) is GPT


def test_the_alias_of_an_inactive_model_yields_to_the_id_of_an_active_one_and_the_other_way_round():
    by_id, by_alias = a_model("nova", "acme"), a_model("n-1", "beta", aliases=("nova",))
    assert resolve(index_names((by_id, replace(by_alias, active=False))), "nova") is by_id
    assert resolve(index_names((replace(by_id, active=False), by_alias)), "nova") is by_alias


@pytest.mark.parametrize(
    "name", ["azure/gpt-4o", "Azure/GPT-4o", "azure-omni", "azure/azure-omni", "legacy", "old-name", "OLD-NAME", "azure/omni"]
)
def test_an_inactive_model_has_its_full_ref_and_every_name_that_no_active_model_has(name):
    names = index_names((GPT, RESOLD, LEGACY))
    assert resolve(names, name) is (RESOLD if "gpt" in name.lower() or "azure-omni" in name else LEGACY)


def test_a_name_of_several_inactive_models_is_ambiguous():
    names = index_names((RESOLD, replace(RESOLD, provider="other", ref="other/gpt-4o")))
    with pytest.raises(AmbiguousModel):
        resolve(names, "gpt-4o")


def test_a_pattern_of_an_inactive_model_counts_only_if_no_active_model_has_the_name_or_a_pattern():
    names = index_names((GPT, LEGACY), [("ft:gpt-4o:*", LEGACY.ref), ("ft:*", GPT.ref), ("omni*", LEGACY.ref), ("x-*", LEGACY.ref)])
    assert [resolve(names, name) for name in ("ft:gpt-4o:acme", "omni", "x-1")] == [GPT, GPT, LEGACY]


def test_a_retired_model_keeps_its_names():
    retired = a_model("gpt-4o", "openai", retires_on=START.date())
    snapshot = a_snapshot(retired, RESOLD)
    assert (snapshot.by_name["gpt-4o"].ref, snapshot.by_name["gpt-4o"].supported) == ("openai/gpt-4o", False)


def test_the_explanation_names_the_inactive_models_that_are_not_used():
    names = index_names((GPT, RESOLD, LEGACY))
    steps = explain(names, "gpt-4o", NOW).steps
    assert [(step.name, step.refs) for step in steps[-2:]] == [
        ("inactive models with this name, not used", ("azure/gpt-4o",)),
        ("bare model id", ("openai/gpt-4o",)),
    ]
    assert explain(names, "legacy", NOW).steps[-1].name == "name of an inactive model"
    assert "not used" not in str(explain(names, "azure/gpt-4o", NOW).steps)


def test_a_name_means_the_same_model_for_a_project_that_cannot_use_it():
    rule = Override("blue", "allow", "azure/legacy", START)
    legacy = a_model("legacy", "azure")
    blue = project_snapshot(a_snapshot(GPT, RESOLD, legacy, overrides=(rule,)), "blue", NOW)
    model = resolve(blue.names, "gpt-4o")
    assert (model.ref, model.supported, blue.by_name["gpt-4o"]) == ("openai/gpt-4o", False, model)


IDS = ("a", "A", "b", "a-2024-01-02", "a-20240102", "p/a", "q/A", "models/a")
MODELS = st.builds(
    lambda model_id, provider, aliases, active: a_model(model_id, provider, aliases=tuple(aliases), active=active),
    st.sampled_from(IDS),
    st.sampled_from("pq"),
    st.sets(st.sampled_from(IDS), max_size=2),
    st.booleans(),
)
REGISTRIES = st.lists(MODELS, max_size=6, unique_by=lambda model: model.ref)
QUERIES = st.one_of(st.sampled_from(IDS), st.builds("{}/{}".format, st.sampled_from("pqPQ"), st.sampled_from(IDS)))


@given(REGISTRIES, QUERIES)
def test_inactive_models_change_no_name_of_an_active_model_except_their_own_refs(models, name):
    active = tuple(model for model in models if model.active)
    before, _ = trace_resolution(index_names(active), name)
    own_refs = {model.ref.lower() for model in models if not model.active}
    if before and not own_refs & {name, *normal_forms(name)}:
        assert trace_resolution(index_names(models), name)[0] == before


@given(REGISTRIES)
def test_the_direct_lookup_agrees_with_the_resolution(models):
    names = index_names(models)
    for name, model in names.exact_matches().items():
        assert trace_resolution(names, name)[0] == (model,)


def test_five_thousand_inactive_rows_change_no_name_of_the_built_in_registry():
    catalog = constants()
    names = {name for model in catalog.models for name in (model.ref, model.model_id, *model.aliases)}
    resellers = tuple(ProviderInfo(f"reseller-{number}", "Reseller", "custom") for number in range(21))
    rows = tuple(
        replace(model, provider=seller.slug, ref=f"{seller.slug}/{model.model_id}", active=False, default=False)
        for seller in resellers
        for model in catalog.models
    )
    assert len(rows) > 5_000
    before = build(catalog, now=NOW, source=CONSTANTS)
    after = build(replace(catalog, providers=catalog.providers + resellers, models=catalog.models + rows), now=NOW, source=CONSTANTS)
    changed = {name for name in names if trace_resolution(before.names, name)[0] != trace_resolution(after.names, name)[0]}
    assert (changed, before.by_name.keys() - after.by_name.keys()) == (set(), set())


def test_a_pattern_of_an_active_model_comes_before_the_name_of_an_inactive_one():
    active = a_model("claude", "anthropic")
    inactive = a_model("claude-x", "reseller", active=False)
    names = index_names((active, inactive), [("claude-*", "anthropic/claude")])
    assert resolve(names, "claude-x") == active
    assert resolve(names, "reseller/claude-x") == inactive


def test_an_alias_in_capitals_leaves_the_other_spellings_of_an_id_alone():
    snapshot = a_snapshot(a_model("gpt-4o", "openai", id=1), a_model("other", "openai", id=2, aliases=("GPT-4o",)))
    assert resolve(snapshot.names, "GPT-4o").model_id == "other"
    for ref in ("gpt-4o", "models/gpt-4o", "Gpt-4O", "openai/Gpt-4o", "OpenAI/gpt-4o"):
        assert resolve(snapshot.names, ref).model_id == "gpt-4o", ref


def test_a_name_in_another_case_means_the_lower_case_id_if_there_is_one():
    snapshot = a_snapshot(a_model("deepseek-v3", id=1), a_model("DeepSeek-V3", id=2))
    assert resolve(snapshot.names, "DeepSeek-v3").model_id == "deepseek-v3"
    with pytest.raises(AmbiguousModel):
        resolve(a_snapshot(a_model("DeepSeek-V3", id=1), a_model("DEEPSEEK-v3", id=2)).names, "deepseek-v3")
