"""Tests of a project's view of the registry: its default, allowed models and prices, each for a period."""

from datetime import timedelta

from factories import NOW, START, a_model, a_price, a_rate, a_snapshot

from webapp.domain.catalog.entities import Override
from webapp.domain.catalog.project_overrides import overlay_price, override_document, override_from
from webapp.domain.catalog.snapshot import project_snapshot
from webapp.domain.pricing.pricing import timeline

DAY = timedelta(days=1)
CHEAP = a_price(a_rate(amount="0.5"))


def seen(*overrides, now=NOW, project="blue"):
    base = a_snapshot(a_model("a", default=True), a_model("b"), a_model("c"), overrides=overrides, now=now)
    return base, project_snapshot(base, project, now)


def rule(kind, ref, starts=START, ends=None, price=None):
    return Override("blue", kind, f"acme/{ref}", starts, ends, price)


def test_another_project_sees_the_registry_as_it_is():
    base, green = seen(rule("default", "b"), project="green")
    assert green is base
    assert base.defaults["text"].model_id == "a"


def test_a_default_of_its_own_holds_in_its_time():
    _, blue = seen(rule("default", "b"))
    assert (blue.defaults["text"].model_id, blue.by_name["acme/a"].default) == ("b", False)
    for starts, ends in ((NOW + DAY, None), (START, NOW)):
        _, blue = seen(rule("default", "b", starts, ends))
        assert blue.defaults["text"].model_id == "a"


def test_what_is_not_on_the_list_is_inactive_for_it():
    base, blue = seen(rule("allow", "b"))
    assert [model.model_id for model in blue.models if model.supported] == ["b"]
    assert blue.by_name["acme/a"].unsupported_because == "inactive"
    assert len(base.supported) > len(blue.supported)


def test_a_price_of_its_own_holds_from_its_start_to_its_end_and_past_costs_stay():
    base, blue = seen(rule("price", "b", NOW - DAY, NOW + DAY, CHEAP))
    base_model, project_model = base.by_name["acme/b"], blue.by_name["acme/b"]
    assert project_model.price_at(NOW - 2 * DAY).rates == base_model.price_at(NOW - 2 * DAY).rates
    assert project_model.price_at(NOW).rates == CHEAP.rates
    assert project_model.price_at(NOW + DAY).rates == base_model.price_at(NOW + DAY).rates
    assert (project_model.price.source.name, project_model.price.id) == ("project blue", None)


def test_a_span_goes_over_changes_of_the_list_price_and_ends_in_the_one_that_holds_then():
    history = timeline([a_price(a_rate(amount=str(number)), effective_from=START + number * DAY, id=number) for number in range(4)])
    prices = overlay_price(history, rule("price", "b", START + DAY / 2, START + 2.5 * DAY, CHEAP))
    assert [(price.id, price.effective_from - START) for price in prices] == [(0, 0 * DAY), (None, DAY / 2), (2, 2.5 * DAY), (3, 3 * DAY)]
    assert [price.effective_to for price in prices] == [price.effective_from for price in prices[1:]] + [None]


def test_answers_change_when_a_rule_begins_and_ends():
    assert seen(rule("default", "b", NOW + DAY))[0].valid_until == NOW + DAY
    assert seen(rule("default", "b", START, NOW + 2 * DAY))[0].valid_until == NOW + 2 * DAY


def test_answers_say_whose_they_are():
    base, blue = seen(rule("default", "b"))
    assert (base.headers.get("Modeldesk-Project"), blue.headers["Modeldesk-Project"]) == (None, "blue")


def test_a_copy_keeps_the_rules():
    override = rule("price", "b", NOW, NOW + DAY, CHEAP)
    assert override_from(override_document(override)) == override
