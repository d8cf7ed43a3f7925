"""Second factor at sign-in (T13): required after a password or a link, one-time codes, and recovery."""

import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from argon2 import PasswordHasher
from environment import PASSWORD, api_for, by_hand, running
from factories import Visitor, csrf_token
from sqlalchemy import select, update

from webapp.extensions import db
from webapp.models import AuditEvent, RecoveryCode, User, UserSession
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security import passwords
from webapp.services.accounts import accounts, second_factor
from webapp.services.accounts.second_factor import STEP_S

ANN = "ann@example.com"


def code_at(secret: str, offset: int = 0) -> str:
    return pyotp.TOTP(secret).at(datetime.now(UTC) + timedelta(seconds=offset * STEP_S))


@pytest.fixture
def factor(app) -> tuple[str, list[str]]:
    """Return the secret of Ann's authenticator, enrolled with the previous code, and her recovery codes."""
    return turned_on()


def turned_on() -> tuple[str, list[str]]:
    with writing() as session:
        user = accounts.find(session, ANN)
        secret = second_factor.begin_enrollment(session, user, vault=container.vault())
        return secret, second_factor.confirm_enrollment(session, user, code_at(secret, -1), vault=container.vault(), now=datetime.now(UTC))


def password_given(app):
    """Return a client after a correct password, and the response to it."""
    client = app.test_client()
    form = {"csrf_token": csrf_token(client.get("/login").text), "email": ANN, "password": PASSWORD}
    return client, client.post("/login", data=form, query_string={"next": "/admin/model/"})


def give(client, code, **more):
    return client.post("/login/code", data={"csrf_token": csrf_token(client.get("/login/code").text), "code": code} | more)


def actions() -> list[str]:
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent.action).order_by(AuditEvent.id)).scalars())


def test_the_password_alone_opens_nothing_and_the_code_leads_on(app, factor):
    client, response = password_given(app)
    assert response.headers["Location"] == "/login/code?next=/admin/model/"
    assert client.get("/admin/").headers["Location"].startswith("/login")
    waiting = client.get_cookie("modeldesk").value
    assert give(client, code_at(factor[0]), next="/admin/model/").headers["Location"] == "/admin/model/"
    assert client.get("/admin/").status_code == 200
    thief = app.test_client()
    thief.set_cookie("modeldesk", waiting)
    assert thief.get("/login/code").headers["Location"] == "/login"


@pytest.mark.parametrize("again", ["{0}{1}", "{0} {1}", " {0}-{1}\t", "{0}\u00a0{1}"])
def test_t13_a_code_is_good_once_however_it_is_spelled(app, factor, again):
    code = code_at(factor[0])
    first, _ = password_given(app)
    assert give(first, code).status_code == 302
    second, _ = password_given(app)
    refused = give(second, again.format(code[:3], code[3:]))
    assert (refused.status_code, "used already" in refused.text) == (422, True)
    assert give(second, code_at(factor[0], -1)).status_code == 422, "older than the last one"
    assert "accounts:second_factor:refuse" in actions()


@pytest.mark.parametrize("code", ["", "12345", "１２３", "abcd-efgh-jkmn-pqrs", "\x00", "x" * 5000, "None"])
def test_t13_whatever_else_is_typed_opens_nothing(app, factor, code):
    client, _ = password_given(app)
    assert give(client, code).status_code == 422


def test_a_hash_of_an_older_cost_is_renewed_on_the_way_to_the_code(either_app, monkeypatch):
    secret, _ = turned_on()
    stronger = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "HASHER", stronger)
    client, response = password_given(either_app)
    assert response.headers["Location"].startswith("/login/code")
    db.session.rollback()
    assert not stronger.check_needs_rehash(db.session.execute(select(User.password_hash).where(User.email == ANN)).scalar_one())
    assert give(client, code_at(secret)).status_code == 302


def test_after_five_wrong_codes_the_password_is_asked_for_again(app, factor):
    client, _ = password_given(app)
    statuses = [give(client, "wrong").status_code for _ in range(4)]
    last = give(client, "wrong")
    assert (statuses, last.headers["Location"][:6]) == ([422] * 4, "/login")
    assert client.get("/login/code").status_code == 302


def test_codes_are_counted_over_all_browsers(app, factor):
    for _ in range(2):
        client, _ = password_given(app)
        for _ in range(5):
            give(client, "wrong")
    client, _ = password_given(app)
    refused = give(client, code_at(factor[0]))
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)


