"""Proposals of a catalogue: nothing changes before a second person approves, everything or nothing is taken over, and undoing adds."""

from datetime import UTC, datetime, timedelta

import pytest
from factories import model_values, price_values
from sqlalchemy import select

from webapp.domain.catalog.catalog_diff import GuardLimits
from webapp.domain.shared.errors import Conflict, Forbidden, Invalid
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Proposal, ProposalRow, Provider
from webapp.price_sources.sources import SourceCatalog
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.catalog_sync import apply, proposals
from webapp.services.catalog_sync.apply import Approval
from webapp.services.catalog_sync.proposals import Comparison, RowFilter
from webapp.services.pricing import prices

NEW = {"provider": "newcomer", "model_id": "fresh", "display_name": "Fresh", "type": "text", "capabilities": [], "aliases": []}
RATE = {"meter": "input", "per": 1_000_000, "above": None, "service_tier": "standard", "window": None}


def offered(amount="2", **more):
    source = {"kind": "catalog", "name": "acme-list", "url": "https://acme.example/prices"}
    price = {
        "state": "priced",
        "effective_from": "2020-01-01T00:00:00Z",
        "currency": "USD",
        "rates": [RATE | {"amount": amount}],
        "source": source,
    }
    return NEW | {"prices": [price]} | more


def ours(amount="1", kind="catalog"):
    """A model of the registry whose price came from the list, or from somebody's hand."""
    with writing() as session:
        model = models.create(session, model_values(model_id="known"), actor="ann")
        entry = proposals.catalog_price_entry(offered(amount)["prices"][0], "acme-list")
        if kind == "catalog":
            prices.import_price(session, model, entry, actor="ann")
        else:
            prices.add(session, model.id, price_values(rates=[RATE | {"amount": amount}]), actor="ann")
        return model.id


KNOWN = {"provider": "openai", "model_id": "known"}


def opened(*found, second=None, ticked=True) -> int:
    container.registry().refresh()
    names = [{"slug": "newcomer", "display_name": "The newcomer"}]
    read = SourceCatalog("acme-list", "version 1", "0" * 64, names, list(found))
    with writing(refresh=False) as session:
        given = Comparison(container.registry().snapshot, read, second, GuardLimits(), datetime.now(UTC))
        number = proposals.open_proposal(session, given, actor="ann").id
        if ticked:
            proposals.choose(session, number, RowFilter().condition(), True)
    return number


def approved(number, actor="bob", *, four_eyes=True, seal=None):
    with writing() as session:
        seen = proposals.selection_digest(session, number) if seal is None else seal
        apply.apply(session, number, Approval(actor, datetime.now(UTC), four_eyes, seen))


def undone(number):
    with writing() as session:
        return apply.undo(session, number, actor="bob")


def row(table, **values):
    db.session.rollback()
    return db.session.execute(select(table).filter_by(**values)).scalar_one()


def rates(model_id):
    db.session.rollback()
    return [
        (price.corrects is not None, str(price.rates[0].amount)) for price in prices.history(db.session(), db.session.get(Model, model_id))
    ]


def cost(ref, at=None):
    return container.registry().calculate_cost(ref, input_tokens=1_000_000, at=at or datetime.now(UTC)).total


def test_a_new_model_arrives_inactive_with_its_price_and_if_need_be_its_provider(either_app):
    approved(opened(offered()))
    model = row(Model, model_id="fresh")
    assert (model.is_active, model.provider.slug, model.provider.display_name, model.provider.is_active) == (
        False,
        "newcomer",
        "The newcomer",
        False,
    )
    (price,) = model.prices
    assert (price.source_kind, price.source_name, price.source_url) == ("catalog", "acme-list", "https://acme.example/prices")


def test_a_changed_price_holds_from_now_on_and_past_costs_stay(either_app):
    number = ours("1")
    before = datetime.now(UTC) - timedelta(hours=1)
    approved(opened(offered("2", **KNOWN)))
    assert (cost("openai/known", before), cost("openai/known")) == (1, 2)
    assert rates(number) == [(False, "1"), (False, "2")]


def test_undoing_corrects_the_price_from_its_start_and_is_no_edit(either_app):
    number = ours("1")
    proposal = opened(offered("2", **KNOWN))
    approved(proposal)
    assert undone(proposal) == []
    assert rates(number) == [(False, "1"), (False, "2"), (True, "1")]
    assert cost("openai/known") == 1
    assert row(Proposal, id=proposal).status == "undone"
    with pytest.raises(Conflict):
        undone(proposal)
    assert audit_log.get_first_break_or_none(db.session()) is None


def test_whoever_opened_it_does_not_approve_it_unless_the_desk_is_of_one_person(app):
    number = opened(offered())
    with pytest.raises(Forbidden, match="MODELDESK_FOUR_EYES=off"):
        approved(number, "ann")
    approved(number, "ann", four_eyes=False)
    assert row(Proposal, id=number).applied_by == "ann"


