"""Tests of catalog proposals: four-eyes approval, all-or-nothing application, and undo by corrections."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest
from environment import api_for
from factories import confirm, model_values, price_values
from sqlalchemy import select

from webapp.config.settings import ROOT
from webapp.domain.catalog import builtin
from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.catalog_guards import GuardLimits
from webapp.domain.shared.errors import ConfirmationRequired, Conflict, Forbidden, Invalid, UnknownModel
from webapp.extensions import db
from webapp.models import AuditEvent, Model, ModelAlias, Price, Proposal, ProposalRow, Provider
from webapp.price_sources import sources
from webapp.price_sources.sources import SourceCatalog
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.catalog_sync import apply, proposal_names, proposals
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
        "media_at_text_rate": False,
        "source": source,
    }
    return NEW | {"prices": [price]} | more


def ours(amount="1", kind="catalog"):
    """Add a registry model with a price from the catalog or a manual price, and return its id."""
    with writing() as session:
        model = models.create(session, model_values(model_id="known"), actor="ann")
        entry = proposals.catalog_price_entry(offered(amount)["prices"][0], "acme-list")
        if kind == "catalog":
            prices.import_price(session, model, entry, actor="ann")
        else:
            prices.add(session, model.id, price_values(rates=[RATE | {"amount": amount}]), actor="ann")
        return model.id


KNOWN = {"provider": "openai", "model_id": "known"}


def opened(*models, second=None, selected=True) -> int:
    names = [{"slug": "newcomer", "display_name": "The newcomer"}]
    return opened_catalog(SourceCatalog("acme-list", "version 1", "0" * 64, names, list(models), fields_read=1), second, selected=selected)


def opened_catalog(catalog, second=None, *, selected=True) -> int:
    container.registry().refresh()
    with writing(refresh=False) as session:
        comparison = Comparison(container.registry().snapshot, catalog, second, GuardLimits(), datetime.now(UTC))
        proposal_id = proposals.open_proposal(session, comparison, actor="ann").id
        if selected:
            proposals.choose(session, proposal_id, RowFilter().condition(), True)
    return proposal_id


def approved(proposal_id, actor="bob", *, four_eyes=True, digest=None, confirmed=()):
    with writing() as session:
        reviewed_digest = proposals.selection_digest(session, proposal_id) if digest is None else digest
        apply.apply(session, proposal_id, Approval(actor, datetime.now(UTC), four_eyes, reviewed_digest, confirmed))


def undone(proposal_id, confirmed=()):
    with writing() as session:
        return apply.undo(session, proposal_id, actor="bob", confirmed=confirmed)


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
    model_id = ours("1")
    before = datetime.now(UTC) - timedelta(hours=1)
    approved(opened(offered("2", **KNOWN)))
    assert (cost("openai/known", before), cost("openai/known")) == (1, 2)
    assert rates(model_id) == [(False, "1"), (False, "2")]


def test_undoing_corrects_the_price_from_its_start_and_is_no_edit(either_app):
    model_id = ours("1")
    proposal_id = opened(offered("2", **KNOWN))
    approved(proposal_id)
    assert undone(proposal_id) == []
    assert rates(model_id) == [(False, "1"), (False, "2"), (True, "1")]
    assert cost("openai/known") == 1
    assert row(Proposal, id=proposal_id).status == "undone"
    with pytest.raises(Conflict):
        undone(proposal_id)
    assert audit_log.get_first_break_or_none(db.session()) is None


def test_undoing_restores_the_note_and_the_source_with_its_verification(either_app):
    model_id = ours("1")
    note = "Checked with the vendor. " + "x" * 1_950
    with writing() as session:
        entry = proposals.catalog_price_entry(offered("3")["prices"][0], "acme-list")
        source = {"kind": "import", "name": "last year's file", "url": "https://acme.example/contract", "verified_at": None}
        start = datetime.now(UTC) - timedelta(days=1)
        model = session.get(Model, model_id)
        verified = prices.import_price(session, model, entry._replace(effective_from=start, note=note, source=source), actor="ann")
        prices.verify(session, verified.id, actor="eve")
    before = container.registry().snapshot.by_name["openai/known"].price
    proposal_id = opened(offered("2", **KNOWN))
    approved(proposal_id)
    assert undone(proposal_id) == []
    after = container.registry().snapshot.by_name["openai/known"].price
    assert (after.note, after.source, after.rates, after.state) == (note, before.source, before.rates, before.state)
    db.session.rollback()
    assert db.session.get(Price, after.id).verified_by == "eve"


def test_undoing_a_first_price_makes_it_unknown_again(app):
    with writing() as session:
        models.create(session, model_values(model_id="known"), actor="ann")
    proposal_id = opened(offered("2", **KNOWN))
    approved(proposal_id)
    assert undone(proposal_id) == []
    assert container.registry().snapshot.by_name["openai/known"].price.state == "unknown"


def meanings():
    """What every name of the registry means, by resolution."""
    names = {name for model in constants().models for name in (model.model_id, model.ref, *model.aliases)}
    registry = container.registry()
    return {name: registry.resolve(name).ref for name in names if name != "*"}


def test_all_names_of_the_seed_mean_the_same_after_applying_and_undoing_a_catalog_of_the_same_names(app):
    before = meanings()
    assert len(before) > 400
    namesakes = [offered(model_id=name, aliases=[f"newcomer/x-{number}"]) for number, name in enumerate(sorted(before)) if "*" not in name]
    proposal_id = opened(*namesakes)
    approved(proposal_id)
    assert meanings() == before
    assert undone(proposal_id) == []
    assert meanings() == before
    assert db.session.execute(select(ModelAlias.id).where(ModelAlias.alias.startswith("newcomer/"))).first() is None


def test_a_name_that_only_the_undone_proposal_knew_is_unknown_again_and_can_be_applied_again(app):
    proposal_id = opened(offered(aliases=["fresh-alias"]))
    approved(proposal_id)
    assert container.registry().resolve("fresh").ref == container.registry().resolve("fresh-alias").ref == "newcomer/fresh"
    assert undone(proposal_id) == []
    for name in ("fresh", "newcomer/fresh", "fresh-alias", "newcomer/fresh-alias"):
        with pytest.raises(UnknownModel) as unknown:
            container.registry().resolve(name)
        assert unknown.value.suggestions == ()
    left = row(Model, model_id=f"~undone-{row(ProposalRow, proposal_id=proposal_id).id}")
    assert (left.is_active, left.display_name, left.description.partition(",")[0]) == (False, "Fresh (undone)", "Was newcomer/fresh")
    again = opened(offered(aliases=["fresh-alias"]))
    approved(again)
    assert container.registry().resolve("fresh-alias").ref == "newcomer/fresh"


def test_an_added_model_without_prices_is_deleted(app):
    proposal_id = opened(offered(prices=[]))
    approved(proposal_id)
    assert undone(proposal_id) == []
    assert db.session.execute(select(Model).join(Provider).where(Provider.slug == "newcomer")).first() is None


def activated(session, model):
    models.set_active(session, model.id, True, actor="eve")
    models.set_active(session, model.id, False, actor="eve")


def priced_by_hand(session, model):
    prices.add(session, model.id, price_values(), actor="eve")


def verified(session, model):
    prices.verify(session, model.prices[0].id, actor="eve")


def named_as_successor(session, model):
    predecessor = session.execute(select(Model).where(Model.model_id == "gpt-4-turbo")).scalar_one()
    models.update(session, predecessor.id, {"successor": model.ref}, actor="eve")


@pytest.mark.parametrize("use", [activated, priced_by_hand, verified, named_as_successor])
def test_an_added_model_that_something_uses_keeps_its_names_and_is_reported(app, use):
    proposal_id = opened(offered(aliases=["fresh-alias"]), offered(model_id="unused"))
    approved(proposal_id)
    with writing() as session:
        use(session, session.execute(select(Model).where(Model.model_id == "fresh")).scalar_one())
    (message,) = undone(proposal_id)
    assert message.startswith("newcomer/fresh ")
    assert container.registry().resolve("fresh-alias").ref == "newcomer/fresh"
    with pytest.raises(UnknownModel):
        container.registry().resolve("unused")


def test_an_added_model_with_recorded_usage_keeps_its_names(app):
    proposal_id = opened(offered())
    approved(proposal_id)
    report = api_for(app, "usage:write").post(
        "/usage", {"model": "newcomer/fresh", "usage": {"input": 1}}, headers={"Idempotency-Key": "k-1"}
    )
    assert report.status_code == 201, report.text
    assert undone(proposal_id) == ["newcomer/fresh has recorded usage, so it stays."]
    assert container.registry().resolve("fresh").ref == "newcomer/fresh"


def test_whoever_opened_it_does_not_approve_it_unless_the_desk_is_of_one_person(app):
    proposal_id = opened(offered())
    with pytest.raises(Forbidden, match="MODELDESK_FOUR_EYES=off"):
        approved(proposal_id, "ann")
    approved(proposal_id, "ann", four_eyes=False)
    assert row(Proposal, id=proposal_id).applied_by == "ann"


def test_only_ticked_rows_are_taken_over_and_none_is_an_error(app):
    proposal_id = opened(offered(), offered(model_id="other"), selected=False)
    with pytest.raises(Invalid, match="Nothing is chosen"):
        approved(proposal_id)
    with writing(refresh=False) as session:
        assert proposals.choose(session, proposal_id, RowFilter(word="other").condition(), True) == 1
    approved(proposal_id)
    assert db.session.execute(select(Model.model_id).join(Provider).where(Provider.slug == "newcomer")).scalars().all() == ["other"]


def test_a_price_by_hand_is_pinned_and_cannot_be_ticked(app):
    model_id = ours("1", kind="manual")
    proposal_id = opened(offered("2", **KNOWN), offered())
    pinned = row(ProposalRow, proposal_id=proposal_id, ref="openai/known")
    assert (pinned.guards, pinned.choosable, pinned.chosen) == (",pinned,", False, False)
    approved(proposal_id)
    assert rates(model_id) == [(False, "1")]


def test_what_changed_since_stops_everything(either_app):
    model_id = ours("1")
    proposal_id = opened(offered("2", **KNOWN), offered())
    with writing() as session:
        prices.add(
            session, model_id, price_values(rates=[RATE | {"amount": "9"}], effective_from=datetime.now(UTC).isoformat()), actor="eve"
        )
    with pytest.raises(Conflict, match="openai/known: its price changed"):
        approved(proposal_id)
    assert db.session.execute(select(Model).where(Model.model_id == "fresh")).first() is None
    assert row(Proposal, id=proposal_id).status == "open"


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
    with pytest.raises(Conflict, match="has everything") as rejected:
        opened(offered())
    assert rejected.value.code == "no_difference"
    assert len(db.session.execute(select(Proposal)).scalars().all()) == 1


def test_the_same_catalogue_again_does_not_report_the_same_pinned_price_again(app):
    ours("1", kind="manual")
    opened(offered("2", **KNOWN))
    with pytest.raises(Conflict, match="has everything"):
        opened(offered("2", **KNOWN))
    with writing() as session:
        model = session.execute(select(Model).where(Model.model_id == "gpt-4o")).scalar_one()
        prices.add(session, model.id, price_values(), actor="ann")
    again = opened(offered("2", **KNOWN), offered("2", provider="openai", model_id="gpt-4o"))
    assert row(Proposal, id=again).counts["guards"] == {"pinned": 2}


def test_a_record_of_which_no_model_can_be_made_is_named_and_left_out(app):
    proposal_id = opened(
        offered(), offered(model_id="@cf//no"), offered(model_id="odd", type="poem"), offered("0.1234567890123456789", model_id="long")
    )
    problems = row(Proposal, id=proposal_id).problems
    assert [problem.partition(":")[0] for problem in problems] == ["newcomer/@cf//no", "newcomer/long", "newcomer/odd"]


def test_every_step_is_in_the_trail(app):
    proposal_id = opened(offered())
    approved(proposal_id)
    undone(proposal_id)
    query = select(AuditEvent.action, AuditEvent.actor).where(AuditEvent.target_kind == "proposal")
    events = [tuple(event) for event in db.session.execute(query)]
    assert events == [("catalog:proposal:create", "ann"), ("catalog:proposal:apply", "bob"), ("catalog:proposal:undo", "bob")]


def test_a_closed_proposal_stays_as_it_is(app):
    proposal_id = opened(offered())
    with writing(refresh=False) as session:
        proposals.close(session, proposal_id, actor="ann")
    for action in (
        lambda session: proposals.close(session, proposal_id, actor="ann"),
        lambda session: proposals.choose(session, proposal_id, RowFilter().condition(), True),
    ):
        with pytest.raises(Conflict, match="no longer open"), writing() as session:
            action(session)
    with pytest.raises(Conflict, match="no longer open"):
        approved(proposal_id)


def test_what_was_ticked_after_somebody_looked_is_not_approved(app):
    proposal_id = opened(offered(), offered(model_id="second"))
    digest = proposals.selection_digest(db.session(), proposal_id)
    for selected in (False, True):
        with writing() as session:
            proposals.choose(session, proposal_id, ProposalRow.ref == "newcomer/second", selected)
        if not selected:
            with pytest.raises(Conflict, match="Other rows are ticked"):
                approved(proposal_id, digest=digest)
    approved(proposal_id, digest=digest)


def test_a_record_that_cannot_be_read_is_a_problem_of_the_proposal_and_rejects_no_other(app):
    proposal_id = opened(offered(), offered(model_id="dated", released_on="2025-25-11"), {"provider": "newcomer", "model_id": "bare"})
    proposal = row(Proposal, id=proposal_id)
    assert [problem.partition(":")[0] for problem in proposal.problems] == ["newcomer/dated", "newcomer/bare"]
    assert (proposal.counts["added"], proposal.counts["problems"]) == (1, 2)


def test_every_problem_is_counted_even_if_the_list_is_cut(app):
    proposal = row(Proposal, id=opened(offered(), *[{"provider": "newcomer", "model_id": f"bad-{number}"} for number in range(361)]))
    assert (len(proposal.problems), proposal.counts["problems"]) == (200, 361)


@pytest.mark.parametrize("record", [{"provider": "newcomer", "model_id": "bare"}, offered(model_id="has space")])
def test_a_catalog_in_which_nothing_can_be_read_is_an_error_and_never_nothing_new(app, record):
    with pytest.raises(Invalid, match="no record that can be read"):
        opened(record)


def catalog_of(*models, **counts):
    return SourceCatalog("acme-list", "version 2", "1" * 64, [], list(models), **counts)


def test_a_catalog_of_known_models_without_a_price_that_can_be_read_is_an_error(app):
    ours("2")
    unread = offered(**KNOWN) | {"prices": [offered()["prices"][0] | {"state": "unknown", "rates": []}]}
    with pytest.raises(Invalid, match=r"no price that can be read\. The first problem: no amount"):
        opened_catalog(catalog_of(unread | {"prices": []}, problems=["no amount"]))
    with pytest.raises(Invalid, match="no price that can be read"):
        opened_catalog(catalog_of(unread | {"prices": []}, fields_noted=3))


@pytest.mark.parametrize(
    "bad",
    [
        {"aliases": [{"a": 1}]},
        {"aliases": [1]},
        {"context_window": "many"},
        {"prices": [offered("NaN")["prices"][0]]},
        {"prices": [offered("1e999999")["prices"][0]]},
        {"prices": [offered("-1")["prices"][0]]},
        {"prices": [offered()["prices"][0] | {"currency": 7}]},
        {"prices": [offered()["prices"][0] | {"effective_from": "2026-25-11"}]},
        {"prices": [1]},
        {"prices": 1},
        {"provider": ["openai"]},
        {"model_id": None},
    ],
)
def test_a_record_with_a_value_of_another_kind_is_a_problem_whatever_the_field(app, bad):
    ours("1")
    proposal = row(Proposal, id=opened(offered("2", **KNOWN), offered(**bad), offered(**KNOWN | bad)))
    assert (proposal.counts["rows"], proposal.counts["problems"]) == (1, 2), proposal.problems


def test_nothing_new_names_the_problems_of_the_source(app):
    ours("2")
    with pytest.raises(Conflict, match=r"Problems in the source: 1\. The first one: newcomer/bare"):
        opened(offered("2", **KNOWN, display_name="GPT-4o mini"), {"provider": "newcomer", "model_id": "bare"})


def test_a_row_that_changes_a_name_in_use_is_marked_held_and_needs_its_own_confirmation(either_app):
    """A model that is gone leaves its bare id to two inactive ones."""
    with writing() as session:
        for provider in ("mistral", "anthropic"):
            models.create(session, model_values(provider=provider, model_id="known", active=False), actor="ann")
    ours("1")
    proposal_id = opened(offered(), offered(provider="openai", model_id="other"), selected=False)
    marked = {row.ref: row for row in db.session.execute(select(ProposalRow)).scalars() if ",names," in row.guards}
    assert {ref: row.lines[-1][:3] for ref, row in marked.items()} == {
        "openai/known": ["Name known", "openai/known", "ambiguous: anthropic/known, mistral/known, openai/known"]
    }
    with writing(refresh=False) as session:
        assert proposals.choose_matching(session, proposal_id, RowFilter(), True) == 1
        assert proposal_names.list_confirmations(session, proposal_id) == []
        proposals.choose(session, proposal_id, RowFilter().condition(), True)
        (listed,) = proposal_names.list_confirmations(session, proposal_id)
    with pytest.raises(ConfirmationRequired) as required:
        approved(proposal_id)
    assert (required.value.confirmations[0].key, len(listed.changes)) == (listed.key, 1)
    assert container.registry().resolve("known").ref == "openai/known"
    confirm(lambda keys: approved(proposal_id, confirmed=keys))
    assert row(Proposal, id=proposal_id).status == "applied"
    event = db.session.execute(select(AuditEvent).where(AuditEvent.action == "catalog:proposal:apply")).scalar_one()
    assert event.after["confirmed"] == [listed.message]


def test_a_new_id_that_differs_only_in_case_is_confirmed_by_whoever_applies_it(app):
    proposal_id = opened(offered(provider="openai", model_id="GPT-4o-Mini"))
    with pytest.raises(ConfirmationRequired, match="gpt-4o-mini"):
        approved(proposal_id)
    confirm(lambda keys: approved(proposal_id, confirmed=keys))
    assert row(Proposal, id=proposal_id).status == "applied"


def test_undoing_asks_if_another_model_has_taken_a_name_since(app):
    model_id = ours("1")
    proposal_id = opened(offered(provider="openai", model_id="other"))
    approved(proposal_id)
    with writing() as session:
        known = models.create(session, model_values(provider="mistral", model_id="known"), actor="ann")
        prices.add(session, known.id, price_values(), actor="ann")
    assert container.registry().resolve("known").ref == "mistral/known"
    with pytest.raises(ConfirmationRequired, match="known means mistral/known and would be ambiguous"):
        undone(proposal_id)
    assert container.registry().resolve("known").ref == "mistral/known"
    assert confirm(lambda keys: undone(proposal_id, keys)) == []
    assert row(Model, id=model_id).is_active


def test_the_whole_map_of_litellm_changes_no_name_of_the_seed_without_a_confirmation(app):
    catalog = sources.read_catalog("litellm", (ROOT / "tests" / "data" / "catalogs" / "litellm.json").read_bytes())
    before = meanings()
    proposal_id = opened_catalog(catalog)
    with writing(refresh=False) as session:
        changed = {change.name for row in proposal_names.list_confirmations(session, proposal_id) for change in row.changes}
    if changed:
        confirm(lambda keys: approved(proposal_id, confirmed=keys))
    else:
        approved(proposal_id)
    assert {name for name, ref in meanings().items() if ref != before[name]} <= changed
    assert undone(proposal_id) == []
    assert meanings() == before


# The seed update.


def test_a_fresh_installation_has_everything_of_its_seed(app):
    with pytest.raises(Conflict, match="has everything that seed of 20") as refused:
        opened_catalog(sources.read_catalog("seed"))
    assert refused.value.code == "no_difference"


def test_a_seed_update_is_a_proposal_with_dates_successors_and_prices_and_can_be_undone(app, monkeypatch):
    document = deepcopy(builtin.catalog_document())
    newer = next(model for model in document["models"] if model["model_id"] == "gpt-4.1-mini")
    newer["retires_on"], newer["successor"] = "2027-01-14", "openai/gpt-6-sol"
    newer["prices"][-1]["rates"][0]["amount"] = "0.41"
    newer["prices"][-1]["media_at_text_rate"] = False
    monkeypatch.setattr(builtin, "catalog_document", lambda: document)

    def state():
        container.registry().refresh()
        model = container.registry().get_model("openai/gpt-4.1-mini")
        price = model.price_at(datetime.now(UTC))
        source = (price.source.kind, price.source.name)
        return str(model.retires_on), model.successor, str(price.rates[0].amount), price.media_at_text_rate, source

    old = state()
    proposal_id = opened_catalog(sources.read_catalog("seed"))
    assert state() == old  # Opening a proposal changes nothing.
    approved(proposal_id)
    assert state() == ("2027-01-14", "openai/gpt-6-sol", "0.41", False, ("seed", "genai-prices"))
    with pytest.raises(Conflict, match="has everything"):
        opened_catalog(sources.read_catalog("seed"))
    assert undone(proposal_id) == []
    assert state() == old
