"""E9: thousands of hostile requests against a real server. None causes an internal error or discloses a secret, and no rejected request
changes anything."""

import base64
import html
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import hypothesis
import pytest
import requests
from environment import ENCRYPTION_KEY, PASSWORD, SECRET_KEY
from experiments import hostile
from experiments.attack import Judge, Request, fields_of, form, resident
from experiments.conftest import FULL
from factories import csrf_token
from hypothesis import HealthCheck, Phase
from serving import serving
from sqlalchemy import select

from webapp.api.v1.core import openapi
from webapp.api.v1.routes import ROUTES
from webapp.app import create_app
from webapp.domain.accounts.permissions import SCOPES
from webapp.extensions import db
from webapp.models import ApiToken, Credential, Provider, User
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens
from webapp.services.credentials import credentials

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode

KEY = "sk-CANARY-{:032x}"
MB = 1_000_000
# Other tests attack the pages that end the attacker's session or account, and the pages that call other machines.
LEFT_OUT = ("/logout", "/admin/account/", "/admin/second-factor/")


@pytest.fixture
def prepared(settings):
    """Prepare a database with a key for each provider.

    Returns the attacker's token, the secrets that must stay hidden, the filters of each list, and the page routes.
    """
    app = create_app(settings)
    with app.app_context():
        with writing() as session:
            for provider in session.execute(select(Provider)).scalars():
                credentials.store(session, provider, KEY.format(provider.id), vault=container.vault(), actor="ann")
            _, other_token = api_tokens.create(session, "somebody else", list(SCOPES), actor="ann")
            # The attacker's token must not be the first row, because hostile requests revoke that one.
            _, token = api_tokens.create(session, "attacker", list(SCOPES), actor="ann")
        reader = db.session
        secrets = [KEY.format(provider.id) for provider in reader.execute(select(Provider)).scalars()]
        secrets += [base64.b64encode(secret.encode()).decode()[:20] for secret in secrets[:1]]
        secrets += [token, other_token, PASSWORD, SECRET_KEY, ENCRYPTION_KEY, "$argon2id", "sk-CANARY"]
        secrets += list(reader.execute(select(Credential.ciphertext)).scalars())
        secrets += [digest.hex() for digest in reader.execute(select(ApiToken.digest)).scalars()]
        secrets += list(reader.execute(select(User.password_hash)).scalars())
        keys = {
            view.endpoint: sorted(view._filter_args or {}) for view in app.extensions["admin"][0]._views if hasattr(view, "_filter_args")
        }
        pages = [
            (method, rule.rule)
            for rule in app.url_map.iter_rules()
            if not rule.rule.startswith(("/api/", *LEFT_OUT))
            for method in sorted(rule.methods & {"GET", "POST"})
        ]
        db.session.remove()
        db.engine.dispose()
    return token, [secret.encode() for secret in secrets], keys, pages


@contextmanager
def attacked(settings, folder, prepared, **options) -> Iterator[Judge]:
    with serving(settings, folder, workers=1, **options) as served:
        judge = Judge(served, prepared[1])
        yield judge
        judge.close()


