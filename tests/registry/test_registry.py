"""The registry with a scripted source and a fixed clock: labels, order, time and threads."""

import threading
from datetime import timedelta

import pytest
from factories import NOW, START, a_model, a_price, a_provider

from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import Catalog, TokenInfo
from webapp.domain.catalog.snapshot import CONSTANTS, DATABASE, LAST_GOOD
from webapp.domain.shared.errors import AmbiguousModel, DatabaseUnreachable, Invalid, UnknownModel
from webapp.registry.last_good import LastGoodCopy
from webapp.registry.loader import RevisionMark
from webapp.registry.refresher import Refresher
from webapp.registry.registry import SETTLE_TIME, ModelRegistry

TOKEN = TokenInfo("abcdefghij", "ci", b"0" * 32, frozenset({"registry:read"}))
ROCKET = a_model("rocket")


class Store:
    """A database that can become unreachable, and that counts its loads."""

    def __init__(self, revision=5, *models, instance="one", tokens=(TOKEN,)):
        self.content = Catalog((a_provider(),), models or (ROCKET,), tokens, (), instance, revision)
        self.away = False
        self.loads = 0
        self.before_load = lambda: None

    def change(self, revision, *models, instance="one"):
        self.content = Catalog((a_provider(),), models or (ROCKET,), (TOKEN,), (), instance, revision)

    def read_revision(self):
        if self.away:
            raise DatabaseUnreachable
        return RevisionMark(self.content.instance, self.content.revision)

    def load(self):
        content = self.content
        self.loads += 1
        self.before_load()
        if self.away:
            raise DatabaseUnreachable
        return content


class Copies:
    def __init__(self, copy=None):
        self.copy, self.saves = copy, 0

    def save(self, catalog, as_of):
        self.copy, self.saves = LastGoodCopy(catalog, as_of), self.saves + 1

    def load(self):
        return self.copy


class Clock:
    now = NOW

    def __call__(self):
        return self.now

    def forward(self, **amount):
        self.now += timedelta(**amount)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def desk(store, clock):
    registry = ModelRegistry(store, Copies(), clock=clock)
    registry.refresh()
    return registry


def state(registry):
    return registry.snapshot.source, registry.snapshot.revision


# Sources


def test_before_any_look_the_constants_answer(store, clock):
    registry = ModelRegistry(store, Copies(), clock=clock)
    assert (state(registry), store.loads) == ((CONSTANTS, 0), 0)
    assert registry.is_model_supported("gpt-4o-mini")


def test_the_database_answers_when_it_can(desk):
    assert state(desk) == (DATABASE, 5)
    assert [model.ref for model in desk.snapshot.models] == ["acme/rocket"]


def test_without_database_and_copy_the_constants_answer(store, clock):
    store.away = True
    registry = ModelRegistry(store, Copies(), clock=clock)
    assert registry.refresh().source == CONSTANTS
    assert registry.snapshot.tokens == {}


def test_without_database_the_copy_answers_with_its_own_moment_and_tokens(store, clock):
    store.away = True
    earlier = NOW - timedelta(days=3)
    registry = ModelRegistry(store, Copies(LastGoodCopy(store.content, earlier)), clock=clock)
    snapshot = registry.refresh()
    assert (snapshot.source, snapshot.revision, snapshot.as_of, list(snapshot.tokens)) == (LAST_GOOD, 5, earlier, ["abcdefghij"])


def test_a_database_that_stops_answering_changes_only_the_label(desk, store, clock):
    before = desk.snapshot
    clock.forward(seconds=7)
    desk.refresh()
    store.away = True
    clock.forward(seconds=60)
    after = desk.refresh()
    assert (after.source, after.as_of, after.models, after.tokens) == (LAST_GOOD, NOW + timedelta(seconds=7), before.models, before.tokens)


def test_a_database_that_answers_again_at_the_same_revision_is_named_at_once(desk, store, clock):
    store.away = True
    desk.refresh()
    store.away = False
    clock.forward(seconds=2)
    snapshot = desk.refresh()
    assert (state(desk), snapshot.as_of, snapshot.headers["Modeldesk-Source"]) == ((DATABASE, 5), clock.now, "database")


def test_a_database_that_is_lost_in_the_middle_of_a_load_counts_as_lost(desk, store):
    store.change(6)
    store.before_load = lambda: setattr(store, "away", True)
    assert (desk.refresh().source, desk.snapshot.revision) == (LAST_GOOD, 5)
    store.away, store.before_load = False, lambda: None
    assert (desk.refresh().source, desk.snapshot.revision) == (DATABASE, 6)


