"""Who may do what (T10, T11): every address, every method and every caller, against one table. A new route without a line in it fails.

Callers are a stranger, the three roles, and a token of each scope. What is absent, or refused to everybody, has its own lines.
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

# Methods and endpoints, by the least role that gets through. G is for GET, P for POST, B for both.
VIEWER = """
    G admin.index  G account_page.index  P account_page.change_password  P account_page.end_session
    G second_factor.index  P second_factor.begin  G second_factor.scan  P second_factor.turn_on
    P second_factor.codes  P second_factor.remove
    G bench.index  G bench.details  G bench.export  G bench.live  G calculator.index  G compare.index  G compare.export
    G exchange.index  G exchange.download  G explain.index  G whatif.index  G tryit.index  P tryit.preview
    G model.index_view  G model.details_view  G model.price  G model.export  G model.ajax_lookup
    G price.index_view  G price.export  G provider.index_view  G provider.details_view
    G project.index_view  G project.rules
    P prompts.preview  G prompts.index  G prompts.details  G proposal.index  G proposal.details
    G run.index_view  G run.details_view  G run.short
"""
EDITOR = """
    G audit.index_view  G audit.details_view  G audit.export  P audit.restore  G mykeys.index  P mykeys.store  P mykeys.remove
    P bench.change  P bench.rate  P bench.estimate  P bench.save_incidents  P bench.delete_incident  B bench.create  P tryit.run
    P exchange.compare  G exchange.draft  P exchange.apply  P exchange.discard
    P model.set_active  P model.set_default  P model.switch_over  P model.bulk_active
    P model.delete_view  B model.edit_view  B model.create_view
    P price.verify  P price.echo  B price.create_view
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
# What Flask-Admin brings along and the desk does not offer: refused, absent, or led back to the list, whoever asks.
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
# What is outside the admin and the API, with every answer: to a stranger, to somebody signed in whatever the role, and to a token that may
# read. Named one by one: a page that is added without a permission, wherever it stands, is not in here and fails.
LOGIN, AGAIN, HOME = "302 /login", "302 /login?next=", "302 /admin/"
PAGES = {
    ("GET", "account.root"): (HOME, HOME, HOME),  # leads on, to where somebody is asked
    ("GET", "account.login"): ("200", HOME, "200"),
    ("POST", "account.sign_in"): ("422", "422", "422"),
    ("POST", "account.logout"): (LOGIN, LOGIN, LOGIN),
    ("GET", "account.setup"): ("404", "404", "404"),  # opened by the secret in the address alone
    ("POST", "account.use_link"): ("404", "404", "404"),
    ("GET", "account.setup_without_link"): ("404", "404", "404"),
    ("GET", "signing.code"): (LOGIN, HOME, LOGIN),  # after the right password
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
# Open beneath a prefix that is closed otherwise.
FILES = {("GET", "admin.static")}  # Flask-Admin's own scripts and styles.
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
    found: dict[tuple[str, str], str | None] = {}
    for role, lines in (("viewer", VIEWER), ("editor", EDITOR), ("admin", ADMIN), (None, NOBODY)):
        for entry in entries(lines):
            assert entry not in found, f"{entry} is in the table twice"
            found[entry] = role
    return found


def everything(app) -> dict[tuple[str, str], Rule]:
    """All that the map of addresses holds."""
    return {(method, rule.endpoint): rule for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}}


def served(app) -> dict[tuple[str, str], Rule]:
    """What the table of roles is about. Only what is named elsewhere is left out: nothing by what its address looks like."""
    api = {(route.method, f"api.{route.name}") for route in ROUTES}
    return {entry: rule for entry, rule in everything(app).items() if entry not in PAGES.keys() | FILES | api}


def address(rule: Rule) -> str:
    path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: GIVEN[f"<{match[1]}>"], path)


@pytest.fixture
def rows(app) -> None:
    """One of each thing, so that a refusal is one of the role and not of a row that is missing."""
    with writing() as session:
        projects.create(session, {"slug": "payments", "display_name": "Payments"}, actor="tests")
        providers.create(session, provider_values(), actor="tests")


def events() -> int:
    """How many changes there were; a refusal is none, though it has a line."""
    db.session.rollback()
    return db.session.query(AuditEvent).where(AuditEvent.action != DENIED).count()


def test_t11_every_address_there_is_has_a_line_in_a_table_and_every_line_an_address(app):
    assert set(table()) == set(served(app))
    assert PAGES.keys() | FILES <= set(everything(app))


