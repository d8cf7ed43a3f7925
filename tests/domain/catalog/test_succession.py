"""Tests of the succession: on a date, defaults and aliases move to the successor."""

from datetime import UTC, date, datetime, timedelta

from factories import NOW, a_model, a_snapshot

TODAY = NOW.date()


def both(now=NOW, **more):
    old = a_model("old", aliases=("nick",), default=True, switches_on=TODAY, successor="acme/new", **more)
    return a_snapshot(old, a_model("new"), now=now)


def test_before_the_day_nothing_changes_and_the_day_is_when_answers_change():
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    before = both(now=midnight - timedelta(seconds=1))
    assert (before.defaults["text"].model_id, before.by_name["nick"].model_id) == ("old", "old")
    assert before.valid_until == midnight
    after = both(now=midnight)
    assert (after.defaults["text"].model_id, after.by_name["nick"].model_id) == ("new", "new")


def test_the_old_model_keeps_its_own_name_and_nothing_else():
    snapshot = both()
    old = snapshot.by_name["acme/old"]
    assert (old.model_id, old.default, old.aliases) == ("old", False, ())
    assert snapshot.by_name["acme/nick"].model_id == "new"
    assert snapshot.by_name["acme/new"].default


def test_nothing_is_handed_over_to_a_successor_that_cannot_answer():
    for successor in (a_model("new", active=False), a_model("new", retires_on=date(2020, 1, 1)), a_model("other")):
        old = a_model("old", aliases=("nick",), default=True, switches_on=TODAY, successor="acme/new")
        snapshot = a_snapshot(old, successor)
        assert (snapshot.defaults["text"].model_id, snapshot.by_name["nick"].model_id) == ("old", "old")


def test_a_chain_of_successors_ends_at_the_first_that_answers_and_a_circle_at_none():
    old = a_model("old", aliases=("nick",), switches_on=TODAY, successor="acme/middle")
    middle = a_model("middle", active=False, successor="acme/new")
    assert a_snapshot(old, middle, a_model("new")).by_name["nick"].model_id == "new"
    circle = a_model("middle", active=False, successor="acme/old")
    assert a_snapshot(old, circle).by_name["nick"].model_id == "old"


def test_a_default_goes_only_to_a_model_of_the_same_type_and_a_bare_id_is_of_the_same_seller():
    old = a_model("old", aliases=("nick",), default=True, switches_on=TODAY, successor="new")
    snapshot = a_snapshot(old, a_model("new", type="image"))
    assert (snapshot.defaults["text"].model_id, snapshot.by_name["nick"].model_id) == ("old", "new")


def test_another_sellers_model_gets_the_names_with_the_old_seller_too():
    old = a_model("old", aliases=("nick",), switches_on=TODAY, successor="other/new")
    snapshot = a_snapshot(old, a_model("new", provider="other"))
    assert snapshot.by_name["acme/nick"].ref == snapshot.by_name["nick"].ref == "other/new"
