"""E9: thousands of requests that nobody sends by accident, against a desk that really serves. None is an error of ours, none says what it
must not, and none that was refused has changed anything."""

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
# What ends the attacker's own session or account is attacked elsewhere, and what waits for other machines has tests of its own.
LEFT_OUT = ("/logout", "/admin/account/", "/admin/second-factor/")


@pytest.fixture
def prepared(settings):
    """A desk with a key for each provider. Gives the token of the attack, and what nobody may ever see of it."""
    app = create_app(settings)
    with app.app_context():
        with writing() as session:
            for provider in session.execute(select(Provider)).scalars():
                credentials.store(session, provider, KEY.format(provider.id), vault=container.vault(), actor="ann")
            _, other = api_tokens.create(session, "somebody else", list(SCOPES), actor="ann")
            # Not the first row: that is the one which what is sent revokes.
            _, token = api_tokens.create(session, "attacker", list(SCOPES), actor="ann")
        read = db.session
        secrets = [KEY.format(provider.id) for provider in read.execute(select(Provider)).scalars()]
        secrets += [base64.b64encode(secret.encode()).decode()[:20] for secret in secrets[:1]]
        secrets += [token, other, PASSWORD, SECRET_KEY, ENCRYPTION_KEY, "$argon2id", "sk-CANARY"]
        secrets += list(read.execute(select(Credential.ciphertext)).scalars())
        secrets += [digest.hex() for digest in read.execute(select(ApiToken.digest)).scalars()]
        secrets += list(read.execute(select(User.password_hash)).scalars())
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
    """What schemathesis makes of our description: right and wrong data for each operation; rows half of the time ones that there are."""
    schema = schemathesis.openapi.from_dict(openapi.openapi_document(ROUTES))
    session = requests.Session()
    operations = [found.ok() for found in schema.get_all_operations()]
    each = max(1, count // (2 * len(operations)))
    for operation in operations:
        for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
            for number, case in enumerate(examples(operation.as_strategy(generation_mode=mode), each, seed)):
                if "number" in (case.path_parameters or {}) and number % 2:
                    case.path_parameters["number"] = str(number % 9 + 1)
                made = session.prepare_request(requests.Request(**sendable(case)))
                body = made.body.encode() if isinstance(made.body, str) else made.body
                kept = {
                    name: value
                    for name, value in made.headers.items()
                    if name not in ("Content-Length", "Authorization", "Transfer-Encoding")
                }
                yield Request(
                    made.method, made.path_url, {name: text(value) for name, value in kept.items()}, body, f"{mode.name} {operation.label}"
                )


def sendable(case) -> dict:
    taken = case.as_transport_kwargs(base_url="http://127.0.0.1/api/v1")
    return {
        name: taken[name]
        for name in ("method", "url", "headers", "params", "data", "json", "files", "cookies")
        if taken.get(name) is not None
    }


def text(value) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def examples(strategy, count: int, seed: int) -> list:
    found: list = []

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
        found.append(case)

    with suppress(hypothesis.errors.Unsatisfiable):  # An operation without parameters takes nothing that could be wrong.
        collect()
    return found[:count]


def sign_in(judge: Judge) -> tuple[str, str]:
    """A session of Ann's: her cookie, and the token that her forms carry."""
    page = judge.send(Request("GET", "/login"))
    cookie = page.header("Set-Cookie").partition(";")[0]
    fields = [("csrf_token", csrf_token(page.body.decode())), ("email", "ann@example.com"), ("password", PASSWORD)]
    entered = judge.send(form("POST", "/login", fields), {"Cookie": cookie})
    assert entered.status == 302, entered.body[:300]
    cookie = session_cookie(entered)
    page = judge.send(Request("GET", "/admin/"), {"Cookie": cookie})
    return session_cookie(page), csrf_token(page.body.decode())  # The page's cookie knows the token.


def session_cookie(answer) -> str:
    return next(value.partition(";")[0] for name, value in answer.headers if name == "Set-Cookie" and value.startswith("modeldesk="))


class Staff:
    """Ann, who comes in again when what she sent has put her out, or when she would be asked who she is."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.sent = self.forged = 0
        self.cookie, self.token = sign_in(judge)

    def send(self, request: Request):
        answer = self.judge.send(request, {"Cookie": self.cookie})
        self.sent += 1
        self.forged += answer is not None and b"CSRF" in answer.body
        if answer is not None and answer.header("Location").startswith(("/login", "/confirm")):
            self.cookie, token = sign_in(self.judge)
            self.judge.send(self.again(request, token), {"Cookie": self.cookie})
            self.token = token
        return answer

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
    found = {}
    for page in PAGES:
        answer = staff.send(Request("GET", f"/admin/{page}"))
        assert answer.status == 200, (page, answer.status)
        for method, action, names in fields_of(answer.body.decode()):
            target = html.unescape(action) or f"/admin/{page}"
            target = target if target.startswith("/") else f"/admin/{page.partition('?')[0]}{target}"
            if names and not target.startswith(LEFT_OUT):
                found[method, target] = names
    return [(method, target, names) for (method, target), names in found.items()]


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
        warm = resident(judge.served)  # Pages are compiled and caches are filled: what grows from here on would go on growing.
        for number in range(1, rounds):
            attack(judge, prepared, scale(300, 11_000) // rounds, seed + number)
        growth = resident(judge.served) - warm
        faults = judge.faults + judge.faults_of_log()
        statuses = ", ".join(f"{count} x {status or 'hung up'}" for status, count in sorted(judge.statuses.items()))
        report(
            f"seed {seed}: {sum(judge.statuses.values())} requests ({statuses}), {judge.refused} refused, {len(faults)} faults, "
            f"p99 {judge.p99 * 1e3:.0f} ms, most {max(judge.seconds) * 1e3:.0f} ms, memory {growth / MB:+.1f} MB"
        )
    assert faults == []
    assert judge.p99 <= scale(0.5, 0.25)  # Short forms run beside other tests.
    assert growth <= 50 * MB
    assert judge.statuses[401] < 0.02 * sum(judge.statuses.values())  # Strangers get no further than the door.
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
            answer = ask(data, method)
            with judge.served.engine().begin() as connection:
                connection.exec_driver_sql("UPDATE models SET sort_order = sort_order + 1 WHERE id = 1")
            return answer

        judge.wire.ask = ask_and_change
        judge.send(Request("POST", "/api/v1/cost"))
    assert judge.faults == ["401 and yet ['models'] changed: " + str(Request("POST", "/api/v1/cost"))]