@pytest.mark.parametrize("error", [ValueError("a window that is none"), ArithmeticError(), KeyError("x"), RecursionError()])
def test_rows_that_make_no_sense_leave_what_was_good(desk, store, error):
    def refuse():
        raise error

    store.change(6)
    store.before_load = refuse
    assert (desk.refresh().source, desk.snapshot.revision) == (LAST_GOOD, 5)


def test_a_copy_written_meanwhile_is_not_read_while_the_registry_serves(desk, store):
    store.away = True
    desk._copies.copy = LastGoodCopy(Catalog((), ()), NOW)
    assert desk.refresh().models


# Loading of changes


def test_an_unchanged_revision_is_read_again_only_after_the_time_to_live(desk, store, clock):
    for seconds, loads in ((1, 1), (298, 1), (1, 2), (1, 2)):
        clock.forward(seconds=seconds)
        desk.refresh()
        assert store.loads == loads


def test_a_new_revision_is_taken_over_and_copied(desk, store):
    store.change(6, a_model("comet"))
    assert [model.ref for model in desk.refresh().models] == ["acme/comet"]
    desk.save_copy()
    assert (desk._copies.saves, desk._copies.copy.catalog.revision) == (1, 6)


def test_t36_a_single_older_answer_never_takes_the_registry_back(desk, store, clock):
    store.change(4, a_model("old"))
    desk.refresh()
    store.change(5)
    clock.forward(seconds=5)
    desk.refresh()
    store.change(4, a_model("old"))
    desk.refresh()
    assert (state(desk), desk.get_model("old")) == ((DATABASE, 5), None)


def test_a_restored_backup_is_taken_over_once_it_is_there_to_stay(desk, store, clock):
    store.change(3, a_model("restored"))
    desk.refresh()
    clock.now += SETTLE_TIME
    desk.refresh()
    assert (state(desk), desk.get_model("restored").ref) == ((DATABASE, 3), "acme/restored")


def test_a_backup_restored_after_an_outage_is_taken_over_within_two_seconds(desk, store, clock):
    store.away = True
    desk.refresh()
    store.away = False
    store.change(3)
    for _ in range(8):
        clock.forward(milliseconds=250)
        desk.refresh()
    assert state(desk) == (DATABASE, 3)


def test_another_database_is_taken_over_whatever_its_revision(desk, store):
    store.change(1, a_model("other"), instance="two")
    assert (desk.refresh().revision, desk.get_model("other").ref) == (1, "acme/other")


def test_an_empty_database_is_answered_for_by_the_constants_and_never_copied_or_filled(clock):
    store = Store()
    store.content = Catalog((), (), (TOKEN,), (), "one", 1)
    registry = ModelRegistry(store, Copies(), clock=clock)
    registry.refresh()
    registry.refresh()
    assert (state(registry), registry._copies.saves, store.loads) == ((CONSTANTS, 1), 0, 1)
    assert len(registry.snapshot.models) == len(constants().models)
    assert list(registry.snapshot.tokens) == ["abcdefghij"]


def test_the_first_model_of_an_empty_database_ends_the_constants(clock):
    store = Store()
    store.content = Catalog((), (), (), (), "one", 1)
    registry = ModelRegistry(store, Copies(), clock=clock)
    registry.refresh()
    store.change(2)
    assert [model.ref for model in registry.refresh().models] == ["acme/rocket"]


# Time


def test_a_price_that_starts_and_a_model_that_retires_change_answers_without_any_change_of_rows(store, clock):
    soon = NOW + timedelta(minutes=1)
    store.change(5, a_model("rocket", prices=[a_price(), a_price(id=2, effective_from=soon)], retires_on=(NOW + timedelta(days=1)).date()))
    registry = ModelRegistry(store, Copies(), clock=clock)
    registry.refresh()
    tags = {registry.snapshot.tag}
    for amount, price, supported in (({"seconds": 59}, 1, True), ({"seconds": 1}, 2, True), ({"hours": 12}, 2, False)):
        clock.forward(**amount)
        model = registry.refresh().models[0]
        tags.add(registry.snapshot.tag)
        assert (model.price.id, model.supported) == (price, supported)
    assert len(tags) == 3


