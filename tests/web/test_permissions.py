"""Permissions (T10, T11): every route, method and caller, compared with one table. A new route without an entry fails.

Callers are an anonymous client, the three roles, and a token for each scope. Routes that are absent or denied to every role have their own
entries.
"""

import re
from collections.abc import Iterator

import pytest
from environment import PASSWORD, api_for
from factories import Visitor, csrf_token, provider_values
from werkzeug.routing import Rule

from webapp.api.v1.routes import ROUTES
from webapp.domain.accounts.permissions import ROLES, SCOPES, scopes_allow
from webapp.extensions import db
from webapp.models import AuditEvent
from webapp.runtime.transaction import writing
from webapp.services.audit.denied_requests import ACTION as DENIED
from webapp.services.catalog import providers
from webapp.services.projects import projects

# Methods and endpoints by the lowest role with access. G is GET, P is POST, B is both.
VIEWER = """
    G admin.index  G account_page.index  P account_page.change_password  P account_page.end_session
    G second_factor.index  P second_factor.begin  G second_factor.scan  P second_factor.turn_on
    P second_factor.codes  P second_factor.remove
    G bench.index  G bench.details  G bench.export  G bench.live  G calculator.index  G compare.index  G compare.export
    G exchange.index  G exchange.download  G explain.index  G whatif.index  G tryit.index  P tryit.preview
    G model.index_view  G model.details_view  G model.price  G model.export  G model.ajax_lookup
    G price.index_view  G price.export  G provider.index_view  G provider.details_view
    G project.index_view  G project.rules
    P job.cancel  G job.index  G job.details  G job.progress
    P prompts.preview  G prompts.index  G prompts.details  G proposal.index  G proposal.details
    G run.index_view  G run.details_view  G run.short
"""
EDITOR = """
    G audit.index_view  G audit.details_view  G audit.export  P audit.restore  G mykeys.index  P mykeys.store  P mykeys.remove
    P bench.change  P bench.rate  P bench.estimate  P bench.save_incidents  P bench.delete_incident  B bench.create  P tryit.run
    P exchange.compare  G exchange.draft  P exchange.apply  P exchange.discard
    P model.set_active  P model.set_default  P model.switch_over  P model.bulk_active
    P model.delete_view  B model.edit_view  B model.create_view
    P price.verify  P price.cancel  P price.echo  B price.create_view
    P provider.set_active  P provider.set_primary  P provider.check  G provider.discover  P provider.add_discovered  P provider.moves
    B provider.edit_view  B provider.create_view  P provider.delete_view  P project.rules  P project.end_rule
    P prompts.change  B prompts.edit  P prompts.restore  P prompts.clear_cache  B prompts.create
    P proposal.act  P proposal.choose  B proposal.create
"""
ADMIN = """
    P provider.store_key  P provider.limit_key  P provider.remove_one_key  P provider.remove_key  B project.create_view  B project.edit_view
    P project.delete_view
    G token.index_view  B token.create_view  P token.revoke  G user.index_view  B user.create_view  B user.edit_view
    P user.set_active  P user.new_link  P user.unlink  P user.remove_second_factor
"""
# Views of Flask-Admin that Modeldesk does not offer. They are denied, absent or redirected to the list for every role.
NOBODY = """
    P audit.action_view  P model.action_view  P price.action_view  P project.action_view  P provider.action_view  P run.action_view
    P token.action_view  P user.action_view
    P audit.ajax_update  P model.ajax_update  P price.ajax_update  P project.ajax_update  P provider.ajax_update  P run.ajax_update
    P token.ajax_update  P user.ajax_update
    G audit.ajax_lookup  G price.ajax_lookup  G project.ajax_lookup  G provider.ajax_lookup  G run.ajax_lookup  G token.ajax_lookup
    G user.ajax_lookup  G project.export  G provider.export  G run.export  G token.export  G user.export
    P audit.delete_view  P price.delete_view  P run.delete_view  P token.delete_view  P user.delete_view
    B audit.edit_view  B price.edit_view  B run.edit_view  B token.edit_view  B audit.create_view  B run.create_view
    G token.details_view  G user.details_view  G price.details_view  G project.details_view
"""
# Routes outside the admin and the API, with the responses to an anonymous client, a signed-in user of any role, and a token with read
# access. Listed one by one, so that a page without a permission fails wherever it is added.
LOGIN, AGAIN, HOME = "302 /login", "302 /login?next=", "302 /admin/"
PAGES = {
    ("GET", "account.root"): (HOME, HOME, HOME),  # redirects to a page that requires a sign-in
    ("GET", "account.login"): ("200", HOME, "200"),
    ("POST", "account.sign_in"): ("422", "422", "422"),
    ("POST", "account.logout"): (LOGIN, LOGIN, LOGIN),
    ("GET", "account.setup"): ("404", "404", "404"),  # requires only the secret in the URL
    ("POST", "account.use_link"): ("404", "404", "404"),
    ("GET", "account.setup_without_link"): ("404", "404", "404"),
    ("GET", "signing.code"): (LOGIN, HOME, LOGIN),  # after a correct password
    ("POST", "signing.use_code"): (AGAIN, AGAIN, AGAIN),
    ("GET", "signing.confirm"): (AGAIN, "200", AGAIN),
    ("POST", "signing.use_proof"): (AGAIN, "422", AGAIN),
    ("GET", "openid.begin"): (LOGIN, HOME, LOGIN),  # without an identity provider
    ("GET", "openid.confirm"): (AGAIN, LOGIN, AGAIN),
    ("GET", "openid.callback"): (LOGIN, LOGIN, LOGIN),
    ("GET", "health.alive"): ("200", "200", "200"),
    ("GET", "health.ready"): ("200", "200", "200"),
    ("GET", "health.metrics"): ("403", "403", "200"),  # from another machine
    ("GET", "static"): ("200", "200", "200"),
}
# Open routes under a protected prefix.
FILES = {("GET", "admin.static")}  # Flask-Admin's scripts and styles.
DESCRIPTION = {("GET", "api.get_openapi"), ("GET", "api.get_docs")}
PEOPLE = {"viewer": "eve", "editor": "bob", "admin": "ann"}
RANK = list(PEOPLE)
GIVEN = {
    "<slug>": "incident-analysis",
    "<form>": "yaml",
    "<export_type>": "csv",
    "<number>": "99999999",
    "<public_id>": "run_nothing",
    "<credential_id>": "99999999",
    "<rule>": "99999999",
    "<id>": "1",
    "<secret>": "nothing",
    "<filename>": "css/app.css",
}


