"""Guessing passwords (T01, E15): counted for all workers alike, refused when in doubt, and never able to keep the owner out."""

import itertools
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from factories import Visitor, csrf_token
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from world import PASSWORD, by_hand

from webapp.extensions import db
from webapp.models import LoginAttempt
from webapp.services import accounts, throttle
from webapp.services.throttle import PER_ACCOUNT, WINDOW, Guess
from webapp.web.transaction import writing

ANN = "ann@example.com"
numbers = itertools.count(1)


def sign_in(client, email=ANN, password="wrong", **options):
    return client.post(
        "/login", data={"email": email, "password": password, "csrf_token": csrf_token(client.get("/login").text)}, **options
    )


def admitted(guess, now):
    with writing(refresh=False) as session:
        return throttle.admit(session, guess, now)


def test_t01_the_eleventh_guess_in_five_minutes_is_refused_before_a_password_is_looked_at(app, monkeypatch):
    looked_at = []
    monkeypatch.setattr(accounts, "authenticate", lambda session, email, password: looked_at.append(password))
    stranger = app.test_client()
    answers = [sign_in(stranger).status_code for _ in range(PER_ACCOUNT + 3)]
    assert answers == [422] * PER_ACCOUNT + [429] * 3
    assert len(looked_at) == PER_ACCOUNT
    refused = sign_in(stranger, password=PASSWORD)
    assert (refused.status_code, 1 <= int(refused.headers["Retry-After"]) <= 301) == (429, True)
    assert "Too many attempts. Try again in 5 minutes" in refused.text


def test_t02_an_account_that_does_not_exist_is_refused_in_the_same_words(app):
    pages = {}
    for email in (ANN, "nobody@example.com"):
        stranger = app.test_client()
        for _ in range(PER_ACCOUNT):
            sign_in(stranger, email)
        pages[email] = re.sub(r'nonce="[^"]+"|value="[^"]*"|content="[^"]*"', "", sign_in(stranger, email).text)
    assert pages[ANN] == pages["nobody@example.com"]


def test_t01_the_owner_gets_in_from_a_browser_of_their_own_while_others_guess(app):
    own = app.test_client()
    assert sign_in(own, password=PASSWORD).status_code == 302
    own.post("/logout", data={"csrf_token": csrf_token(own.get("/admin/").text)})
    stranger = app.test_client()
    for _ in range(PER_ACCOUNT):
        sign_in(stranger)
    assert sign_in(stranger, password=PASSWORD).status_code == 429
    assert sign_in(own, password=PASSWORD).status_code == 302


def test_t01_a_cookie_that_was_made_up_or_is_somebody_elses_is_worth_nothing(app):
    eve = app.test_client()
    sign_in(eve, "eve@example.com", PASSWORD)
    eve.post("/logout", data={"csrf_token": csrf_token(eve.get("/admin/").text)})
    for _ in range(PER_ACCOUNT):
        sign_in(app.test_client())
    assert sign_in(eve).status_code == 429
    stranger = app.test_client()
    stranger.set_cookie("modeldesk_device", "made.up.cookie")
    assert sign_in(stranger).status_code == 429


def test_t01_a_right_password_is_no_guess(app):
    client = app.test_client()
    for _ in range(PER_ACCOUNT + 2):
        assert sign_in(client, password=PASSWORD).status_code == 302
        client.post("/logout", data={"csrf_token": csrf_token(client.get("/admin/").text)})


def test_t01_after_five_minutes_guesses_are_forgotten(either_app):
    now, guess = datetime.now(UTC), Guess(ANN, "192.0.2.1")
    for number in range(PER_ACCOUNT):
        assert admitted(guess, now + timedelta(seconds=number)) is None
    assert admitted(guess, now + timedelta(minutes=4)) == timedelta(minutes=1)
    assert admitted(guess, now + WINDOW) is None
    db.session.rollback()
    assert db.session.execute(select(func.count()).select_from(LoginAttempt)).scalar_one() == 3 * PER_ACCOUNT