def test_time_goes_on_without_the_database_too(store, clock):
    store.change(5, a_model("rocket", prices=[a_price(), a_price(id=2, effective_from=NOW + timedelta(hours=1))]))
    registry = ModelRegistry(store, Copies(), clock=clock)
    registry.refresh()
    store.away = True
    clock.forward(hours=2)
    snapshot = registry.refresh()
    assert (snapshot.models[0].price.id, snapshot.source, snapshot.as_of) == (2, LAST_GOOD, NOW)


def test_a_clock_that_is_set_back_is_followed(store, clock):
    store.change(5, a_model("rocket", prices=[a_price(), a_price(id=2, effective_from=NOW)]))
    registry = ModelRegistry(store, Copies(), clock=clock)
    registry.refresh()
    clock.forward(hours=-1)
    assert registry.refresh().models[0].price.id == 1


# Threads


def test_t36_one_rebuild_at_a_time_and_a_slow_one_cannot_overwrite_a_newer(desk, store):
    at_once, most, lock = 0, 0, threading.Lock()
    started, go_on = threading.Event(), threading.Event()

    def slowly():
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        started.set()
        go_on.wait(5)
        with lock:
            at_once -= 1

    store.change(6)
    store.before_load = slowly
    slow = threading.Thread(target=desk.refresh)
    slow.start()
    started.wait(5)
    store.change(7, a_model("newest"))
    others = [threading.Thread(target=desk.refresh) for _ in range(8)]
    for thread in others:
        thread.start()
    assert state(desk) == (DATABASE, 5)  # Callers are served in the meantime.
    go_on.set()
    for thread in (slow, *others):
        thread.join(5)
    assert (most, state(desk), desk.get_model("newest").ref) == (1, (DATABASE, 7), "acme/newest")
    assert store.loads == 3


class SilentReport:
    def write(self, revision, source):
        raise RuntimeError("a report that fails in a way nobody thought of")


def test_the_refreshing_thread_outlives_any_error(store, clock, monkeypatch):
    monkeypatch.setattr("webapp.registry.refresher.HEARTBEAT", 0.01)
    registry = ModelRegistry(store, Copies(), poll=0.01, clock=clock)
    refresher = Refresher(registry, SilentReport())
    refresher.ensure_running()
    store.change(6)
    seen = threading.Event()
    store.before_load = seen.set
    assert seen.wait(5)
    refresher.stop()
    assert not refresher._thread.is_alive()


# Queries


def test_questions_are_answered_without_asking_the_source(desk, store):
    store.read_revision = store.load = None
    assert desk.get_model("rocket") is desk.resolve("acme/rocket")
    assert desk.get_models_by_type("text") == desk.get_models_by_provider("acme", "none")["acme"] == (desk.get_model("rocket"),)
    assert (desk.get_model("no"), desk.get_default_model("text")) == (None, None)
    assert (desk.is_model_supported("rocket"), desk.is_model_supported("no")) == (True, False)
    assert desk.calculate_cost("rocket", input_tokens=1_000_000, output_tokens=500_000).total == 2


def test_unknown_and_ambiguous_names_are_named_errors(clock):
    registry = ModelRegistry(Store(5, a_model("x", "acme"), a_model("x", "beta")), Copies(), clock=clock)
    registry.refresh()
    assert registry.is_model_supported("x") is False
    for ask in (registry.get_model, registry.calculate_cost, registry.resolve):
        with pytest.raises(AmbiguousModel):
            ask("x")
    with pytest.raises(UnknownModel):
        registry.calculate_cost("acme/none")
    assert registry.explain("x").reason == "ambiguous"


def test_a_cost_is_that_of_the_moment_asked_for(desk):
    assert desk.calculate_cost("rocket", 1, at=START - timedelta(seconds=1)).price_state == "unknown"
    assert desk.calculate_cost("rocket", 1, at=START).price_id == desk.explain("rocket", START).price.id == 1


def test_a_cost_takes_the_words_of_vendors_for_the_standard_tier(desk):
    standard = desk.calculate_cost("rocket", 1, at=START)
    assert standard.complete
    assert [desk.calculate_cost("rocket", 1, at=START, service_tier=tier) for tier in ("default", "on_demand")] == [standard] * 2
    for tier in ("auto", "cheap"):
        with pytest.raises(Invalid, match=tier if tier == "auto" else "must be one of"):
            desk.calculate_cost("rocket", 1, at=START, service_tier=tier)


def test_a_moment_without_offset_is_refused_in_words(desk):
    for ask in (desk.explain, lambda ref, at: desk.calculate_cost(ref, at=at)):
        with pytest.raises(Invalid, match="offset"):
            ask("rocket", NOW.replace(tzinfo=None))
