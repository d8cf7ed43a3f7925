"""Cross-site requests (T06): rejected by the browser's origin headers, even with a valid CSRF token.

For every route outside the API, nothing is stored without the CSRF token of the signed-in user, and nothing by a GET. The API accepts no
cookies (tests/api/core/test_api_authorization.py). The redirect from an identity provider is a GET, because the protocol requires it. It
is bound to the browser that started the sign-in, and valid once (tests/web/openid/test_openid.py).
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from environment import PASSWORD
from factories import Visitor, csrf_token, model_values
from flask import Flask
from sqlalchemy import select, text

from webapp.domain.incidents.evaluation import LOCAL
from webapp.domain.incidents.incidents import incident_from
from webapp.extensions import db
from webapp.models import Base, ImportDraft, Model, Proposal, UserSession
from webapp.runtime.job_worker import JobWorker
from webapp.runtime.run_pipeline import RunOptions, run_incident
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, api_tokens
from webapp.services.credentials.key_access import OPERATOR
from webapp.services.projects import projects

OWN = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


def switch(visitor, headers):
    token = csrf_token(visitor.get("/admin/").text)
    row_id = db.session.execute(select(Model.id).where(Model.model_id == "gpt-4o")).scalar_one()
    status = visitor.client.post(f"/admin/model/{row_id}/active?to=0", data={"csrf_token": token}, headers=headers).status_code
    db.session.rollback()
    return status, db.session.get(Model, row_id).is_active


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "anything"},
        OWN | {"Sec-Fetch-Site": "cross-site"},
        OWN | {"Origin": "https://evil.example"},
    ],
)
def test_t06_a_good_token_does_not_help_a_form_of_another_site(bob, headers):
    assert switch(bob, headers) == (403, True)


@pytest.mark.parametrize("headers", [{}, OWN, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1:8000"}])
def test_t06_forms_of_this_desk_are_taken(bob, headers):
    assert switch(bob, headers) == (302, False)


def test_t06_signing_in_is_refused_as_well(client):
    token = csrf_token(client.get("/login").text)
    response = client.post("/login", data={"csrf_token": token, "email": "a@b.example"}, headers={"Origin": "https://evil.example"})
    assert response.status_code == 403
    assert "sent by another site" in response.text


# Every route


SAFE = {"GET", "HEAD", "OPTIONS"}
# Tables that any request can change: processes, sessions and counts of attempts.
NOTED = ("registry_processes", "user_sessions", "login_attempts")
# Fields of a forged form: enough for each route to perform its action.
FORM = {
    "id": "1",
    "rowid": "1",
    "action": "deactivate",
    "to": "0",
    "provider": "1",
    "api_key": "sk-0123456789abcdef",
    "role": "admin",
    "active": "y",
    "email": "eve@example.com",
    "password": PASSWORD,
    "password_again": PASSWORD,
    "name": "a token",
    "scopes": "registry:read",
    "display_name": "Another",
    "slug": "another",
    "tick": "none",
}


def stored() -> str:
    """Return one hash of the whole database."""
    digest = hashlib.sha256()
    with db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name not in NOTED:
                for row in connection.execute(text(f"SELECT * FROM {table.name} ORDER BY id")):
                    digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Things:
    """One object per URL parameter, so that a rejection is caused by the token and not by a missing row."""

    secret: str
    run: str
    bench: str
    draft: str
    proposal: str
    session: str

    def address(self, rule: str) -> str:
        kind = next((name for name in ("run", "bench", "exchange/draft") if rule.startswith(f"/admin/{name}/")), "exchange/draft")
        public_id = {"run": self.run, "bench": self.bench}.get(kind, self.draft)
        parameters = {
            "secret": self.secret,
            "public_id": public_id,
            "number": self.session if "account" in rule else self.proposal,
            "slug": "incident-analysis",
            "form": "yaml",
            "export_type": "csv",
        }
        path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule)
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: parameters.get(match[1], "1"), path)


@pytest.fixture
def things(app, ann) -> Things:
    with writing() as session:
        projects.create(session, {"slug": "payments", "display_name": "Payments"}, actor="tests")
        api_tokens.create(session, "a test", ("registry:read",), actor="tests")
        secret = accounts.make_link(session, accounts.find(session, "eve@example.com"), actor="tests", now=datetime.now(UTC))
    run = run_incident(incident_from({"title": "Disk full"}), RunOptions(local=True, caller=OPERATOR), actor=ann.email).public_id
    form = {"samples": ["disk-full"], "models": [LOCAL], "repeats": "1", "spend_cap": "", "incident": ""}
    evaluation_id = ann.post("/admin/bench/new", form).location.rstrip("/").rsplit("/", 1)[1]
    JobWorker().run_pending()
    catalog = {"format": "modeldesk-registry", "version": 1, "models": [model_values(model_id="new-one")]}
    price = {"gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-06, "output_cost_per_token": 1e-05}}
    upload(ann, "/admin/exchange/compare", catalog)
    upload(ann, "/admin/proposals/new", price, source="litellm")
    db.session.rollback()
    draft = db.session.execute(select(ImportDraft.public_id)).scalar_one()
    row_ids = [db.session.execute(select(table.id)).scalars().first() for table in (Proposal, UserSession)]
    return Things(secret, run, evaluation_id, draft, *map(str, row_ids))


def upload(visitor: Visitor, path: str, document: object, **more: str) -> None:
    files = {"file": (io.BytesIO(json.dumps(document).encode()), "c.json")}
    assert visitor.post(path, more | files, content_type="multipart/form-data").status_code == 302


def addresses(app: Flask, things: Things, *, reading: bool) -> Iterator[tuple[str, str]]:
    """Yield method and path of all routes outside the API: those that read, or those that can change something."""
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") and not rule.endpoint.endswith("static"):
            for method in sorted(rule.methods & {"GET"} if reading else rule.methods - SAFE):
                yield method, things.address(rule.rule)


def tokens_of(ann: Visitor, bob: Visitor) -> dict[str, str]:
    return {"mine": csrf_token(ann.get("/admin/").text), "theirs": csrf_token(bob.get("/admin/").text)}


WITHOUT: dict[str, Callable[[dict[str, str]], dict]] = {
    "no token": lambda tokens: {"data": FORM},
    "a wrong token": lambda tokens: {"data": FORM | {"csrf_token": "wrong"}, "headers": {"X-CSRFToken": "wrong"}},
    "a changed token": lambda tokens: {"data": FORM | {"csrf_token": tokens["mine"][:-1] + "~"}},
    "another user's token": lambda tokens: {"data": FORM | {"csrf_token": tokens["theirs"]}},
    "another user's token in the header": lambda tokens: {"data": FORM, "headers": {"X-CSRFToken": tokens["theirs"]}},
    "a form as plain text": lambda tokens: {"data": urlencode(FORM | {"csrf_token": tokens["mine"]}), "content_type": "text/plain"},
    "JSON as plain text": lambda tokens: {"data": json.dumps(FORM | {"csrf_token": tokens["mine"]}), "content_type": "text/plain"},
    "JSON": lambda tokens: {"json": FORM | {"csrf_token": tokens["mine"]}},
    "the token in the address": lambda tokens: {"data": FORM, "query_string": {"csrf_token": tokens["mine"]}},
}


@pytest.mark.parametrize("case", WITHOUT)
def test_t06_without_a_good_token_nothing_is_stored_at_any_address(app, ann, bob, things, case):
    options, before, requested, failures = WITHOUT[case](tokens_of(ann, bob)), stored(), 0, []
    for method, path in addresses(app, things, reading=False):
        requested += 1
        response = ann.client.open(path, method=method, **options)
        if response.status_code not in (400, 403):
            failures.append((method, path, response.status_code))
    assert (failures, stored() == before, requested > 90) == ([], True, True)
    assert ann.get("/admin/").status_code == 200  # Ann is still signed in.


def test_t06_control_with_the_token_the_same_forms_do_store_something(app, ann, bob, things):
    """Check that the forms work with a token. Otherwise the test above would pass even if no form did anything."""
    token, changed = tokens_of(ann, bob)["mine"], []
    for method, path in addresses(app, things, reading=False):
        if path.startswith(("/login", "/logout", "/setup", "/admin/account/sessions")):
            continue  # They end the session, which also invalidates the token.
        before = stored()
        ann.client.open(path, method=method, data=FORM | {"csrf_token": token}, query_string={"id": "1"})
        if stored() != before:
            changed.append(path)
    assert len(changed) > 15, changed


@pytest.mark.parametrize("query", [{}, FORM | {"search": "gpt", "page": "1"}])
def test_t06_nothing_is_stored_by_reading(app, ann, things, query):
    before, requested, failures = stored(), 0, []
    for visitor in (ann.client, app.test_client()):
        for _, path in addresses(app, things, reading=True):
            requested += 1
            response = visitor.get(path, query_string=query | {"id": "1"} if query else {})
            response.close()
            if response.status_code >= 500:
                failures.append((path, response.status_code))
    assert (failures, stored() == before, requested > 120) == ([], True, True)
