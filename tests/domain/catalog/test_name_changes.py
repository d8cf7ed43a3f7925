"""Tests of the names that a change gives another meaning."""

from itertools import chain

import pytest
from factories import a_model
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.name_changes import ModelNames, find_name_changes, names_confirmations
from webapp.domain.catalog.resolution import index_names, trace_resolution


def names(key, provider, model_id, *aliases, active=True, patterns=()):
    return ModelNames(key, provider, model_id, active, frozenset(aliases), frozenset(patterns))


GPT = names(1, "openai", "gpt-4o", "omni", "gpt-4o-2024-08-06", patterns=("ft:gpt-4o:*",))
AZURE = names(2, "azure", "gpt-4o")


def changes(before, after):
    return [str(change) for change in find_name_changes(before, after)]


@pytest.mark.parametrize("added", [AZURE, AZURE._replace(model_id="x", aliases=frozenset({"gpt-4o"}))])
def test_an_active_model_with_an_id_in_use_changes_it_and_an_inactive_one_does_not(added):
    assert [change.name for change in find_name_changes([GPT], [GPT, added])] == ["gpt-4o"]
    assert changes([GPT], [GPT, added._replace(active=False)]) == []


def test_activating_and_deactivating_change_names_like_adding_and_removing():
    idle = AZURE._replace(active=False)
    ambiguous = "gpt-4o means openai/gpt-4o and would be ambiguous (azure/gpt-4o, openai/gpt-4o)"
    assert changes([GPT, idle], [GPT, AZURE]) == changes([GPT], [GPT, AZURE]) == [ambiguous]
    other = GPT._replace(active=False, aliases=frozenset(), patterns=frozenset())
    assert changes([GPT, idle], [other, idle]) == [ambiguous]


def test_a_name_that_is_ambiguous_or_unknown_before_is_not_in_use_and_a_name_that_disappears_is_left_out():
    assert changes([GPT, AZURE], [GPT]) == []
    assert changes([GPT], []) == []
    assert changes([], [GPT, AZURE]) == []
    assert changes([GPT], [GPT._replace(aliases=frozenset())]) == []


def test_a_renamed_model_keeps_the_meaning_of_its_other_names():
    assert changes([GPT], [GPT._replace(model_id="gpt-4o-new")]) == []
    assert changes([GPT, AZURE._replace(model_id="x")], [GPT._replace(provider="moved"), AZURE._replace(model_id="x")]) == []


def test_a_deleted_model_gives_its_name_to_another_one():
    other = names(3, "beta", "omni")
    assert changes([GPT, other], [other]) == ["omni means openai/gpt-4o and would mean beta/omni"]


def test_a_moved_alias_is_a_changed_name_behind_its_provider_too():
    mini = names(3, "openai", "gpt-4o-mini")
    after = [GPT._replace(aliases=frozenset()), mini._replace(aliases=frozenset({"omni"}))]
    moved = [change for change in changes([GPT, mini], after) if "omni" in change]
    assert moved == [f"{name} means openai/gpt-4o and would mean openai/gpt-4o-mini" for name in ("omni", "openai/omni")]


def test_a_ref_of_a_new_inactive_model_takes_the_bare_id_of_a_gateway():
    gateway = names(1, "openrouter", "mistralai/mistral-large")
    added = names(2, "mistralai", "mistral-large", active=False)
    assert changes([gateway], [gateway, added]) == [
        "mistralai/mistral-large means openrouter/mistralai/mistral-large and would mean mistralai/mistral-large"
    ]


@pytest.mark.parametrize(
    ("added", "name"),
    [
        (names(2, "azure", "ft:gpt-4o:acme"), "ft:gpt-4o:acme"),
        (names(2, "azure", "x", patterns=("ft:gpt-4o:acme:*",)), "ft:gpt-4o:acme:*"),
        (names(2, "azure", "gpt-4o-20240806"), "gpt-4o-20240806"),
        (names(2, "azure", "models/GPT-4o", active=True), "models/GPT-4o"),
        (names(2, "azure", "GPT-4o"), "GPT-4o"),
        (names(2, "OPENAI", "gpt-4o", active=False), "OPENAI/gpt-4o"),
    ],
)
def test_names_that_matched_a_pattern_or_another_spelling_count(added, name):
    assert name in [change.name for change in find_name_changes([GPT], [GPT, added])]