def test_t11_only_the_description_of_the_api_is_open_to_strangers(app):
    assert {(route.method, f"api.{route.name}") for route in ROUTES if route.permission is None} == DESCRIPTION
    wrong = []
    for route in ROUTES:
        rule = everything(app)[route.method, f"api.{route.name}"]
        status = app.test_client().open(re.sub(r"<[^>]+>", "1", rule.rule), method=route.method, json={}).status_code
        if (status == 401) == (route.permission is None):
            wrong.append((route.method, route.rule, status))
    assert wrong == []


@pytest.mark.parametrize("caller", ["stranger", *RANK, "token"])
def test_t11_what_is_outside_of_admin_and_api_answers_as_the_table_says(app, request, caller):
    wrong = {}
    headers = {"Authorization": f"Bearer {api_for(app, 'registry:read').token}"} if caller == "token" else {}
    column = {"stranger": 0, "token": 2}.get(caller, 1)
    for (method, endpoint), answers in PAGES.items():
        if column == 1:  # Anew for each, because some of them end the session.
            client = Visitor(app, f"{PEOPLE[caller]}@example.com", PASSWORD).client
            token = csrf_token(client.get("/admin/").text)
        else:
            client = app.test_client()
            token = csrf_token(client.get("/login").text)
        form = {"data": {"csrf_token": token}} if method == "POST" else {}
        rule, elsewhere = everything(app)[method, endpoint], {"REMOTE_ADDR": "192.0.2.7"}
        answer = client.open(address(rule), method=method, headers=headers, environ_base=elsewhere, **form)
        answer.close()
        said = f"{answer.status_code} {answer.headers.get('Location', '')}".strip()
        if said != answers[column] and not (answers[column] == AGAIN and said.startswith(AGAIN)):
            wrong[method, endpoint] = said
    assert wrong == {}


@pytest.mark.parametrize("role", RANK)
def test_t10_nobody_gets_through_below_the_role_that_an_address_asks_for(app, rows, request, role):
    visitor = request.getfixturevalue(PEOPLE[role])
    token, before, wrong = csrf_token(visitor.get("/admin/").text), events(), []
    for (method, endpoint), rule in served(app).items():
        least = table()[method, endpoint]
        if least is not None and RANK.index(role) >= RANK.index(least):
            continue
        answer = visitor.client.open(address(rule), method=method, query_string={"id": "1"}, data={"csrf_token": token, "id": "1"})
        answer.close()
        refused = answer.status_code == 403 if least is not None else answer.status_code in (302, 403, 404)
        if not refused:
            wrong.append((method, endpoint, answer.status_code))
    assert wrong == []
    assert events() == before


@pytest.mark.parametrize("role", RANK)
def test_t10_whoever_has_the_role_gets_to_what_it_is_for(app, rows, request, role):
    """By reading only: what a change does has tests of its own."""
    visitor, wrong = request.getfixturevalue(PEOPLE[role]), []
    for (method, endpoint), rule in served(app).items():
        least = table()[method, endpoint]
        if method != "GET" or least is None or RANK.index(role) < RANK.index(least):
            continue
        answer = visitor.client.get(address(rule), query_string={"id": "1"})
        answer.close()
        if answer.status_code in (401, 403) or answer.headers.get("Location", "").startswith(("/login", "/confirm")):
            wrong.append((endpoint, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("caller", ["stranger", *SCOPES])
def test_t11_no_token_and_no_stranger_gets_into_the_admin(app, rows, caller):
    headers = {} if caller == "stranger" else {"Authorization": f"Bearer {api_for(app, caller).token}"}
    client, wrong = app.test_client(), []
    token, before = csrf_token(client.get("/login").text), events()
    for (method, endpoint), rule in served(app).items():
        answer = client.open(address(rule), method=method, headers=headers, data={"csrf_token": token, "id": "1"})
        if (answer.status_code, answer.headers.get("Location", "")[:7]) != (302, "/login?"):
            wrong.append((method, endpoint, answer.status_code))
    assert wrong == []
    assert events() == before


@pytest.mark.parametrize("scope", SCOPES)
def test_t11_a_token_gets_through_exactly_where_its_scope_allows(app, scope):
    api, wrong = api_for(app, scope), []
    filled = {
        "<path:ref>": "nobody/nothing",
        "<model_type>": "nothing",
        "<slug>": "nothing",
        "<number>": "99999999",
        "<price>": "99999999",
        "<run_id>": "run_0",
    }
    for route in ROUTES:
        path = re.sub(r"<[^>]+>", lambda match: filled[match[0]], route.rule)
        answer = api.request(route.method, path, data=b"{", content_type="application/json")
        through = answer.status_code not in (401, 403)
        if through != (route.permission is None or scopes_allow(frozenset({scope}), route.permission)):
            wrong.append((route.method, route.rule, answer.status_code))
    assert wrong == []


def test_a_role_holds_all_that_the_one_below_it_holds():
    assert ROLES["viewer"] < ROLES["editor"] < ROLES["admin"]
