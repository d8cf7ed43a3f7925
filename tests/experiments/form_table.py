"""The form table of E16: every form that changes something, with its audit actions, and the forms that need no audit event."""

from collections.abc import Callable, Mapping
from typing import Any

import pyotp
from environment import PASSWORD, by_hand
from experiments.form_stage import BENCH, NEW_PASSWORD, OPENAI, PRICED, TEMPLATE, UPLOAD, Stage
from factories import Visitor, model_values, provider_values
from sqlalchemy import select

from webapp.domain.incidents.evaluation import LOCAL
from webapp.models import Identity, UserSession
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens, second_factor
from webapp.services.catalog import models, providers

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
    "price.cancel": (("registry:price:cancel",), lambda stage: (f"/admin/price/{stage.scheduled_price()}/cancel", {})),
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
    "job.cancel": (("jobs:job:cancel",), lambda stage: (f"/admin/job/{stage.job()}/cancel", {})),
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