def test_spellings_that_no_model_has_exactly_can_become_ambiguous():
    before = [names(1, "acme", "Model-X")]
    assert changes(before, [*before, names(2, "beta", "MODEL-X")]) == [
        "MODEL-X means acme/Model-X and would mean beta/MODEL-X",
        "models/model-x means acme/Model-X and would be ambiguous (acme/Model-X, beta/MODEL-X)",
    ]


def test_a_pattern_takes_the_name_of_an_inactive_model():
    idle = names(3, "acme", "nova-1", active=False)
    (change,) = find_name_changes([GPT, idle], [GPT._replace(patterns=frozenset({"nova-*"})), idle])
    assert (change.name, change.before, change.after, change.active) == ("nova-1", "acme/nova-1", ("openai/gpt-4o",), False)


IDS = ("a", "A", "b", "a-2024-01-02", "a-20240102", "p/a", "q/A", "models/a")
PATTERNS = ("a*", "a-2024*", "p/*", "*")
MODELS = st.builds(
    lambda model_id, provider, aliases, patterns, active: ModelNames(
        f"{provider}/{model_id}", provider, model_id, active, frozenset(aliases), frozenset(patterns)
    ),
    st.sampled_from(IDS),
    st.sampled_from("pq"),
    st.sets(st.sampled_from(IDS), max_size=2),
    st.sets(st.sampled_from(PATTERNS), max_size=1),
    st.booleans(),
)
REGISTRIES = st.lists(MODELS, max_size=5, unique_by=lambda model: model.ref)


def meaning(models, name):
    infos = [a_model(model.model_id, model.provider, aliases=tuple(model.aliases), active=model.active) for model in models]
    index = index_names(infos, [(pattern, model.ref) for model in models for pattern in model.patterns])
    return sorted(model.ref for model in trace_resolution(index, name)[0])


@given(REGISTRIES, REGISTRIES, st.sets(st.integers(0, 4)))
def test_every_name_of_a_model_that_gets_another_meaning_is_found(kept, replaced, positions):
    before = kept
    after = [model for number, model in enumerate(kept) if number not in positions]
    after += [model for model in replaced if model.ref not in {other.ref for other in after}]
    expected = set()
    for name in set(chain.from_iterable(model.names() for model in (*before, *after))):
        old, new = meaning(before, name), meaning(after, name)
        if len(old) == 1 and new and old != new:
            expected.add(name)
    found = {change.name for change in find_name_changes(before, after)}
    assert expected <= found
    for change in find_name_changes(before, after):
        assert ([change.before], list(change.after)) == (meaning(before, change.name), meaning(after, change.name))


def test_the_names_of_the_built_in_registry_are_compared_with_thousands_of_new_models():
    seed = [ModelNames(model.ref, model.provider, model.model_id, True, frozenset(model.aliases)) for model in constants().models]
    resold = [
        model._replace(key=(seller, model.ref), provider=f"reseller-{seller}", aliases=frozenset(), active=False)
        for seller in range(20)
        for model in seed
    ]
    assert find_name_changes(seed, seed + resold) == []
    activated = [resold[0]._replace(active=True), *resold[1:]]
    (change,) = find_name_changes(seed + resold, seed + activated)
    assert (change.name, len(change.after)) == (seed[0].model_id, 2)


def test_a_confirmation_names_ten_names_and_its_key_stands_for_all_of_them():
    before = [names(number, "acme", f"m-{number:02}") for number in range(12)]
    after = before + [model._replace(key=-1 - model.key, provider="beta") for model in before]
    changed = find_name_changes(before, after)
    (confirmation,) = names_confirmations(changed)
    assert confirmation.message.startswith("12 names in use get another meaning: m-00 means acme/m-00 and would be ambiguous")
    assert (confirmation.message.count(" means "), confirmation.message.endswith("; and 2 more.")) == (10, True)
    (same,) = names_confirmations(changed[::-1])
    (fewer,) = names_confirmations(changed[:11])
    assert confirmation.key == same.key != fewer.key
    assert names_confirmations([]) == []
