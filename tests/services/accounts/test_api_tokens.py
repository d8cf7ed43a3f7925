"""API tokens in a real database."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from webapp.domain.shared.errors import Invalid, NotFound
from webapp.extensions import db
from webapp.models import ApiToken, AuditEvent
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.tokens import digest_of, public_id_of
from webapp.services.accounts import api_tokens
from webapp.services.projects import projects

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def made(name="ci", scopes=("registry:read",), **more) -> tuple[int, str]:
    with writing() as session:
        token, secret = api_tokens.create(session, name, scopes, actor="ann", **more)
        return token.id, secret


def test_a_new_token_is_known_at_once_and_its_text_is_nowhere(either_app):
    _, secret = made()
    assert container.registry().snapshot.tokens[public_id_of(secret)].digest == digest_of(secret)
    rows = [dict(row) for table in ("api_tokens", "audit_events") for row in db.session.execute(text(f"SELECT * FROM {table}")).mappings()]
    assert secret[15:] not in str(rows)


def test_a_revoked_token_is_unknown_at_once_and_revoking_twice_is_one_event(app):
    token_id, secret = made()
    for _ in range(2):
        with writing() as session:
            api_tokens.revoke(session, token_id, actor="ann", now=NOW)
    assert public_id_of(secret) not in container.registry().snapshot.tokens
    actions = db.session.execute(select(AuditEvent.action).where(AuditEvent.target_kind == "token")).scalars().all()
    assert actions == ["accounts:token:create", "accounts:token:revoke"]


@pytest.mark.parametrize(("name", "scopes"), [("", ["registry:read"]), ("a\nb", ["registry:read"]), ("ci", []), ("ci", ["registry:all"])])
def test_a_token_that_makes_no_sense_is_refused(app, name, scopes):
    with pytest.raises(Invalid):
        made(name, scopes)
    assert db.session.execute(select(ApiToken)).all() == []


def test_a_token_of_an_unknown_project_is_refused(either_app):
    with writing() as session:
        projects.create(session, {"slug": "blue", "display_name": "Blue"}, actor="ann")
    for slug in ("red", "BLUE", ""):
        with pytest.raises(Invalid, match="there is no project with the slug"):
            made(project=slug)
    made(project="blue")
    db.session.rollback()
    assert db.session.execute(select(ApiToken.project)).scalars().all() == ["blue"]


@pytest.mark.parametrize("number", [0, 10**9, 2**70])
def test_a_token_that_is_not_there_is_not_found(app, number):
    with pytest.raises(NotFound), writing() as session:
        api_tokens.revoke(session, number, actor="ann", now=NOW)


@pytest.mark.parametrize(("days", "end"), [(None, None), (1, NOW + timedelta(days=1)), (365, NOW + timedelta(days=365))])
def test_a_token_lives_for_at_most_a_year(days, end):
    assert api_tokens.expiry_date(days, now=NOW) == end


@pytest.mark.parametrize("days", [0, -1, 366])
def test_a_life_out_of_range_is_refused(days):
    with pytest.raises(Invalid):
        api_tokens.expiry_date(days, now=NOW)