def of_the_description(count: int, seed: int) -> Iterator[Request]:
    """Yield schemathesis requests from the OpenAPI document: valid and invalid data for each operation. Half of the row ids exist."""
    schema = schemathesis.openapi.from_dict(openapi.openapi_document(ROUTES))
    session = requests.Session()
    operations = [result.ok() for result in schema.get_all_operations()]
    per_operation = max(1, count // (2 * len(operations)))
    for operation in operations:
        for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
            for number, case in enumerate(examples(operation.as_strategy(generation_mode=mode), per_operation, seed)):
                if "number" in (case.path_parameters or {}) and number % 2:
                    case.path_parameters["number"] = str(number % 9 + 1)
                prepared_request = session.prepare_request(requests.Request(**sendable(case)))
                body = prepared_request.body.encode() if isinstance(prepared_request.body, str) else prepared_request.body
                headers = {
                    name: value
                    for name, value in prepared_request.headers.items()
                    if name not in ("Content-Length", "Authorization", "Transfer-Encoding")
                }
                yield Request(
                    prepared_request.method,
                    prepared_request.path_url,
                    {name: text(value) for name, value in headers.items()},
                    body,
                    f"{mode.name} {operation.label}",
                )


def sendable(case) -> dict:
    options = case.as_transport_kwargs(base_url="http://127.0.0.1/api/v1")
    return {
        name: options[name]
        for name in ("method", "url", "headers", "params", "data", "json", "files", "cookies")
        if options.get(name) is not None
    }


def text(value) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def examples(strategy, count: int, seed: int) -> list:
    cases: list = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(case):
        cases.append(case)

    with suppress(hypothesis.errors.Unsatisfiable):  # An operation without parameters has no invalid data.
        collect()
    return cases[:count]


def sign_in(judge: Judge) -> tuple[str, str]:
    """Sign Ann in. Return her session cookie and her CSRF token."""
    page = judge.send(Request("GET", "/login"))
    cookie = page.header("Set-Cookie").partition(";")[0]
    fields = [("csrf_token", csrf_token(page.body.decode())), ("email", "ann@example.com"), ("password", PASSWORD)]
    response = judge.send(form("POST", "/login", fields), {"Cookie": cookie})
    assert response.status == 302, response.body[:300]
    cookie = session_cookie(response)
    page = judge.send(Request("GET", "/admin/"), {"Cookie": cookie})
    return session_cookie(page), csrf_token(page.body.decode())  # The cookie of this page contains the token.


def session_cookie(response) -> str:
    return next(
        value.partition(";")[0] for name, value in response.headers if name.lower() == "set-cookie" and value.startswith("modeldesk=")
    )


class Staff:
    """Ann's session. She signs in again after a request ends the session or requires step-up authentication."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.sent = self.forged = 0
        self.cookie, self.token = sign_in(judge)

    def send(self, request: Request):
        response = self.judge.send(request, {"Cookie": self.cookie})
        self.sent += 1
        self.forged += response is not None and b"CSRF" in response.body
        if response is not None and response.header("Location").startswith(("/login", "/confirm")):
            self.cookie, token = sign_in(self.judge)
            self.judge.send(self.again(request, token), {"Cookie": self.cookie})
            self.token = token
        return response

    def again(self, request: Request, token: str) -> Request:
        body = request.body.replace(self.token.encode(), token.encode()) if request.body else request.body
        return Request(request.method, request.target, request.headers, body, request.note)

    def current(self, request: Request, made_with: str) -> Request:
        body = request.body.replace(made_with.encode(), self.token.encode()) if request.body else request.body
        return Request(request.method, request.target, request.headers, body, request.note)


PAGES = (
    "provider/",
    "provider/new/",
    "provider/edit/?id=1",
    "provider/details/?id=1",
    "model/",
    "model/new/",
    "model/edit/?id=1",
    "model/details/?id=1",
    "price/",
    "price/new/?model=1",
    "user/new/",
    "user/edit/?id=2",
    "token/new/",
    "project/new/",
    "bench/new",
    "prompts/new",
    "prompts/incident-analysis/",
    "prompts/incident-analysis/edit",
    "my-keys/",
    "proposals/new",
    "exchange/",
    "compare/",
    "what-if/",
    "explain/",
    "calculator/",
    "try-it/",
    "",
)


def forms_of(staff: Staff) -> list[tuple[str, str, list[str]]]:
    forms = {}
    for page in PAGES:
        response = staff.send(Request("GET", f"/admin/{page}"))
        assert response.status == 200, (page, response.status)
        for method, action, names in fields_of(response.body.decode()):
            target = html.unescape(action) or f"/admin/{page}"
            target = target if target.startswith("/") else f"/admin/{page.partition('?')[0]}{target}"
            if names and not target.startswith(LEFT_OUT):
                forms[method, target] = names
    return [(method, target, names) for (method, target), names in forms.items()]


def attack_pages(judge: Judge, prepared, count: int, seed: int) -> None:
    _, _, keys, pages = prepared
    staff = Staff(judge)
    made_with, forms = staff.token, forms_of(staff)
    kinds = (
        (hostile.lists(), 0.25),
        (hostile.filters(keys), 0.15),
        (hostile.changes(made_with), 0.15),
        (hostile.views(pages, made_with), 0.15),
        (hostile.filled_forms(forms, made_with), 0.3),
    )
    for requests_of_kind, share in kinds:
        for request in hostile.some(requests_of_kind, int(count * share), seed):
            staff.send(staff.current(request, made_with))
    assert staff.forged < 0.02 * staff.sent, "forms were refused for their token, and not for what was in them"


def attack_api(judge: Judge, prepared, count: int, seed: int) -> None:
    bearer = {"Authorization": f"Bearer {prepared[0]}"}
    document = openapi.openapi_document(ROUTES)
    for kind in (hostile.bodies(document), hostile.words_in_addresses(document)):
        for request in hostile.some(kind, count // 4, seed):
            judge.send(request, bearer)
    for request in of_the_description(count // 2, seed):
        judge.send(request, bearer)


def attack(judge: Judge, prepared, count: int, seed: int) -> None:
    attack_api(judge, prepared, count // 2, seed)
    attack_pages(judge, prepared, count // 2, seed)


def test_e9_hostile_requests_are_refused_in_words_and_change_nothing(settings, tmp_path, prepared, scale, report):
    seed, rounds = int.from_bytes(os.urandom(4)) if FULL else 9, scale(2, 10)
    with attacked(settings, tmp_path, prepared, application="experiments.offline_app:app") as judge:
        for request in hostile.odd_requests():
            judge.send(request, {"Authorization": f"Bearer {prepared[0]}"})
        attack(judge, prepared, scale(300, 11_000) // rounds, seed)
        baseline = resident(judge.served)  # Templates are compiled and caches are full, so any growth from here on is a leak.
        for number in range(1, rounds):
            attack(judge, prepared, scale(300, 11_000) // rounds, seed + number)
        growth = resident(judge.served) - baseline
        faults = judge.faults + judge.faults_of_log()
        statuses = ", ".join(f"{count} x {status or 'hung up'}" for status, count in sorted(judge.statuses.items()))
        report(
            f"seed {seed}: {sum(judge.statuses.values())} requests ({statuses}), {judge.refused} refused, {len(faults)} faults, "
            f"p99 {judge.p99 * 1e3:.0f} ms, most {max(judge.seconds) * 1e3:.0f} ms, memory {growth / MB:+.1f} MB"
        )
    assert faults == []
    assert judge.p99 <= scale(0.5, 0.25)  # The short form runs in parallel with other tests.
    assert growth <= 50 * MB
    assert judge.statuses[401] < 0.02 * sum(judge.statuses.values())  # Unauthenticated requests would only test the authentication.
    assert judge.refused > 0.3 * sum(judge.statuses.values())


def test_e9_control_a_desk_that_reads_json_as_python_does_fails(settings, tmp_path, prepared, report):
    with attacked(settings, tmp_path, prepared, application="experiments.mutants.lenient_json:app") as judge:
        for request in hostile.bodies(openapi.openapi_document(ROUTES)):
            if request.target in ("/api/v1/cost", "/api/v1/admin/models"):
                judge.send(request, {"Authorization": f"Bearer {prepared[0]}"})
    errors = [fault for fault in judge.faults if re.match("5..:", fault)]
    report(f"{sum(judge.statuses.values())} bodies: {len(errors)} errors of ours")
    assert len(errors) >= 3


def test_e9_control_a_change_behind_a_refusal_is_noticed(settings, tmp_path, prepared):
    with attacked(settings, tmp_path, prepared) as judge:
        ask = judge.wire.ask

        def ask_and_change(data, method):
            response = ask(data, method)
            with judge.served.engine().begin() as connection:
                connection.exec_driver_sql("UPDATE models SET sort_order = sort_order + 1 WHERE id = 1")
            return response

        judge.wire.ask = ask_and_change
        judge.send(Request("POST", "/api/v1/cost"))
    assert judge.faults == ["401 and yet ['models'] changed: " + str(Request("POST", "/api/v1/cost"))]