def entries(lines: str) -> Iterator[tuple[str, str]]:
    for letter, endpoint in re.findall(r"([GPB]) ([\w.]+)", lines):
        for method in {"G": ["GET"], "P": ["POST"], "B": ["GET", "POST"]}[letter]:
            yield method, endpoint


def table() -> dict[tuple[str, str], str | None]:
    roles: dict[tuple[str, str], str | None] = {}
    for role, lines in (("viewer", VIEWER), ("editor", EDITOR), ("admin", ADMIN), (None, NOBODY)):
        for entry in entries(lines):
            assert entry not in roles, f"{entry} is in the table twice"
            roles[entry] = role
    return roles


def everything(app) -> dict[tuple[str, str], Rule]:
    """Return all rules of the URL map."""
    return {(method, rule.endpoint): rule for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}}


def served(app) -> dict[tuple[str, str], Rule]:
    """Return the routes for the table of roles. Only routes listed elsewhere are excluded, never by a pattern of the URL."""
    api = {(route.method, f"api.{route.name}") for route in ROUTES}
    return {entry: rule for entry, rule in everything(app).items() if entry not in PAGES.keys() | FILES | api}


def address(rule: Rule) -> str:
    path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: GIVEN[f"<{match[1]}>"], path)


@pytest.fixture
def rows(app) -> None:
    """Create one row of each kind, so that a denial is caused by the role and not by a missing row."""
    with writing() as session:
        projects.create(session, {"slug": "payments", "display_name": "Payments"}, actor="tests")
        providers.create(session, provider_values(), actor="tests")


def events() -> int:
    """Return the number of audited changes, without denials."""
    db.session.rollback()
    return db.session.query(AuditEvent).where(AuditEvent.action != DENIED).count()


def test_t11_every_address_there_is_has_a_line_in_a_table_and_every_line_an_address(app):
    assert set(table()) == set(served(app))
    assert PAGES.keys() | FILES <= set(everything(app))


def test_t11_only_the_description_of_the_api_is_open_to_strangers(app):
    assert {(route.method, f"api.{route.name}") for route in ROUTES if route.permission is None} == DESCRIPTION
    failures = []
    for route in ROUTES:
        rule = everything(app)[route.method, f"api.{route.name}"]
        status = app.test_client().open(re.sub(r"<[^>]+>", "1", rule.rule), method=route.method, json={}).status_code
        if (status == 401) == (route.permission is None):
            failures.append((route.method, route.rule, status))
    assert failures == []