def test_t01_many_at_once_are_counted_one_by_one(either_app):
    """What four workers and two hosts do: each asks the same table."""
    now, let_in, ready = datetime.now(UTC), [], threading.Barrier(8)

    def guess():
        with either_app.app_context():
            ready.wait()
            for _ in range(5):
                if admitted(Guess(ANN, "192.0.2.1"), now) is None:
                    let_in.append(1)
            db.session.remove()

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_in) == PER_ACCOUNT


def test_t01_without_the_count_nobody_is_let_through(app, monkeypatch):
    def away(*_):
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(throttle, "admit", away)
    answer = sign_in(app.test_client(), password=PASSWORD)
    assert answer.status_code == 503


def test_t01_one_address_cannot_try_every_account(app):
    now = datetime.now(UTC)
    waits = [admitted(Guess(f"user-{next(numbers)}", "192.0.2.9"), now) for _ in range(throttle.PER_ADDRESS + 1)]
    assert (waits[-2], waits[-1]) == (None, WINDOW)
    assert admitted(Guess("somebody", "192.0.2.10"), now) is None


SPELLINGS = st.lists(st.sampled_from(["upper", "lower", "space", "wide", "title", "ideographic"]), max_size=4)
CHANGES = {
    "upper": str.upper, "lower": str.lower, "title": str.title, "space": lambda text: f" {text}\t",
    "ideographic": lambda text: f"\u3000{text}\u3000",
    "wide": lambda text: "".join(chr(ord(letter) + 0xFEE0) if "a" <= letter <= "z" else letter for letter in text),
}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(SPELLINGS)
def test_t01_every_spelling_of_a_name_is_counted_as_one(changes):
    text = ANN
    for change in changes:
        text = CHANGES[change](text)
    assert accounts.normalised(text) == ANN


def fill_up(now) -> None:
    """Strangers have used up what all of them share."""
    with by_hand() as session:
        session.add_all(LoginAttempt(key=throttle._key("all"), at=now) for _ in range(throttle.IN_ALL))


def test_t01_strangers_who_use_up_what_all_share_keep_nobody_out_who_is_known(either_app):
    own = either_app.test_client()
    assert sign_in(own, password=PASSWORD).status_code == 302
    signed_in = Visitor(either_app, "bob@example.com", PASSWORD)
    fill_up(datetime.now(UTC))
    assert sign_in(either_app.test_client(), password=PASSWORD).status_code == 429
    assert sign_in(either_app.test_client(), email="nobody@example.com").status_code == 429
    own.get("/admin/")
    own.post("/logout", data={"csrf_token": csrf_token(own.get("/admin/").text)})
    assert sign_in(own, password=PASSWORD).status_code == 302
    confirmed = signed_in.post("/confirm", {"password": PASSWORD, "next": "/admin/"})
    assert confirmed.status_code == 302


def test_t01_a_form_that_is_too_long_to_be_anybodys_uses_nothing_up(app):
    client = app.test_client()
    for _ in range(3):
        assert sign_in(client, email="a@" + "x" * 1_100).status_code == 422
    assert db.session.execute(select(func.count()).select_from(LoginAttempt)).scalar_one() == 0


def test_t01_all_addresses_of_an_ipv6_network_are_one_stranger(app):
    now = datetime.now(UTC)
    for number in range(throttle.PER_ADDRESS):
        assert admitted(Guess(f"a{number}", f"2001:db8:1:2::{number:x}"), now) is None
    assert admitted(Guess("b", "2001:db8:1:2:ffff::1"), now)
    assert admitted(Guess("b", "2001:db8:1:3::1"), now) is None
    assert {throttle._network(f"{mapped}192.0.2.7") for mapped in ("", "::ffff:")} == {"192.0.2.7"}


@pytest.mark.parametrize("text", ["ſam@example.com", "STRASSE@example.com", "ﬁ@example.com", " a b@x "])
def test_t01_folding_twice_is_folding_once(text):
    assert accounts.normalised(accounts.normalised(text)) == accounts.normalised(text)
