"""Throttling of sign-in attempts (T01, E15): counted across all workers, denied on errors, and without locking out the owner."""

import itertools
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from environment import PASSWORD, by_hand
from factories import Visitor, csrf_token
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from webapp.extensions import db
from webapp.models import AuditEvent, LoginAttempt
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, login_throttle
from webapp.services.accounts.login_throttle import PER_ACCOUNT, PER_NETWORK, WINDOW, Attempt
from webapp.services.accounts.sign_ins import ATTEMPTS_EXHAUSTED
from webapp.services.audit import audit_log

ANN, DEVICE = "ann@example.com", "modeldesk_device"
numbers = itertools.count(1)


def sign_in(client, email=ANN, password="wrong", **options):
    return client.post(
        "/login", data={"email": email, "password": password, "csrf_token": csrf_token(client.get("/login").text)}, **options
    )


def at(network: int) -> dict:
    """Return the options for a request from another network."""
    return {"environ_base": {"REMOTE_ADDR": f"192.0.2.{network}"}}


def used_up(app, email=ANN) -> None:
    """Use up all attempts of an account from several networks."""
    stranger = app.test_client()
    assert [sign_in(stranger, email, **at(number % 3)).status_code for number in range(PER_ACCOUNT)] == [422] * PER_ACCOUNT


def sign_out(client) -> None:
    client.post("/logout", data={"csrf_token": csrf_token(client.get("/admin/").text)})


def admitted(guess, now):
    with writing(refresh=False) as session:
        return login_throttle.register(session, guess, now)


def test_t01_the_eleventh_guess_in_five_minutes_is_refused_before_a_password_is_looked_at(app, monkeypatch):
    checked = []
    monkeypatch.setattr(accounts, "authenticate", lambda session, email, password: checked.append(password))
    stranger = app.test_client()
    responses = [sign_in(stranger, **at(number % 7)).status_code for number in range(PER_ACCOUNT + 3)]
    assert responses == [422] * PER_ACCOUNT + [429] * 3
    assert len(checked) == PER_ACCOUNT
    refused = sign_in(stranger, password=PASSWORD, **at(99))
    assert (refused.status_code, 1 <= int(refused.headers["Retry-After"]) <= 301) == (429, True)
    assert "Too many attempts. Try again in 5 minutes" in refused.text


def test_t01_guesses_from_one_network_leave_room_for_the_owner_from_another(app):
    stranger, owner = app.test_client(), app.test_client()
    responses = [sign_in(stranger, **at(1)).status_code for _ in range(PER_ACCOUNT + 2)]
    assert responses == [422] * PER_NETWORK + [429] * (PER_ACCOUNT + 2 - PER_NETWORK)
    assert sign_in(owner, **at(2)).status_code == 422  # A typo still leaves the owner another attempt.
    assert sign_in(owner, password=PASSWORD, **at(2)).status_code == 302


def test_t01_the_owner_who_comes_in_gives_strangers_no_more_guesses(app):
    def looked_at(network):
        return [sign_in(app.test_client(), **at(network)).status_code for _ in range(PER_ACCOUNT)].count(422)

    assert looked_at(1) == PER_NETWORK
    owner = app.test_client()
    assert [sign_in(owner, password=password, **at(2)).status_code for password in ("wrong", PASSWORD)] == [422, 302]
    assert (looked_at(1), looked_at(3), looked_at(4)) == (0, PER_NETWORK, 0)
    sign_out(owner)
    owner.delete_cookie(DEVICE)
    assert sign_in(owner, password=PASSWORD, **at(2)).status_code == 429  # Several networks can lock out the owner: see docs/adr/0017.


def test_t02_an_account_that_does_not_exist_is_refused_in_the_same_words(app):
    pages = {}
    for email in (ANN, "nobody@example.com"):
        stranger = app.test_client()
        for number in range(PER_ACCOUNT):
            sign_in(stranger, email, **at(number))
        pages[email] = re.sub(r'nonce="[^"]+"|value="[^"]*"|content="[^"]*"', "", sign_in(stranger, email).text)
    assert pages[ANN] == pages["nobody@example.com"]


def test_t01_the_owner_gets_in_from_a_browser_of_their_own_while_others_guess(app):
    owner = app.test_client()
    assert sign_in(owner, password=PASSWORD).status_code == 302
    sign_out(owner)
    used_up(app)
    assert sign_in(app.test_client(), password=PASSWORD).status_code == 429
    assert sign_in(owner, password=PASSWORD).status_code == 302


def test_t01_a_browser_in_which_a_password_was_set_by_a_link_is_known(app):
    owner, new = app.test_client(), "a new password by a link"
    with writing() as session:
        address = "/setup/" + accounts.make_link(session, accounts.find(session, ANN), actor="tests", now=datetime.now(UTC))
    form = {"csrf_token": csrf_token(owner.get(address).text), "password": new, "password_again": new}
    assert owner.post(address, data=form).status_code == 302
    sign_out(owner)
    used_up(app)
    assert sign_in(app.test_client(), password=new).status_code == 429
    assert sign_in(owner, password=new).status_code == 302


