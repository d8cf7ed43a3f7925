"""Tests of the snapshot: immutable, indexed, and correct for the time of its build."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from factories import NOW, START, a_model, a_price, a_provider, a_snapshot

from webapp.config.settings import ROOT
from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import Catalog
from webapp.domain.catalog.snapshot import CONSTANTS, DATABASE, END_OF_TIME, LAST_GOOD, build, relabel

TICK = timedelta(microseconds=1)


def test_nothing_can_be_assigned_to_a_snapshot_or_to_what_it_holds():
    snapshot = a_snapshot()
    for value, name in ((snapshot, "source"), (snapshot.models[0], "active"), (snapshot.providers["acme"], "slug"), (a_price(), "state")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, "changed")
    with pytest.raises(AttributeError):
        a_price().rates[0].amount = 0


def test_models_are_in_display_order_and_grouped_by_type_and_provider():
    late, first, second = a_model("z", sort_order=1), a_model("b", display_name="alpha"), a_model("a", display_name="Beta", type="image")
    snapshot = a_snapshot(late, second, first)
    assert snapshot.models == (first, second, late) or [model.model_id for model in snapshot.models] == ["b", "a", "z"]
    assert [model.model_id for model in snapshot.by_type["text"]] == ["b", "z"]
    assert [model.model_id for model in snapshot.by_provider["acme"]] == ["b", "a", "z"]
    assert snapshot.providers["acme"].models == 3


def test_groups_hold_active_models_of_active_providers_only():
    providers = (a_provider("on"), a_provider("off", active=False))
    snapshot = a_snapshot(a_model("a", "on"), a_model("b", "on", active=False), a_model("c", "off"), providers=providers)
    assert {slug: [model.model_id for model in models] for slug, models in snapshot.by_provider.items()} == {"on": ["a"]}
    assert [model.model_id for model in snapshot.by_type["text"]] == ["a"]
    assert len(snapshot.by_name) == 6


def test_a_model_whose_provider_is_missing_is_kept_and_not_supported():
    snapshot = a_snapshot(a_model("a", "gone"), providers=(a_provider("other"),))
    assert snapshot.by_name["gone/a"].unsupported_because == "provider_inactive"


def test_defaults_are_by_type_and_active():
    snapshot = a_snapshot(a_model("a", default=True), a_model("b", type="image", default=True, active=False))
    assert {kind: model.model_id for kind, model in snapshot.defaults.items()} == {"text": "a"}


RETIRES = date(2026, 11, 22)
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("more", "provider", "now", "reason"),
    [
        ({}, True, NOW, None),
        ({"active": False}, True, NOW, "inactive"),
        ({}, False, NOW, "provider_inactive"),
        ({"retires_on": RETIRES}, True, MIDNIGHT - TICK, None),
        ({"retires_on": RETIRES}, True, MIDNIGHT, "retired"),
        ({"retires_on": RETIRES, "active": False}, True, MIDNIGHT, "inactive"),
        ({"deprecated_on": date(2020, 1, 1)}, True, NOW, None),
    ],
)
def test_a_model_is_supported_or_says_why_not(more, provider, now, reason):
    snapshot = a_snapshot(a_model(**more), providers=(a_provider(active=provider),), now=now)
    model = snapshot.models[0]
    assert (model.supported, model.unsupported_because) == (reason is None, reason)
    assert ("acme/rocket" in snapshot.supported) is (reason is None)


def test_the_price_of_a_model_is_the_one_in_force():
    soon = NOW + timedelta(hours=1)
    model = a_model(prices=[a_price(), a_price(id=2, effective_from=soon)])
    assert [a_snapshot(model, now=now).models[0].price.id for now in (NOW, soon - TICK, soon)] == [1, 1, 2]
    assert a_snapshot(model, now=START - TICK).models[0].price is None


def test_a_snapshot_knows_from_when_until_when_it_holds():
    soon = NOW + timedelta(hours=1)
    model = a_model(prices=[a_price(), a_price(id=2, effective_from=soon)], retires_on=RETIRES)
    spans = [(snapshot.valid_from, snapshot.valid_until) for snapshot in (a_snapshot(model, now=now) for now in (NOW, soon, MIDNIGHT))]
    assert spans == [(START, soon), (soon, MIDNIGHT), (MIDNIGHT, END_OF_TIME)]


def test_the_tag_changes_with_the_revision_the_database_and_the_hour_of_a_new_price():
    model = a_model(prices=[a_price(), a_price(id=2, effective_from=NOW)])
    snapshots = [a_snapshot(model), a_snapshot(model, revision=2), a_snapshot(model, instance="other"), a_snapshot(model, now=NOW - TICK)]
    assert len({snapshot.tag for snapshot in snapshots}) == 4
    assert a_snapshot(model, now=NOW + timedelta(days=9), source=LAST_GOOD).tag == snapshots[0].tag


def test_the_tag_is_the_same_in_every_process():
    code = "from datetime import date\n"
    code += "from webapp.domain.catalog.builtin import constants, start_of_day\n"
    code += "from webapp.domain.catalog.snapshot import build\n"
    code += "print(build(constants(), now=start_of_day(date(2026, 11, 21)), source='constants').tag)"
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True)
        for seed in "12"
    ]
    expected = build(constants(), now=datetime(2026, 11, 21, tzinfo=UTC), source=CONSTANTS).tag
    assert [run.stdout.strip() for run in runs] == [expected, expected]


def test_another_label_changes_the_headers_and_nothing_else():
    snapshot = a_snapshot()
    relabeled = relabel(snapshot, LAST_GOOD, NOW + TICK)
    assert relabeled.headers == {
        "Modeldesk-Revision": "1",
        "Modeldesk-Source": "last-good",
        "Modeldesk-As-Of": "2026-11-21T12:00:00.000001Z",
    }
    assert replace(relabeled, source=DATABASE, as_of=snapshot.as_of, headers=snapshot.headers) == snapshot


def test_an_empty_catalogue_makes_an_empty_snapshot():
    snapshot = build(Catalog((), ()), now=NOW, source=DATABASE)
    assert (snapshot.models, snapshot.primary, dict(snapshot.by_name)) == ((), None, {})
