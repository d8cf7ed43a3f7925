"""Tests of the key selection: the most specific allowed key, and never another owner's key in place of an unusable one."""

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
    stored_keys = st.builds(
        lambda active, expires, limit, used: key(scope, active=active, expires_at=expires, monthly_limit=limit, used=used),
        st.booleans(),
        MOMENTS,
        st.one_of(st.none(), st.integers(1, 10)),
        st.integers(0, 12),
    )
    return st.one_of(st.none(), stored_keys)


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
    access = evaluate_access(
        AccessContext("Acme", allow_personal=True, personal=key(PERSONAL, **wrong), shared=key(SHARED), variable="K"), NOW
    )
    assert (access.state, access.reason.startswith("Your own key for Acme")) == (AccessState.NO_ACCESS, True)


def test_a_key_that_is_used_up_says_when_it_works_again():
    access = evaluate_access(AccessContext("Acme", shared=key(SHARED, monthly_limit=1_000, used=1_000)), NOW)
    assert "1,000 calls this month" in access.reason
    assert "2026-12-01T00:00:00Z" in access.reason


@given(FACTS)
def test_what_is_decided_is_allowed_and_says_what_to_do(context):
    access = evaluate_access(context, NOW)
    if access.available:
        assert context.active
        assert access.key is None or access.key in (context.personal, context.project, context.shared)
        assert context.allow_personal or access.key is None or access.key.scope != PERSONAL
        assert context.allow_shared or (access.variable is None and (access.key is None or access.key.scope != SHARED))
        assert access.key is None or (
            access.key.active and (access.key.monthly_limit is None or access.key.used < access.key.monthly_limit)
        )
        assert access.key or access.variable or not context.needs_key
    assert "Acme" in access.reason
    assert access.reason.endswith(".")


@given(A_MOMENT)
def test_the_next_month_begins_right_after_this_one(at):
    following = next_period(at)
    assert period_of(following) > period_of(at)
    assert period_of(following - timedelta(microseconds=1)) == period_of(at)
