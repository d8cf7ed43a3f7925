"""Which key answers: the most specific that is allowed, and never somebody else's because one's own is used up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.credentials.key_access import (
    PERSONAL,
    PROJECT,
    SHARED,
    AccessContext,
    AccessState,
    StoredKey,
    evaluate_access,
    next_period,
    period_of,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def key(scope, **more):
    return StoredKey(1, scope, "ann@example.com" if scope == PERSONAL else "billing" if scope == PROJECT else "", **more)


A_MOMENT = st.integers(1_577_836_800, 4_102_444_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
MOMENTS = st.one_of(st.none(), A_MOMENT)


def keys(scope):
    made = st.builds(
        lambda active, expires, limit, used: key(scope, active=active, expires_at=expires, monthly_limit=limit, used=used),
        st.booleans(),
        MOMENTS,
        st.one_of(st.none(), st.integers(1, 10)),
        st.integers(0, 12),
    )
    return st.one_of(st.none(), made)


FACTS = st.builds(
    AccessContext,
    provider=st.just("Acme"),
    active=st.booleans(),
    needs_key=st.booleans(),
    allow_shared=st.booleans(),
    allow_personal=st.booleans(),
    personal=keys(PERSONAL),
    project=keys(PROJECT),
    shared=keys(SHARED),
    variable=st.one_of(st.none(), st.just("ACME_KEY")),
)

REST = {"project": key(PROJECT), "shared": key(SHARED), "variable": "K"}
ORDER = [
    (
        AccessContext("Acme", allow_personal=True, personal=key(PERSONAL), project=key(PROJECT), shared=key(SHARED), variable="K"),
        AccessState.AVAILABLE_PERSONAL,
    ),
    (AccessContext("Acme", personal=key(PERSONAL), project=key(PROJECT), shared=key(SHARED), variable="K"), AccessState.AVAILABLE_PROJECT),
    (AccessContext("Acme", personal=key(PERSONAL), shared=key(SHARED), variable="K"), AccessState.AVAILABLE_SHARED),
    (AccessContext("Acme", variable="K"), AccessState.AVAILABLE_ENVIRONMENT),
    (AccessContext("Acme", needs_key=False), AccessState.AVAILABLE_WITHOUT_KEY),
    (AccessContext("Acme"), AccessState.NO_ACCESS),
    (AccessContext("Acme", allow_shared=False, shared=key(SHARED), variable="K"), AccessState.NO_ACCESS),
    (AccessContext("Acme", active=False, shared=key(SHARED)), AccessState.DISABLED),
]


@pytest.mark.parametrize(("facts", "state"), ORDER, ids=[str(state) for _, state in ORDER])
def test_the_most_specific_key_that_is_allowed_decides(facts, state):
    assert evaluate_access(facts, NOW).state == state


WRONG = [{"active": False}, {"expires_at": NOW}, {"monthly_limit": 5, "used": 5}]


@pytest.mark.parametrize("wrong", WRONG, ids=["switched off", "expired", "used up"])
def test_a_key_that_cannot_be_used_is_not_passed_over_for_the_shared_one(wrong):
    found = evaluate_access(
        AccessContext("Acme", allow_personal=True, personal=key(PERSONAL, **wrong), shared=key(SHARED), variable="K"), NOW
    )
    assert (found.state, found.reason.startswith("Your own key for Acme")) == (AccessState.NO_ACCESS, True)


def test_a_key_that_is_used_up_says_when_it_works_again():
    found = evaluate_access(AccessContext("Acme", shared=key(SHARED, monthly_limit=1_000, used=1_000)), NOW)
    assert "1,000 calls this month" in found.reason
    assert "2026-12-01T00:00:00Z" in found.reason


@given(FACTS)
def test_what_is_decided_is_allowed_and_says_what_to_do(facts):
    found = evaluate_access(facts, NOW)
    if found.available:
        assert facts.active
        assert found.key is None or found.key in (facts.personal, facts.project, facts.shared)
        assert facts.allow_personal or found.key is None or found.key.scope != PERSONAL
        assert facts.allow_shared or (found.variable is None and (found.key is None or found.key.scope != SHARED))
        assert found.key is None or (found.key.active and (found.key.monthly_limit is None or found.key.used < found.key.monthly_limit))
        assert found.key or found.variable or not facts.needs_key
    assert "Acme" in found.reason
    assert found.reason.endswith(".")


@given(A_MOMENT)
def test_the_next_month_begins_right_after_this_one(moment):
    following = next_period(moment)
    assert period_of(following) > period_of(moment)
    assert period_of(following - timedelta(microseconds=1)) == period_of(moment)
