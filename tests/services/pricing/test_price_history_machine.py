"""Whatever happens to prices, in any order, a past cost never changes without a marked correction."""

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

from factories import NOW, model_values
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from webapp.domain.catalog.catalog_guards import GuardLimits
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Conflict
from webapp.domain.shared.timestamps import format_timestamp
from webapp.extensions import db
from webapp.models import Model
from webapp.price_sources.sources import SourceCatalog
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.catalog_sync import apply, proposals
from webapp.services.catalog_sync.apply import Approval
from webapp.services.catalog_sync.proposals import Comparison, RowFilter
from webapp.services.pricing import prices

FULL = os.environ.get("EXPERIMENTS") == "full"
AMOUNTS = st.sampled_from(["0", "0.25", "1", "2.5", "1000"])
SPENT = Usage(input=1_000_000)
names = count()


def entry(amount, at, **more):
    rates = [{"meter": "input", "amount": amount, "per": 1_000_000}]
    return {"state": "priced", "currency": "USD", "effective_from": format_timestamp(at), "rates": rates} | more


class Prices(RuleBasedStateMachine):
    """A state machine whose time only advances. `past` stores, for each past time, the price in force and the cost of a call."""

    added = Bundle("added")
    taken = Bundle("taken")

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.past = []
        self.name = f"machine-{next(names)}"
        with writing() as session:
            self.number = models.create(session, model_values(model_id=self.name), actor="ann").id

    def history(self):
        db.session.rollback()
        return prices.history(db.session(), db.session.get(Model, self.number))

    def put(self, values):
        try:
            with writing() as session:
                return prices.add(session, self.number, values, actor="ann").id
        except Conflict:
            return None  # Two prices cannot start at the same time, and a price is corrected once. Nothing was changed.

    @rule(target=added, amount=AMOUNTS)
    def a_price_from_now_on(self, amount):
        return self.put(entry(amount, self.now))

    @rule(target=added, amount=AMOUNTS, days=st.integers(1, 20))
    def a_price_that_begins_later(self, amount, days):
        return self.put(entry(amount, self.now + timedelta(days=days)))

    @rule(target=added, wrong=added, amount=AMOUNTS)
    def a_correction(self, wrong, amount):
        corrected = next((price for price in self.history() if price.id == wrong), None)
        return self.put(entry(amount, corrected.effective_from, corrects=wrong)) if corrected else None

    @rule(scheduled=added)
    def a_cancellation(self, scheduled):
        price = next((price for price in self.history() if price.id == scheduled), None)
        if price and price.effective_from > max(self.now, datetime.now(UTC)):
            with suppress(Conflict), writing() as session:  # Corrected or canceled already.
                prices.cancel(session, scheduled, actor="ann")

    @rule(target=taken, amount=AMOUNTS)
    def a_catalogue_taken_over(self, amount):
        source = {"kind": "catalog", "name": "acme-list", "url": None}
        offer = {
            "provider": "openai",
            "model_id": self.name,
            "display_name": "M",
            "type": "text",
            "capabilities": [],
            "aliases": [],
            "prices": [entry(amount, NOW - timedelta(days=900)) | {"source": source}],
        }
        container.registry().refresh()
        comparison = Comparison(
            container.registry().snapshot, SourceCatalog("acme-list", "1", "0" * 64, [], [offer]), None, GuardLimits(), self.now
        )
        try:
            with writing() as session:
                proposal_id = proposals.open_proposal(session, comparison, actor="ann").id
                if not proposals.choose(session, proposal_id, RowFilter(word=self.name).condition(), True):
                    return None  # Pinned, or nothing differs.
                apply.apply(session, proposal_id, Approval("bob", self.now, True, proposals.selection_digest(session, proposal_id)))
                return proposal_id
        except Conflict:
            return None

    @rule(proposal=consumes(taken))
    def a_catalogue_undone(self, proposal):
        if proposal is not None:
            with writing() as session:
                apply.undo(session, proposal, actor="bob")

    @rule(hours=st.integers(1, 300))
    def time_goes_on(self, hours):
        line = timeline(self.history())
        for step in (0, hours / 2):
            at = self.now + timedelta(hours=step)
            price = price_at(line, at)
            self.past.append((at, price.id if price else None, cost_of(price, SPENT, at=at).total))
        self.now += timedelta(hours=hours)

    @invariant()
    def the_past_stays_unless_a_correction_says_so(self):
        history = self.history()
        line, corrected = timeline(history), {price.id: price.corrects for price in history}
        for at, price_id, total in self.past:
            price = price_at(line, at)
            if price is None or price.id == price_id:
                assert (price.id if price else None) == price_id
                assert cost_of(price, SPENT, at=at).total == total
                continue
            step = price.id
            while step is not None and step != price_id:
                step = corrected.get(step)
            assert step == price_id, f"{at} was priced by {price_id} and is by {price.id}, which corrects nothing of it"


def test_what_a_past_moment_cost_stays_unless_a_marked_correction_says_otherwise(app):
    size = settings(
        max_examples=200 if FULL else 8,
        stateful_step_count=40 if FULL else 15,
        deadline=None,
        derandomize=not FULL,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Prices, settings=size)