def test_t01_a_cookie_that_was_made_up_or_is_somebody_elses_is_worth_nothing(app):
    eve = app.test_client()
    sign_in(eve, "eve@example.com", PASSWORD)
    sign_out(eve)
    used_up(app)
    assert sign_in(eve).status_code == 429
    stranger = app.test_client()
    stranger.set_cookie("modeldesk_device", "made.up.cookie")
    assert sign_in(stranger).status_code == 429


def test_t01_a_right_password_is_no_guess(app):
    client = app.test_client()
    for _ in range(PER_ACCOUNT + 2):
        client.delete_cookie(DEVICE)
        assert sign_in(client, password=PASSWORD).status_code == 302
        sign_out(client)


def test_t01_after_five_minutes_guesses_are_forgotten(either_app):
    now, guess = datetime.now(UTC), Attempt(ANN, "192.0.2.0")
    for number in range(PER_ACCOUNT):
        assert admitted(Attempt(ANN, f"192.0.2.{number % 2}"), now + timedelta(seconds=number)) is None
    assert admitted(guess, now + timedelta(minutes=4)) == timedelta(minutes=1)
    assert admitted(guess, now + WINDOW) is None
    db.session.rollback()
    assert db.session.execute(select(func.count()).select_from(LoginAttempt)).scalar_one() == 4 * PER_ACCOUNT


@pytest.mark.parametrize(("networks", "most"), [(1, PER_NETWORK), (8, PER_ACCOUNT)])
def test_t01_many_at_once_are_counted_one_by_one(either_app, networks, most):
    """Simulate several workers and hosts, which share one table."""
    now, admissions, ready = datetime.now(UTC), [], threading.Barrier(8)

    def guess(number):
        with either_app.app_context():
            ready.wait()
            for _ in range(5):
                if admitted(Attempt(ANN, f"192.0.2.{number % networks}"), now) is None:
                    admissions.append(1)
            db.session.remove()

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admissions) == most


def test_t01_without_the_count_nobody_is_let_through(app, monkeypatch):
    def away(*_):
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(login_throttle, "register", away)
    response = sign_in(app.test_client(), password=PASSWORD)
    assert response.status_code == 503


def test_t01_one_address_cannot_try_every_account(app):
    now = datetime.now(UTC)
    waits = [admitted(Attempt(f"user-{next(numbers)}", "192.0.2.9"), now) for _ in range(login_throttle.PER_ADDRESS + 1)]
    assert (waits[-2], waits[-1]) == (None, WINDOW)
    assert admitted(Attempt("somebody", "192.0.2.10"), now) is None


SPELLINGS = st.lists(st.sampled_from(["upper", "lower", "space", "wide", "title", "ideographic"]), max_size=4)
CHANGES = {
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "space": lambda text: f" {text}\t",
    "ideographic": lambda text: f"\u3000{text}\u3000",
    "wide": lambda text: "".join(chr(ord(letter) + 0xFEE0) if "a" <= letter <= "z" else letter for letter in text),
}


@settings(max_examples=300, deadline=None)
@given(SPELLINGS)
def test_t01_every_spelling_of_a_name_is_counted_as_one(changes):
    text = ANN
    for change in changes:
        text = CHANGES[change](text)
    assert accounts.normalize_email(text) == ANN


def fill_up(now) -> None:
    """Use up the shared quota of all unknown clients."""
    with by_hand() as session:
        session.add_all(LoginAttempt(key=login_throttle._key("all"), at=now) for _ in range(login_throttle.OVERALL))


def test_t01_strangers_who_use_up_what_all_share_keep_nobody_out_who_is_known(either_app):
    owner = either_app.test_client()
    assert sign_in(owner, password=PASSWORD).status_code == 302
    signed_in = Visitor(either_app, "bob@example.com", PASSWORD)
    fill_up(datetime.now(UTC))
    assert sign_in(either_app.test_client(), password=PASSWORD).status_code == 429
    assert sign_in(either_app.test_client(), email="nobody@example.com").status_code == 429
    sign_out(owner)
    assert sign_in(owner, password=PASSWORD).status_code == 302
    confirmed = signed_in.post("/confirm", {"password": PASSWORD, "next": "/admin/"})
    assert confirmed.status_code == 302


def test_t01_a_form_that_is_too_long_to_be_anybodys_uses_nothing_up(app):
    client = app.test_client()
    for _ in range(3):
        assert sign_in(client, email="a@" + "x" * 1_100).status_code == 422
    assert db.session.execute(select(func.count()).select_from(LoginAttempt)).scalar_one() == 0


