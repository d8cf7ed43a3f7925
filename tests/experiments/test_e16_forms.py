"""E16 for everything outside the API: every form that changes something writes an audit event, and changes nothing without it.

The forms come from the URL map. A form that is in neither list of `form_table` fails. Reads continue while the audit log rejects events.
"""

import html
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
from environment import PASSWORD, api_for, by_hand, no_trail
from factories import Visitor, csrf_token, model_values, price_values, provider_values
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from webapp.domain.incidents.evaluation import LOCAL
from webapp.domain.incidents.incidents import incident_from
from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.extensions import db
from webapp.models import AuditEvent, Base, Credential, Identity, ImportDraft, Model, ProjectOverride, Proposal, Provider, User, UserSession
from webapp.runtime import container
from webapp.runtime.evaluation_runner import get_runner
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, api_tokens, second_factor
from webapp.services.audit import audit_log
from webapp.services.catalog import models, providers, succession
from webapp.services.credentials import credentials
from webapp.services.pricing import prices
from webapp.services.projects import projects
from webapp.services.runs import connection_tests, evaluations, prompt_templates, saved_incidents

SAFE = {"GET", "HEAD", "OPTIONS"}
# Tables that change even if a request fails: the registered processes and the sign-in attempts.
NOTED = ("registry_processes", "login_attempts")
NEW_PASSWORD = "Another-Harbour-of-tests"  # a fixed test value, like PASSWORD
CATALOGUE = {"format": "modeldesk-registry", "version": 1, "models": [model_values(model_id="new-one")]}
LITELLM = {"gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-06, "output_cost_per_token": 1e-05}}
PRICED = {"state": "priced", "unit": "1000000", "rate_input": "2.5", "rate_output": "10", "when": "now"}
TEMPLATE = {
    "name": "summary",
    "title": "Summary",
    "category": "summary",
    "system": "Be brief.",
    "user": "{{incident}}",
    "preferred_model": "",
    "temperature": "",
    "max_tokens": "",
    "cache_minutes": "0",
    "note": "",
}
OPENAI = {"slug": "openai", "display_name": "Open AI", "driver": "openai", "base_url": "https://api.openai.com/v1", "active": "y"}


@dataclass
class Stage:
    """Test objects, created on request, and the client that acts on them."""

    app: Flask
    ann: Visitor
    client: FlaskClient = field(init=False)
    page: str = "/admin/"

    def __post_init__(self) -> None:
        self.client = self.ann.client

    def stranger(self, page: str = "/login") -> FlaskClient:
        self.client, self.page = self.app.test_client(), page
        return self.client

    def send(self, path: str, form: Mapping[str, Any]) -> TestResponse:
        """Submit a form like a browser. A value of type bytes is sent as a file."""
        data = {"csrf_token": csrf_token(self.client.get(self.page).text)}
        for name, value in form.items():
            data[name] = (io.BytesIO(value), "file.json") if isinstance(value, bytes) else value
        return self.client.post(path, data=data)

    def made(self, path: str, form: Mapping[str, Any]) -> str:
        response = self.send(path, form)
        assert response.status_code == 302, response.text
        return response.location

    def one(self, query) -> Any:
        db.session.rollback()
        row = db.session.execute(query).scalars().first()
        db.session.rollback()
        return row

    def model(self, name: str = "gpt-4o") -> int:
        return self.one(select(Model.id).where(Model.model_id == name))

    def provider(self, slug: str = "openai") -> int:
        return self.one(select(Provider.id).where(Provider.slug == slug))

    def user(self, name: str = "eve") -> int:
        return self.one(select(User.id).where(User.email == f"{name}@example.com"))

    def with_user(self, change: Callable[[Any, User], Any], name: str = "eve") -> Any:
        with writing() as session:
            return change(session, accounts.find(session, f"{name}@example.com"))

    def link(self) -> str:
        return self.with_user(lambda session, user: accounts.make_link(session, user, actor="tests", now=datetime.now(UTC)))

    def factor(self, name: str = "ann") -> list[str]:
        """Turn the second factor on. Return the recovery codes."""

        def turn_on(session, user):
            secret = second_factor.begin_enrollment(session, user, vault=container.vault())
            now = datetime.now(UTC) - timedelta(seconds=second_factor.STEP_S)
            return second_factor.confirm_enrollment(
                session, user, pyotp.TOTP(secret).at(now), vault=container.vault(), now=datetime.now(UTC)
            )

        return self.with_user(turn_on, name)

    def key(self, slug: str = "openai") -> int:
        with writing() as session:
            credentials.store(
                session, providers.get_by_slug_or_none(session, slug), "sk-0123456789abcdef", vault=container.vault(), actor="tests"
            )
        return self.one(select(Credential.id))

    def project(self) -> int:
        with writing() as session:
            return projects.create(session, {"slug": "blue", "display_name": "Blue"}, actor="tests").id

    def rule(self) -> str:
        path = f"/admin/project/{self.project()}/rules"
        self.made(path, {"kind": "allow", "model": "openai/gpt-4o"})
        return f"{path}/{self.one(select(ProjectOverride.id))}/end"

    def template(self) -> None:
        with writing() as session:
            prompt_templates.create(
                session, TEMPLATE | {"temperature": None, "max_tokens": None, "preferred_model": None, "cache_minutes": 0}, actor="tests"
            )

    def bench(self) -> str:
        location = self.made("/admin/bench/new", BENCH)
        public_id = location.rstrip("/").rsplit("/", 1)[1]
        get_runner().wait(evaluations.find(db.session(), public_id).id, 20)
        db.session.rollback()
        return public_id

    def cell(self, public_id: str) -> str:
        run_id = evaluations.find_with_cells(db.session(), public_id).cells[0].run.public_id
        db.session.rollback()
        return run_id

    def incident(self) -> int:
        with writing() as session:
            return saved_incidents.save(session, "Kept", incident_from({"title": "Disk full"}), actor="tests").id

    def draft(self) -> str:
        self.made("/admin/exchange/compare", {"file": json.dumps(CATALOGUE).encode()})
        return self.one(select(ImportDraft.public_id))

    def proposal(self) -> int:
        self.made("/admin/proposals/new", UPLOAD)
        return self.one(select(Proposal.id))

    def price(self) -> int:
        with writing() as session:
            return prices.add(session, self.one_model(session), price_values(), actor="tests").id

    def one_model(self, session) -> int:
        return session.execute(select(Model.id).where(Model.model_id == "gpt-4o")).scalar_one()

    def event(self) -> int:
        model_id = self.model()
        with writing() as session:
            models.update(session, model_id, {"display_name": "Wrong"}, actor="tests")
        return self.one(select(AuditEvent.id).order_by(AuditEvent.id.desc()))

    def retiring(self) -> int:
        model_id, retires_on = self.model("gpt-4o-mini"), (datetime.now(UTC) + timedelta(days=30)).date()
        with writing() as session:
            models.update(session, model_id, {"retires_on": retires_on.isoformat(), "successor": "openai/gpt-4o"}, actor="tests")
            succession.schedule_switch(session, model_id, retires_on, actor="tests")
        return model_id


BENCH = {"samples": "disk-full", "models": LOCAL, "repeats": "1", "spend_cap": "", "incident": ""}
UPLOAD = {"source": "litellm", "file": json.dumps(LITELLM).encode()}
Sent = tuple[str, Mapping[str, Any]]


def signing_in(stage: Stage) -> Sent:
    stage.stranger()
    return "/login", {"email": "bob@example.com", "password": PASSWORD}


def giving_a_code(stage: Stage) -> Sent:
    codes = stage.factor("eve")
    stage.stranger()
    assert stage.made("/login", {"email": "eve@example.com", "password": PASSWORD}).startswith("/login/code")
    stage.page = "/login/code"
    return "/login/code", {"code": codes[0]}


def using_a_link(stage: Stage) -> Sent:
    path = f"/setup/{stage.link()}"
    stage.stranger(path)
    return path, {"password": NEW_PASSWORD, "password_again": NEW_PASSWORD}


def turning_a_factor_on(stage: Stage) -> Sent:
    secret = stage.with_user(lambda session, user: second_factor.begin_enrollment(session, user, vault=container.vault()), "ann")
    return "/admin/second-factor/turn-on", {"code": pyotp.TOTP(secret).now()}


def with_a_factor(path: str) -> Callable[[Stage], Sent]:
    def made(stage: Stage) -> Sent:
        stage.factor()
        return path, {}

    return made


def ending_a_session(stage: Stage) -> Sent:
    Visitor(stage.app, "ann@example.com", PASSWORD)
    return f"/admin/account/sessions/{stage.one(select(UserSession.id).order_by(UserSession.id.desc()))}/end", {}


def unlinking(stage: Stage) -> Sent:
    user_id = stage.user()
    with by_hand() as session:
        session.add(Identity(issuer="https://login.example", subject="1", user_id=user_id))
    return f"/admin/user/{user_id}/unlink", {}


def removing_a_users_factor(stage: Stage) -> Sent:
    stage.factor("eve")
    return f"/admin/user/{stage.user()}/second-factor/remove", {}


def revoking(stage: Stage) -> Sent:
    with writing() as session:
        return f"/admin/token/{api_tokens.create(session, 'app', ('registry:read',), actor='tests')[0].id}/revoke", {}


def own_key(path: str, *, stored: bool) -> Callable[[Stage], Sent]:
    def made(stage: Stage) -> Sent:
        provider_id = stage.provider()
        with writing() as session:
            providers.update(session, provider_id, {"allow_personal_keys": True}, actor="tests")
        form = {"provider": str(provider_id), "api_key": "sk-0123456789abcdef", "address": "https://api.openai.com"}
        if stored:
            stage.made("/admin/my-keys/store", form)
        return path, form

    return made


def a_key(rest: str, **form: str) -> Callable[[Stage], Sent]:
    def made(stage: Stage) -> Sent:
        key = stage.key()
        return f"/admin/provider/{stage.provider()}/{rest.format(key=key)}", form

    return made


def a_template(rest: str, **form: str) -> Callable[[Stage], Sent]:
    def made(stage: Stage) -> Sent:
        stage.template()
        return f"/admin/prompts/summary/{rest}", form

    return made


def an_older_template(stage: Stage) -> Sent:
    stage.template()
    stage.made("/admin/prompts/summary/edit", TEMPLATE | {"system": "Be kind.", "row_version": "1"})
    return "/admin/prompts/summary/restore", {"version": "1"}


def rating(stage: Stage) -> Sent:
    public_id = stage.bench()
    return f"/admin/bench/{public_id}/rate", {"run": stage.cell(public_id), "score": "4"}


def a_primary_provider(stage: Stage) -> Sent:
    stage.key("anthropic")
    return f"/admin/provider/{stage.provider('anthropic')}/primary?to=1", {}


def a_lonely_provider(stage: Stage) -> Sent:
    with writing() as session:
        return "/admin/provider/delete/", {"id": str(providers.create(session, provider_values(), actor="tests").id)}


def a_lonely_model(stage: Stage) -> Sent:
    with writing() as session:
        return "/admin/model/delete/", {"id": str(models.create(session, model_values(), actor="tests").id)}


# By endpoint: all audit actions that the form writes, and the function that prepares its path and fields.
FORMS: dict[str, tuple[tuple[str, ...], Callable[[Stage], Sent]]] = {
    "account.sign_in": (("accounts:session:begin",), signing_in),
    "account.logout": (("accounts:session:sign_out",), lambda _: ("/logout", {})),
    "account.use_link": (("accounts:user:set_password", "accounts:session:begin"), using_a_link),
    "signing.use_code": (("accounts:recovery_code:use", "accounts:session:begin"), giving_a_code),
    "signing.use_proof": (("accounts:session:confirm",), lambda _: ("/confirm", {"password": PASSWORD})),
    "account_page.change_password": (
        ("accounts:user:set_password",),
        lambda _: ("/admin/account/password", {"present": PASSWORD, "new": NEW_PASSWORD, "again": NEW_PASSWORD}),
    ),
    "account_page.end_session": (("accounts:session:end",), ending_a_session),
    "second_factor.begin": (("accounts:second_factor:begin",), lambda _: ("/admin/second-factor/begin", {})),
    "second_factor.turn_on": (("accounts:second_factor:turn_on",), turning_a_factor_on),
    "second_factor.codes": (("accounts:recovery_codes:renew",), with_a_factor("/admin/second-factor/codes")),
    "second_factor.remove": (("accounts:second_factor:remove",), with_a_factor("/admin/second-factor/remove")),
    "user.create_view": (
        ("accounts:user:create", "accounts:user:make_link"),
        lambda _: ("/admin/user/new/", {"email": "dan@example.com", "role": "editor"}),
    ),
    "user.edit_view": (
        ("accounts:user:set_role",),
        lambda stage: (f"/admin/user/edit/?id={stage.user()}", {"role": "editor", "active": "y"}),
    ),
    "user.set_active": (("accounts:user:disable",), lambda stage: (f"/admin/user/{stage.user()}/active?to=0", {})),
    "user.new_link": (("accounts:user:make_link",), lambda stage: (f"/admin/user/{stage.user()}/link", {})),
    "user.unlink": (("accounts:identity:unlink",), unlinking),
    "user.remove_second_factor": (("accounts:second_factor:remove",), removing_a_users_factor),
    "token.create_view": (
        ("accounts:token:create",),
        lambda _: ("/admin/token/new/", {"name": "app", "scopes": "registry:read", "expires_days": "30"}),
    ),
    "token.revoke": (("accounts:token:revoke",), revoking),
    "mykeys.store": (("registry:credential:create",), own_key("/admin/my-keys/store", stored=False)),
    "mykeys.remove": (("registry:credential:remove",), own_key("/admin/my-keys/remove", stored=True)),
    "audit.restore": (
        ("registry:model:update", "audit:event:restore"),
        lambda stage: ("/admin/audit/restore/", {"id": str(stage.event())}),
    ),
    "provider.create_view": (("registry:provider:create",), lambda _: ("/admin/provider/new/", provider_values(active="y"))),
    "provider.edit_view": (("registry:provider:update",), lambda stage: (f"/admin/provider/edit/?id={stage.provider()}", OPENAI)),
    "provider.delete_view": (("registry:provider:delete",), a_lonely_provider),
    "provider.set_active": (
        ("registry:provider:deactivate",),
        lambda stage: (f"/admin/provider/{stage.provider('anthropic')}/active?to=0", {}),
    ),
    "provider.set_primary": (("registry:provider:set_primary",), a_primary_provider),
    "provider.check": (("registry:provider:check",), lambda stage: (f"/admin/provider/{stage.provider()}/check", {})),
    "provider.add_discovered": (
        ("registry:model:create",),
        lambda stage: (f"/admin/provider/{stage.provider()}/discover", {"model": "listed-1", "type:listed-1": "text"}),
    ),
    "provider.store_key": (
        ("registry:credential:create",),
        lambda stage: (
            f"/admin/provider/{stage.provider()}/keys",
            {"api_key": "sk-0123456789abcdef", "owner": "", "address": "https://api.openai.com"},
        ),
    ),
    "provider.limit_key": (("registry:credential:limit",), a_key("keys/{key}/limit", monthly_limit="5", active="1")),
    "provider.remove_one_key": (("registry:credential:remove",), a_key("keys/{key}/remove")),
    "provider.remove_key": (("registry:credential:remove",), a_key("remove-key")),
    "model.create_view": (("registry:model:create",), lambda _: ("/admin/model/new/", model_values(active="y"))),
    "model.edit_view": (
        ("registry:model:update",),
        lambda stage: (f"/admin/model/edit/?id={stage.model()}", model_values(model_id="gpt-4o", display_name="Comet", active="y")),
    ),
    "model.delete_view": (("registry:model:delete",), a_lonely_model),
    "model.set_active": (("registry:model:deactivate",), lambda stage: (f"/admin/model/{stage.model()}/active?to=0", {})),
    "model.bulk_active": (("registry:model:deactivate",), lambda stage: (f"/admin/model/active?to=0&ids={stage.model()}", {})),
    "model.action_view": (
        ("registry:model:deactivate",),
        lambda stage: ("/admin/model/action/", {"action": "deactivate", "rowid": str(stage.model())}),
    ),
    "model.set_default": (("registry:model:set_default",), lambda stage: (f"/admin/model/{stage.model()}/default?to=1", {})),
    "model.switch_over": (("registry:model:switch_over",), lambda stage: (f"/admin/model/{stage.retiring()}/switch-over", {"day": ""})),
    "price.create_view": (("registry:price:add",), lambda stage: ("/admin/price/new/", {"model": str(stage.model())} | PRICED)),
    "price.verify": (("registry:price:verify",), lambda stage: (f"/admin/price/{stage.price()}/verify", {})),
    "project.create_view": (
        ("registry:project:create",),
        lambda _: ("/admin/project/new/", {"slug": "red", "display_name": "Red", "active": "y"}),
    ),
    "project.edit_view": (
        ("registry:project:update",),
        lambda stage: (f"/admin/project/edit/?id={stage.project()}", {"slug": "blue", "display_name": "Bluer", "active": "y"}),
    ),
    "project.delete_view": (("registry:project:delete",), lambda stage: ("/admin/project/delete/", {"id": str(stage.project())})),
    "project.rules": (
        ("registry:project:add_rule",),
        lambda stage: (f"/admin/project/{stage.project()}/rules", {"kind": "allow", "model": "openai/gpt-4o"}),
    ),
    "project.end_rule": (("registry:project:end_rule",), lambda stage: (stage.rule(), {})),
    "prompts.create": (("prompts:template:create",), lambda _: ("/admin/prompts/new", TEMPLATE)),
    "prompts.edit": (("prompts:template:revise",), a_template("edit", **TEMPLATE | {"system": "Be kind.", "row_version": "1"})),
    "prompts.change": (("prompts:template:deactivate",), a_template("deactivate")),
    "prompts.restore": (("prompts:template:restore",), an_older_template),
    "prompts.clear_cache": (("prompts:cache:clear",), lambda _: ("/admin/prompts/cache/clear", {})),
    "proposal.create": (("catalog:proposal:create",), lambda _: ("/admin/proposals/new", UPLOAD)),
    "proposal.act": (("catalog:proposal:close",), lambda stage: (f"/admin/proposals/{stage.proposal()}/close", {})),
    "exchange.apply": (
        ("registry:model:create", "catalog:file:import"),
        lambda stage: (f"/admin/exchange/draft/{stage.draft()}/apply", {}),
    ),
    "bench.create": (("runs:bench:create", "runs:run:create"), lambda _: ("/admin/bench/new", BENCH)),
    "bench.change": (("runs:bench:rename",), lambda stage: (f"/admin/bench/{stage.bench()}/rename", {"name": "Renamed"})),
    "bench.rate": (("runs:run:rate",), rating),
    "bench.save_incidents": (("runs:incident:create",), lambda _: ("/admin/bench/incidents", {"incident": '{"title": "Kept one"}'})),
    "bench.delete_incident": (("runs:incident:delete",), lambda stage: (f"/admin/bench/incidents/{stage.incident()}/delete", {})),
    "tryit.run": (("runs:run:create",), lambda _: ("/admin/try-it/run", {"incident": "Disk full", "model": LOCAL})),
}
COMPUTES, PREPARES = "only computes", "prepared by one person for themselves; applying has the line"
NOTHING = {
    "bench.estimate": COMPUTES,
    "price.echo": COMPUTES,
    "prompts.preview": COMPUTES,
    "tryit.preview": COMPUTES,
    "provider.moves": COMPUTES,
    "exchange.compare": PREPARES,
    "exchange.discard": PREPARES,
    "proposal.choose": "ticks of an open proposal; applying has the line",
    # Flask-Admin adds these, and Modeldesk denies them to everyone (tests/web/test_permissions.py).
    **{f"{view}.action_view": "no action" for view in ("audit", "price", "project", "provider", "run", "token", "user")},
    **{f"{view}.ajax_update": "no cell is edited" for view in ("audit", "model", "price", "project", "provider", "run", "token", "user")},
    **{f"{view}.create_view": "cannot be made" for view in ("audit", "run")},
    **{f"{view}.edit_view": "cannot be edited" for view in ("audit", "price", "run", "token")},
    **{f"{view}.delete_view": "cannot be deleted" for view in ("audit", "price", "run", "token", "user")},
}


@pytest.fixture
def stage(app, ann, monkeypatch) -> Stage:
    listed = (connection_tests.ListedModel("listed-1", "Listed", None, None, "active"),)
    monkeypatch.setattr(connection_tests, "list_upstream_models", lambda *_, **__: listed)  # No provider is contacted.
    return Stage(app, ann)


def changing(app: Flask) -> set[str]:
    return {rule.endpoint for rule in app.url_map.iter_rules() if not rule.rule.startswith("/api/") and rule.methods - SAFE}


def state() -> dict[str, list]:
    """Return all stored rows, without the last-seen columns."""
    db.session.rollback()
    rows = {}
    with db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name not in NOTED:
                columns = ", ".join(column.name for column in table.columns if column.name not in ("last_seen_at", "updated_at"))
                rows[table.name] = connection.execute(text(f"SELECT {columns} FROM {table.name} ORDER BY id")).all()
    return rows


def actions(since: int) -> list[str]:
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent.action).where(AuditEvent.id > since).order_by(AuditEvent.id)).scalars())