def test_only_ticked_rows_are_taken_over_and_none_is_an_error(app):
    number = opened(offered(), offered(model_id="other"), ticked=False)
    with pytest.raises(Invalid, match="Nothing is chosen"):
        approved(number)
    with writing(refresh=False) as session:
        assert proposals.choose(session, number, RowFilter(word="other").condition(), True) == 1
    approved(number)
    assert db.session.execute(select(Model.model_id).join(Provider).where(Provider.slug == "newcomer")).scalars().all() == ["other"]


def test_a_price_by_hand_is_pinned_and_cannot_be_ticked(app):
    number = ours("1", kind="manual")
    proposal = opened(offered("2", **KNOWN), offered())
    pinned = row(ProposalRow, proposal_id=proposal, ref="openai/known")
    assert (pinned.guards, pinned.choosable, pinned.chosen) == (",pinned,", False, False)
    approved(proposal)
    assert rates(number) == [(False, "1")]


def test_what_changed_since_stops_everything(either_app):
    number = ours("1")
    proposal = opened(offered("2", **KNOWN), offered())
    with writing() as session:
        prices.add(session, number, price_values(rates=[RATE | {"amount": "9"}], effective_from=datetime.now(UTC).isoformat()), actor="eve")
    with pytest.raises(Conflict, match="openai/known: its price changed"):
        approved(proposal)
    assert db.session.execute(select(Model).where(Model.model_id == "fresh")).first() is None
    assert row(Proposal, id=proposal).status == "open"


def test_limits_and_dates_are_taken_over_and_back_unless_somebody_edited_them(app):
    ours("1")
    proposal = opened(offered("1", **KNOWN, context_window=9_000, retires_on="2031-01-01"))
    approved(proposal)
    model = row(Model, model_id="known")
    assert (model.context_window, str(model.retires_on)) == (9_000, "2031-01-01")
    with writing() as session:
        models.update(session, model.id, {"context_window": 10_000}, actor="eve")
    assert undone(proposal) == ["openai/known was edited since"]
    assert row(Model, model_id="known").context_window == 10_000


def test_a_model_that_is_gone_is_deactivated_and_comes_back(app):
    ours("1")
    proposal = opened(offered(**KNOWN | {"model_id": "gpt-4o-mini"}))
    gone = row(ProposalRow, proposal_id=proposal, ref="openai/known")
    assert gone.kind == "gone"
    with writing(refresh=False) as session:
        proposals.choose(session, proposal, ProposalRow.id != gone.id, False)
    approved(proposal)
    assert not row(Model, model_id="known").is_active
    undone(proposal)
    assert row(Model, model_id="known").is_active


def test_the_same_catalogue_again_proposes_nothing(app):
    approved(opened(offered()))
    with pytest.raises(Conflict, match="has everything") as refused:
        opened(offered())
    assert refused.value.code == "no_difference"
    assert len(db.session.execute(select(Proposal)).scalars().all()) == 1


def test_a_record_of_which_no_model_can_be_made_is_named_and_left_out(app):
    number = opened(
        offered(), offered(model_id="@cf/no"), offered(model_id="odd", type="poem"), offered("0.1234567890123456789", model_id="long")
    )
    problems = row(Proposal, id=number).problems
    assert [problem.partition(":")[0] for problem in problems] == ["newcomer/@cf/no", "newcomer/long", "newcomer/odd"]


def test_every_step_is_in_the_trail(app):
    number = opened(offered())
    approved(number)
    undone(number)
    query = select(AuditEvent.action, AuditEvent.actor).where(AuditEvent.target_kind == "proposal")
    found = [tuple(event) for event in db.session.execute(query)]
    assert found == [("catalog:proposal:create", "ann"), ("catalog:proposal:apply", "bob"), ("catalog:proposal:undo", "bob")]


def test_a_closed_proposal_stays_as_it_is(app):
    number = opened(offered())
    with writing(refresh=False) as session:
        proposals.close(session, number, actor="ann")
    for act in (
        lambda session: proposals.close(session, number, actor="ann"),
        lambda session: proposals.choose(session, number, RowFilter().condition(), True),
    ):
        with pytest.raises(Conflict, match="no longer open"), writing() as session:
            act(session)
    with pytest.raises(Conflict, match="no longer open"):
        approved(number)


def test_what_was_ticked_after_somebody_looked_is_not_approved(app):
    number = opened(offered(), offered(model_id="second"))
    seen = proposals.selection_digest(db.session(), number)
    for ticked in (False, True):
        with writing() as session:
            proposals.choose(session, number, ProposalRow.ref == "newcomer/second", ticked)
        if not ticked:
            with pytest.raises(Conflict, match="Other rows are ticked"):
                approved(number, seal=seen)
    approved(number, seal=seen)
