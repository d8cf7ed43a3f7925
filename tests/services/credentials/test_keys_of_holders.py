"""Keys by holder: selection, binding and call counts, on SQLite and PostgreSQL."""

import threading
from datetime import UTC, datetime

import pytest
from factories import provider_values
from sqlalchemy import select, text

from webapp.domain.credentials.environment_keys import EnvironmentKeys
from webapp.domain.credentials.key_access import PERSONAL, PROJECT, AccessState
from webapp.domain.shared.errors import Conflict, Invalid, KeysLocked
from webapp.extensions import db
from webapp.models import AuditEvent, Credential
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import providers
from webapp.services.credentials import credentials, key_access
from webapp.services.credentials.credentials import SHARED_HOLDER, Holder
from webapp.services.credentials.key_access import Caller, LimitReached
from webapp.services.projects import projects

SHARED_KEY, ANNS_KEY, BILLINGS_KEY = "sk-shared-0123456789", "sk-of-ann-0123456789", "sk-of-billing-0123456789"
ANN, BILLING = Holder(PERSONAL, "ann@example.com"), Holder(PROJECT, "billing")


@pytest.fixture
def provider(either_app):
    with writing() as session:
        created = providers.create(session, provider_values(allow_personal_keys=True), actor="ann")
        projects.create(session, {"slug": "billing", "display_name": "Billing"}, actor="ann")
        for holder, key in ((SHARED_HOLDER, SHARED_KEY), (ANN, ANNS_KEY), (BILLING, BILLINGS_KEY)):
            credentials.store(session, created, key, vault=container.vault(), actor="ann", holder=holder)
    return created


def used_by(provider, caller, environment=None) -> tuple[AccessState, str | None]:
    access = key_access.decide_access(db.session(), provider, caller, environment or EnvironmentKeys())
    holder = Holder(access.key.scope, access.key.owner) if access.key else None
    return access.state, credentials.reveal(db.session(), provider, vault=container.vault(), holder=holder) if holder else None


def test_each_caller_is_served_with_the_key_that_is_his(provider):
    assert used_by(provider, Caller("ann@example.com")) == (AccessState.AVAILABLE_PERSONAL, ANNS_KEY)
    assert used_by(provider, Caller("bob@example.com")) == (AccessState.AVAILABLE_SHARED, SHARED_KEY)
    assert used_by(provider, Caller(project="billing")) == (AccessState.AVAILABLE_PROJECT, BILLINGS_KEY)
    assert used_by(provider, Caller(project="other")) == (AccessState.AVAILABLE_SHARED, SHARED_KEY)
    with writing() as session:
        project = projects.list_all(session)[0]
        projects.update(session, project.id, {"active": False}, actor="ann")
    assert used_by(provider, Caller(project="billing")) == (AccessState.AVAILABLE_SHARED, SHARED_KEY)


def test_a_key_of_ones_own_needs_a_provider_that_allows_it(either_app):
    with writing() as session:
        strict = providers.create(session, provider_values(), actor="ann")
        with pytest.raises(Conflict, match="allows no keys of one's own"):
            credentials.store(session, strict, ANNS_KEY, vault=container.vault(), actor="ann", holder=ANN)
        with pytest.raises(Invalid, match="no project"):
            credentials.store(session, strict, ANNS_KEY, vault=container.vault(), actor="ann", holder=Holder(PROJECT, "nowhere"))


def test_t22_a_ciphertext_that_was_moved_to_another_holder_is_worth_nothing_and_is_told_once(provider, logged):
    swap = "UPDATE credentials SET ciphertext = (SELECT c.ciphertext FROM credentials c WHERE c.scope = '{}') WHERE scope = '{}'"
    with writing() as session:
        session.execute(text(swap.format("shared", "personal")))
    for _ in range(3):
        with pytest.raises(KeysLocked, match="another provider or address"):
            credentials.reveal(db.session(), provider, vault=container.vault(), holder=ANN)
    (message,) = [record.getMessage() for record in logged.records if "cannot be used" in record.getMessage()]
    assert ("(personal of acme)" in message, "another provider or address" in message) == (True, True)
    assert credentials.reveal(db.session(), provider, vault=container.vault()) == SHARED_KEY


def test_exactly_as_many_calls_pass_as_the_limit_allows_however_many_ask_at_once(either_app, provider):
    with writing() as session:
        key = credentials.get_or_none(session, provider)
        credentials.set_limits(session, key, {"monthly_limit": 10}, actor="ann")
    passed, refused, provider_id = [], [], provider.id

    def ask() -> None:
        with either_app.app_context():
            for _ in range(4):
                try:
                    with writing(refresh=False) as session:
                        access = key_access.decide_access(
                            session, providers.find(session, provider_id), Caller("bob@example.com"), EnvironmentKeys()
                        )
                        key_access.consume_call(session, access.key)
                    passed.append(1)
                except LimitReached as error:
                    refused.append(error)
            db.session.remove()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(passed), len(refused)) == (10, 22)
    assert "limit of 10 calls" in refused[0].detail
    db.session.rollback()
    assert used_by(provider, Caller("bob@example.com"))[0] == AccessState.NO_ACCESS


def test_a_new_month_begins_at_zero(provider):
    with writing() as session:
        key = credentials.get_or_none(session, provider)
        credentials.set_limits(session, key, {"monthly_limit": 1}, actor="ann")
        stored_key = key_access.decide_access(session, provider, Caller(), EnvironmentKeys()).key
        key_access.consume_call(session, stored_key, datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
        with pytest.raises(LimitReached):
            key_access.consume_call(session, stored_key, datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
        key_access.consume_call(session, stored_key, datetime(2026, 12, 1, tzinfo=UTC))
    assert credentials.get_or_none(db.session(), provider).last_used_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_keys_of_all_holders_go_when_the_address_leads_elsewhere(provider):
    with writing() as session:
        providers.update(session, provider.id, {"base_url": "https://elsewhere.example/v1"}, actor="bob")
    assert db.session.execute(select(Credential.id)).all() == []
    removed = db.session.execute(select(AuditEvent).where(AuditEvent.action == "registry:credential:remove")).scalars().all()
    assert len(removed) == 3