def newest() -> int:
    db.session.rollback()
    return db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()


def admits(stage: Stage, response: TestResponse) -> bool:
    """Whether the response reports the outage: 503, or the message on the page with the form or on the page after the redirect."""
    if response.status_code == 503:
        return True
    page = stage.client.get(response.location).text if response.status_code == 302 else response.text
    return DatabaseUnreachable().detail in html.unescape(page)


def test_e16_every_form_is_tried_or_has_a_reason_why_it_needs_no_line(app):
    assert changing(app) == FORMS.keys() | NOTHING.keys()
    assert not FORMS.keys() & NOTHING.keys()


@pytest.mark.parametrize("endpoint", FORMS)
def test_e16_a_form_changes_nothing_without_its_line_and_leaves_it_with_the_change(stage, endpoint):
    expected, prepare = FORMS[endpoint]
    path, form = prepare(stage)
    before, since = state(), newest()
    cookie = stage.client.get_cookie("modeldesk")
    with no_trail():
        refused = stage.send(path, form)
    assert admits(stage, refused), (refused.status_code, refused.text[:2000])
    assert state() == before
    if cookie is not None:
        stage.client.set_cookie("modeldesk", cookie.value)  # Signing out deletes the cookie even if the audit log fails.
    response = stage.send(path, form)
    assert response.status_code in (200, 302), (response.status_code, response.text[:2000])
    if endpoint == "bench.create":
        get_runner().wait(evaluations.find(db.session(), response.location.rstrip("/").rsplit("/", 1)[1]).id, 20)
    assert tuple(actions(since)) == expected
    assert audit_log.get_first_break_or_none(db.session()) is None


def test_e16_reading_goes_on_while_the_trail_takes_no_line(app, ann):
    api = api_for(app, "registry:read", "usage:read")
    paths = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in rule.methods and "<" not in rule.rule and not rule.rule.startswith("/api/")
    ]
    api_paths = ["/models", "/models/gpt-4o", "/defaults", "/providers", "/snapshot", "/cost?model=gpt-4o&input_tokens=1", "/usage/summary"]
    before = [ann.get(path).status_code for path in paths], [api.get(path).status_code for path in api_paths]
    assert {200} == set(before[1])
    with no_trail():
        assert ([ann.get(path).status_code for path in paths], [api.get(path).status_code for path in api_paths]) == before
        assert api.post("/cost", {"model": "openai/gpt-4o", "usage": {"input": 1}}).status_code == 200