@pytest.mark.parametrize("caller", ["stranger", *RANK, "token"])
def test_t11_what_is_outside_of_admin_and_api_answers_as_the_table_says(app, request, caller):
    failures = {}
    headers = {"Authorization": f"Bearer {api_for(app, 'registry:read').token}"} if caller == "token" else {}
    column = {"stranger": 0, "token": 2}.get(caller, 1)
    for (method, endpoint), responses in PAGES.items():
        if column == 1:  # A new session for each, because some routes end it.
            client = Visitor(app, f"{PEOPLE[caller]}@example.com", PASSWORD).client
            token = csrf_token(client.get("/admin/").text)
        else:
            client = app.test_client()
            token = csrf_token(client.get("/login").text)
        form = {"data": {"csrf_token": token}} if method == "POST" else {}
        rule, environ = everything(app)[method, endpoint], {"REMOTE_ADDR": "192.0.2.7"}
        response = client.open(address(rule), method=method, headers=headers, environ_base=environ, **form)
        response.close()
        actual = f"{response.status_code} {response.headers.get('Location', '')}".strip()
        if actual != responses[column] and not (responses[column] == AGAIN and actual.startswith(AGAIN)):
            failures[method, endpoint] = actual
    assert failures == {}


@pytest.mark.parametrize("role", RANK)
def test_t10_nobody_gets_through_below_the_role_that_an_address_asks_for(app, rows, request, role):
    visitor = request.getfixturevalue(PEOPLE[role])
    token, before, failures = csrf_token(visitor.get("/admin/").text), events(), []
    for (method, endpoint), rule in served(app).items():
        minimum = table()[method, endpoint]
        if minimum is not None and RANK.index(role) >= RANK.index(minimum):
            continue
        response = visitor.client.open(address(rule), method=method, query_string={"id": "1"}, data={"csrf_token": token, "id": "1"})
        response.close()
        refused = response.status_code == 403 if minimum is not None else response.status_code in (302, 403, 404)
        if not refused:
            failures.append((method, endpoint, response.status_code))
    assert failures == []
    assert events() == before


@pytest.mark.parametrize("role", RANK)
def test_t10_whoever_has_the_role_gets_to_what_it_is_for(app, rows, request, role):
    """Only GET requests; changes have their own tests."""
    visitor, failures = request.getfixturevalue(PEOPLE[role]), []
    for (method, endpoint), rule in served(app).items():
        minimum = table()[method, endpoint]
        if method != "GET" or minimum is None or RANK.index(role) < RANK.index(minimum):
            continue
        response = visitor.client.get(address(rule), query_string={"id": "1"})
        response.close()
        if response.status_code in (401, 403) or response.headers.get("Location", "").startswith(("/login", "/confirm")):
            failures.append((endpoint, response.status_code))
    assert failures == []


@pytest.mark.parametrize("caller", ["stranger", *SCOPES])
def test_t11_no_token_and_no_stranger_gets_into_the_admin(app, rows, caller):
    headers = {} if caller == "stranger" else {"Authorization": f"Bearer {api_for(app, caller).token}"}
    client, failures = app.test_client(), []
    token, before = csrf_token(client.get("/login").text), events()
    for (method, endpoint), rule in served(app).items():
        response = client.open(address(rule), method=method, headers=headers, data={"csrf_token": token, "id": "1"})
        if (response.status_code, response.headers.get("Location", "")[:7]) != (302, "/login?"):
            failures.append((method, endpoint, response.status_code))
    assert failures == []
    assert events() == before


@pytest.mark.parametrize("scope", SCOPES)
def test_t11_a_token_gets_through_exactly_where_its_scope_allows(app, scope):
    api, failures = api_for(app, scope), []
    parameters = {
        "<path:ref>": "nobody/nothing",
        "<model_type>": "nothing",
        "<slug>": "nothing",
        "<number>": "99999999",
        "<price>": "99999999",
        "<run_id>": "run_0",
    }
    for route in ROUTES:
        path = re.sub(r"<[^>]+>", lambda match: parameters[match[0]], route.rule)
        response = api.request(route.method, path, data=b"{", content_type="application/json")
        has_access = response.status_code not in (401, 403)
        if has_access != (route.permission is None or scopes_allow(frozenset({scope}), route.permission)):
            failures.append((route.method, route.rule, response.status_code))
    assert failures == []


def test_a_role_holds_all_that_the_one_below_it_holds():
    assert ROLES["viewer"] < ROLES["editor"] < ROLES["admin"]
