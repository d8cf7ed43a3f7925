"""Helpers for sign-in through an identity provider: the redirect to it, the callback, and the audit events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fake_identity_provider import path_of
from sqlalchemy import func, select, update

from webapp.domain.accounts.openid import OpenId
from webapp.extensions import db
from webapp.models import AuditEvent, UserSession
from webapp.runtime.transaction import writing

SECRET = "a-client-secret-of-the-tests/+"
ANN, EVE = "ann@example.com", "eve@example.com"
CALLBACK = "/login/openid/callback"


def settings_with(settings, provider, **overrides):
    openid = OpenId(provider.issuer, "desk", SECRET, "Acme ID", **overrides.pop("openid", {}))
    return replace(settings, openid=openid, outbound_allow=frozenset({provider.place}), **overrides)


def leave(client, path="/login/openid", **query) -> str:
    response = client.get(path, query_string=query)
    assert response.status_code == 302, response.text
    return response.headers["Location"]


def sign_in(client, provider, subject="s-ann", **query):
    return client.get(path_of(provider.agree(leave(client, **query), subject)))


def is_in(client) -> bool:
    return client.get("/admin/").status_code == 200


def kept_out(client, response, status, text) -> bool:
    assert (response.status_code, text in response.text) == (status, True), response.text
    return not is_in(client)


def events() -> list[tuple]:
    db.session.rollback()
    rows = db.session.execute(select(AuditEvent).order_by(AuditEvent.id)).scalars()
    return [(row.action, row.actor, row.after) for row in rows if row.action.startswith(("accounts:session", "accounts:identity"))]


def count(table) -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(table)).scalar_one()


def age(minutes: float) -> None:
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values(confirmed_at=datetime.now(UTC) - timedelta(minutes=minutes)))
