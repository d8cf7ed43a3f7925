"""Models in a real database: the rules, their audit events, and races."""

import threading

import pytest
from factories import confirm, model_values, price_values, provider_values
from sqlalchemy import func, select

from webapp.domain.shared.errors import Conflict, InUse, Invalid, NotFound, Stale
from webapp.extensions import db
from webapp.models import AuditEvent, Model, RegistryState
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers
from webapp.services.pricing import prices


def made(confirmed=(), **more) -> Model:
    with writing() as session:
        return models.create(session, model_values(**more), actor="ann", confirmed=confirmed)


def default_of(kind="text") -> str:
    return container.registry().get_default_model(kind).ref


def test_a_new_model_is_there_with_its_aliases_and_a_trace(either_app):
    made(aliases=["test-alias", "test-*"], context_window=1000)
    registry = container.registry()
    assert registry.get_model("openai/test-alias") is registry.get_model("test-model") is registry.get_model("test-model-7")
    event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert (event.actor, event.action, event.target_name) == ("ann", "registry:model:create", "openai/test-model")
    assert (event.before, event.after["aliases"]) == (None, ["test-*", "test-alias"])


@pytest.mark.parametrize(
    "more",
    [
        {"model_id": "gpt-4o"},
        {"aliases": ["gpt-4o"]},
        {"aliases": ["openai/gpt-4o"]},
        {"aliases": ["gpt-4o-mini-2024-07-18"]},
        {"model_id": "gpt-4o-2024-08-06"},
    ],
)
def test_a_name_that_is_taken_is_refused_and_changes_nothing(app, more):
    revision = container.registry().snapshot.revision
    with pytest.raises(Conflict, match=r"already|another"):
        made(**more)
    assert container.registry().refresh().revision == revision


def test_another_provider_may_sell_a_model_of_the_same_id(app):
    confirm(lambda keys: made(keys, provider="mistral", model_id="gpt-4o"))
    assert {model.ref for model in container.registry().snapshot.names.model_ids["gpt-4o"]} == {"openai/gpt-4o", "mistral/gpt-4o"}


@pytest.mark.parametrize("values", [{"provider": "nobody"}, {"type": "poem"}, {"model_id": "a b"}])
def test_values_that_make_no_sense_are_refused(app, values):
    with pytest.raises(Invalid):
        made(**values)


def test_an_edit_of_an_older_version_is_refused(app):
    model = made()
    with writing() as session:
        models.update(session, model.id, {"description": "first"}, actor="ann", version=1)
    with pytest.raises(Stale), writing() as session:
        models.update(session, model.id, {"description": "second"}, actor="bob", version=1)
    assert container.registry().get_model("test-model").description == "first"


def test_a_change_of_the_aliases_alone_moves_the_version_too(app):
    model = made(aliases=["one", "two"])
    with writing() as session:
        models.update(session, model.id, {"aliases": ["two", "three"]}, actor="ann")
    updated = container.registry().get_model("three")
    assert (updated.aliases, updated.version) == (("three", "two"), 2)


def test_the_trail_holds_only_what_changed(app):
    model = made()
    with writing() as session:
        models.update(session, model.id, {"description": "new", "display_name": "Test model"}, actor="ann")
    event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert (event.before, event.after) == ({"description": ""}, {"description": "new"})


@pytest.mark.parametrize("number", [0, -1, 10**9, 2**63, 10**40])
def test_a_model_that_is_not_there_is_not_found(either_app, number):
    with pytest.raises(NotFound), writing() as session:
        models.update(session, number, {}, actor="ann")


def test_a_model_in_use_is_not_deleted_and_says_by_what(app):
    model, follower = made(), made(model_id="old-one", successor="openai/test-model")
    with writing() as session:
        prices.add(session, model.id, price_values(), actor="ann")
    with pytest.raises(InUse) as refused, writing() as session:
        models.delete(session, model.id, actor="ann")
    assert list(refused.value.users) == ["1 price in its history", f"successor of {follower.ref}"]


def test_a_model_that_nothing_uses_is_deleted_with_its_aliases(either_app):
    model = made(aliases=["gone-soon"])
    with writing() as session:
        models.delete(session, model.id, actor="ann")
    assert container.registry().get_model("gone-soon") is None
    made(model_id="again", aliases=["gone-soon"])


# The default


def test_a_new_default_takes_the_place_of_the_one_before(either_app):
    model = made(default=True)
    assert default_of() == "openai/test-model"
    assert db.session.execute(select(func.count()).select_from(Model).where(Model.is_default, Model.type == "text")).scalar_one() == 1
    with writing() as session:
        models.update(session, model.id, {"default": False}, actor="ann")
    assert container.registry().get_default_model("text") is None


@pytest.mark.parametrize("change", [{"active": False}, {"type": "image"}])
def test_a_default_is_neither_deactivated_nor_moved_to_another_type(app, change):
    model = made(default=True)
    with pytest.raises(InUse), writing() as session:
        models.update(session, model.id, change, actor="ann")
    for act in (lambda s: models.set_active(s, model.id, False, actor="ann"), lambda s: models.delete(s, model.id, actor="ann")):
        with pytest.raises(InUse), writing() as session:
            act(session)


def test_a_default_can_be_deactivated_when_it_gives_the_place_up_in_the_same_edit(app):
    model = made(default=True)
    with writing() as session:
        models.update(session, model.id, {"active": False, "default": False}, actor="ann")
    assert container.registry().get_model("test-model").active is False


def test_an_inactive_model_or_one_of_an_inactive_provider_does_not_become_the_default(app):
    with writing() as session:
        providers.create(session, provider_values(active=False), actor="ann")
    inactive, elsewhere, default = made(active=False), made(provider="acme", model_id="other"), made(model_id="third", default=True)
    for model in (inactive, elsewhere):
        with pytest.raises(Conflict, match="inactive"), writing() as session:
            models.set_default(session, model.id, actor="ann")
    with pytest.raises(Conflict, match="inactive"), writing() as session:
        models.update(session, default.id, {"provider": "acme"}, actor="ann")
    assert default_of() == "openai/third"


def test_many_are_switched_together_or_not_at_all(app):
    first, second, default = made(), made(model_id="two"), made(model_id="three", default=True)
    with pytest.raises(InUse), writing() as session:
        models.set_active_many(session, [first.id, second.id, default.id], False, actor="ann")
    assert container.registry().is_model_supported("test-model")
    with writing() as session:
        assert models.set_active_many(session, [first.id, second.id], False, actor="ann") == 2


def test_defaults_set_at_the_same_moment_leave_exactly_one_and_a_whole_trail(either_app):
    model_ids = [made(model_id=f"racer-{number}").id for number in range(4)]
    revision = db.session.execute(select(RegistryState.revision)).scalar_one()
    db.session.remove()
    problems = []

    def race(number):
        with either_app.app_context():
            try:
                for _ in range(5):
                    with writing(refresh=False) as session:
                        models.set_default(session, number, actor=f"racer {number}")
            except Exception as error:
                problems.append(error)

    threads = [threading.Thread(target=race, args=(number,)) for number in model_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert db.session.execute(select(func.count()).select_from(Model).where(Model.is_default, Model.type == "text")).scalar_one() == 1
    assert db.session.execute(select(RegistryState.revision)).scalar_one() == revision + 20