def test_a_waiting_sign_in_ends_after_five_minutes_and_with_the_account(app, factor):
    client, _ = password_given(app)
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values(expires_at=datetime.now(UTC)))
    assert client.get("/login/code").headers["Location"] == "/login"
    client, _ = password_given(app)
    with writing() as session:
        user = accounts.find(session, ANN)
        accounts.create(session, "zoe@example.com", "admin", actor="ann", password=PASSWORD)
        accounts.set_active(session, user, False, actor="ann")
    assert client.get("/login/code").headers["Location"] == "/login"


def test_a_waiting_sign_in_is_none_even_as_a_session(app, factor):
    """The secret of a pending sign-in is no valid session, and the list of sessions does not show it."""
    password_given(app)
    with writing() as session:
        row = session.execute(select(UserSession)).scalar_one()
        assert row.code_tries_left == 5
        assert accounts.list_sessions(session, row.user_id, now=datetime.now(UTC)) == []
        secret = "known-to-the-test"
        row.digest = accounts.tokens.digest_of(secret)
        session.flush()
        assert accounts.get_session_or_none(session, secret, now=datetime.now(UTC)) is None


def test_recovery_codes_are_stored_hashed_and_work_once_with_a_locked_vault_too(app, factor, settings):
    codes = factor[1]
    assert len(set(codes)) == 10
    stored = {row.digest for row in db.session.execute(select(RecoveryCode)).scalars()}
    assert stored == {accounts.tokens.digest_of(code.replace("-", "")) for code in codes}
    db.session.rollback()
    for locked in running(replace(settings, encryption_keys=None)):
        client, _ = password_given(locked)
        assert give(client, codes[0].upper().replace("-", " ")).status_code == 302
        client, _ = password_given(locked)
        assert give(client, codes[0]).status_code == 422
        response = give(client, code_at(factor[0]))
        assert response.status_code == 503, "a code that cannot be checked opens nothing"
        assert ("Use a recovery code" in response.text, 'name="code"' in response.text) == (True, True)
        assert give(client, codes[1]).status_code == 302, "and it was not counted as a guess"
    assert actions().count("accounts:recovery_code:use") == 2


def test_a_link_sets_a_password_and_still_asks_for_the_code(app, factor):
    with writing() as session:
        secret = accounts.make_link(session, accounts.find(session, ANN), actor="tests", now=datetime.now(UTC))
    client = app.test_client()
    token = csrf_token(client.get(f"/setup/{secret}").text)
    new = "a new password by a link"
    response = client.post(f"/setup/{secret}", data={"csrf_token": token, "password": new, "password_again": new})
    assert response.headers["Location"].startswith("/login/code")
    assert client.get("/admin/").status_code == 302
    assert give(client, code_at(factor[0])).status_code == 302
    assert client.get("/admin/").status_code == 200


def test_t04_a_password_that_asks_for_a_code_ends_the_session_before_as_well(app, factor, eve):
    before = eve.client.get_cookie("modeldesk").value
    assert eve.post("/login", {"email": ANN, "password": PASSWORD}).headers["Location"].startswith("/login/code")
    thief = app.test_client()
    thief.set_cookie("modeldesk", before)
    assert thief.get("/admin/").status_code == 302
    assert give(eve.client, code_at(factor[0])).status_code == 302
    thief.set_cookie("modeldesk", before)
    assert (ANN in eve.get("/admin/").text, thief.get("/admin/").status_code) == (True, 302)


def test_a_secret_in_the_row_of_somebody_else_opens_nothing(app, factor):
    with by_hand() as session:
        ann, bob = (accounts.find(session, email) for email in (ANN, "bob@example.com"))
        text = session.execute(select(User.totp_secret).where(User.id == ann.id)).scalar_one()
        assert factor[0] not in text
        bob.totp_secret, bob.totp_since = text, datetime.now(UTC)
    client = app.test_client()
    form = {"csrf_token": csrf_token(client.get("/login").text), "email": "bob@example.com", "password": PASSWORD}
    client.post("/login", data=form)
    assert give(client, code_at(factor[0])).status_code == 503