def test_t01_all_addresses_of_an_ipv6_network_are_one_stranger(app):
    now = datetime.now(UTC)
    for number in range(login_throttle.PER_ADDRESS):
        assert admitted(Attempt(f"a{number}", f"2001:db8:1:2::{number:x}"), now) is None
    assert admitted(Attempt("b", "2001:db8:1:2:ffff::1"), now)
    assert admitted(Attempt("b", "2001:db8:1:3::1"), now) is None
    waits = [admitted(Attempt(ANN, f"2001:db8:9:9::{number:x}"), now) for number in range(PER_ACCOUNT)]
    assert waits.count(None) == PER_NETWORK
    assert {login_throttle._network(f"{mapped}192.0.2.7") for mapped in ("", "::ffff:")} == {"192.0.2.7"}


@pytest.mark.parametrize("text", ["ſam@example.com", "STRASSE@example.com", "ﬁ@example.com", " a b@x "])
def test_t01_folding_twice_is_folding_once(text):
    assert accounts.normalize_email(accounts.normalize_email(text)) == accounts.normalize_email(text)


def lines_of_last_guesses() -> list[tuple[str, str]]:
    db.session.rollback()
    query = select(AuditEvent.actor, AuditEvent.target_name).where(AuditEvent.action == ATTEMPTS_EXHAUSTED).order_by(AuditEvent.id)
    return [tuple(row) for row in db.session.execute(query)]


def test_e16_somebody_who_uses_up_the_guesses_at_an_account_leaves_one_line(app):
    stranger = app.test_client()
    for _ in range(PER_NETWORK - 1):
        sign_in(stranger)
    assert lines_of_last_guesses() == []
    for _ in range(4):
        sign_in(stranger)
    used_up(app, "eve@example.com")
    assert lines_of_last_guesses() == [("anonymous", ANN), ("anonymous", "eve@example.com")]


def test_e16_guesses_that_go_on_as_old_ones_are_forgotten_leave_no_second_line_for_five_minutes(app):
    start, guess, audited = datetime.now(UTC), Attempt(ANN, "192.0.2.1"), []
    for second in range(0, 2 * int(WINDOW.total_seconds()), 10):
        now = start + timedelta(seconds=second)
        with writing(refresh=False) as session:
            if login_throttle.register(session, guess, now) is None and login_throttle.should_audit(session, guess, now):
                audited.append(second)
    assert len(audited) == 2
    assert audited[1] - audited[0] >= WINDOW.total_seconds()


def test_e16_strangers_cannot_fill_the_trail_with_guesses_at_many_names(app):
    now, audited = datetime.now(UTC), 0
    for name in range(login_throttle.MAX_AUDITED + 5):
        for number in range(PER_NETWORK):
            guess = Attempt(f"name-{name}", f"192.0.{name}.{7}")
            with writing(refresh=False) as session:
                assert login_throttle.register(session, guess, now) is None, (name, number)
                audited += login_throttle.should_audit(session, guess, now)
    assert audited == login_throttle.MAX_AUDITED


def test_e16_without_the_line_the_last_guess_is_not_looked_at(app, monkeypatch):
    stranger = app.test_client()
    for _ in range(PER_NETWORK - 1):
        sign_in(stranger)

    def refuse(*_, **__):
        raise OperationalError("INSERT", {}, Exception("no space left"))

    monkeypatch.setattr(audit_log, "record", refuse)
    assert sign_in(stranger, password=PASSWORD).status_code == 503


@pytest.mark.parametrize("room", [login_throttle.MAX_AUDITED, 2], ids=["while there is room", "when there is none left"])
def test_t02_the_last_guess_does_the_same_work_whoever_has_the_name_and_whoever_was_guessed_at_before(app, monkeypatch, room):
    """An audit row shared by all unknown names would be written only for the first, which would reveal the names that exist."""
    container.current().refresher.stop()
    monkeypatch.setattr(login_throttle, "MAX_AUDITED", room)
    typed, statements = "my-password-in-the-wrong-field", {}
    for network, email in enumerate(("nobody@example.com", "eve@example.com", typed, ANN)):
        stranger, statements[email] = app.test_client(), []
        for _ in range(PER_NETWORK - 1):
            sign_in(stranger, email, **at(network))
        with written(statements[email]):
            sign_in(stranger, email, **at(network))
    assert statements["nobody@example.com"] == statements["eve@example.com"]
    assert statements[typed] == statements[ANN]
    assert any(statement.startswith("INSERT INTO audit_events") for statement in statements[typed]) == (room > 2)
    unknown = ("anonymous", "an address that nobody has")
    expected = [unknown, ("anonymous", "eve@example.com"), unknown, ("anonymous", ANN)]
    assert lines_of_last_guesses() == expected[:room]


@contextmanager
def written(statements: list[str]):
    """Collect the SQL statements that write during the block."""

    def note(connection, cursor, statement, *_):
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            statements.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