def test_t13_four_requests_at_once_use_a_code_once(either_app):
    secret, codes = turned_on()
    for code in (code_at(secret), codes[0]):
        kinds, together = [], threading.Barrier(4)

        def use(code=code, kinds=kinds, together=together):
            with either_app.app_context():
                together.wait()
                with by_hand() as session:
                    user = accounts.find(session, ANN)
                    kinds.append(second_factor.verify_code(session, user, code, vault=container.vault(), now=datetime.now(UTC)))

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(kind is not None for kind in kinds) == [False, False, False, True]


# Enrollment, and roles that require it


def test_it_is_turned_on_with_its_first_code_and_recovery_codes_are_shown_once(app, ann):
    assert ann.post("/admin/second-factor/begin").headers["Location"] == "/admin/second-factor/scan"
    page = ann.get("/admin/second-factor/scan").text
    secret = re.search(r"<code>([A-Z2-7 ]{39})</code>", page)[1].replace(" ", "")
    assert ('class="qr-code"' in page, "style=" in page) == (True, False)
    wrong = ann.post("/admin/second-factor/turn-on", {"code": "000"}, page="/admin/second-factor/scan")
    assert (wrong.status_code, 'id="code-error"' in wrong.text) == (422, True)
    shown = ann.post("/admin/second-factor/turn-on", {"code": code_at(secret)}, page="/admin/second-factor/scan").text
    codes = re.findall(r"(?:[a-z0-9]{4}-){3}[a-z0-9]{4}", shown)
    assert len(codes) == 10
    assert "10 of 10 recovery codes" in ann.get("/admin/second-factor/").text
    assert codes[0] not in ann.get("/admin/second-factor/").text
    assert ann.get("/admin/second-factor/scan").status_code == 302
    assert [action for action in actions() if "second_factor" in action] == [
        "accounts:second_factor:begin",
        "accounts:second_factor:turn_on",
    ]
    text = str([(row.before, row.after) for row in db.session.execute(select(AuditEvent)).scalars()])
    assert (secret in text, codes[0] in text) == (False, False)
    ann.post("/admin/second-factor/remove")
    assert "Off" in ann.get("/admin/second-factor/").text
    assert Visitor(app, ANN, PASSWORD).get("/admin/").status_code == 200


def test_another_device_replaces_the_first_only_with_its_own_first_code(app, factor):
    client, _ = password_given(app)
    give(client, code_at(factor[0]))
    token = csrf_token(client.get("/admin/").text)
    client.post("/admin/second-factor/begin", data={"csrf_token": token})
    another, _ = password_given(app)
    assert give(another, code_at(factor[0], 1)).status_code == 302


def test_an_admin_takes_a_lost_one_away(app, factor):
    with writing() as session:
        zoe = accounts.create(session, "zoe@example.com", "admin", actor="ann", password=PASSWORD)
        user_id = accounts.find(session, ANN).id
        assert zoe.id != user_id
    admin = Visitor(app, "zoe@example.com", PASSWORD)
    assert "Remove second factor" in admin.get(f"/admin/user/edit/?id={user_id}").text
    admin.post(f"/admin/user/{user_id}/second-factor/remove")
    assert actions()[-1] == "accounts:second_factor:remove"
    assert Visitor(app, ANN, PASSWORD).get("/admin/").status_code == 200


def test_a_role_that_has_to_have_one_gets_nowhere_before_it_is_set_up(settings):
    for app in running(replace(settings, second_factor_roles=frozenset({"admin"}))):
        ann, eve = Visitor(app, ANN, PASSWORD), Visitor(app, "eve@example.com", PASSWORD)
        for rule in app.url_map.iter_rules():
            if rule.rule.startswith("/admin") and "GET" in rule.methods and "static" not in rule.endpoint and not rule.arguments:
                location = ann.get(rule.rule).headers.get("Location")
                assert location == "/admin/second-factor/" or rule.endpoint.startswith("second_factor."), rule.rule
        token = csrf_token(ann.get("/admin/second-factor/").text)
        posted = ann.client.post("/admin/user/new/", data={"csrf_token": token, "email": "x@example.com", "role": "admin"})
        assert posted.headers["Location"] == "/admin/second-factor/"
        assert "Set it up to go on" in ann.get("/admin/second-factor/").text
        assert eve.get("/admin/").status_code == 200
        assert api_for(app, "registry:read").get("/models").status_code == 200
        turned_on()
        assert ann.get("/admin/").status_code == 200
        ann.post("/admin/second-factor/remove")
        assert "has to have a second factor" in ann.get("/admin/second-factor/").text
        assert ann.get("/admin/").status_code == 200
