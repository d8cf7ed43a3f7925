"""Staff in a real database: links, sign-ins, sessions, and the last admin."""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from environment import PASSWORD, by_hand
from factories import csrf_token
from sqlalchemy import select, update

from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.models import OneTimeLink, User, UserSession
from webapp.runtime.transaction import writing
from webapp.security import passwords, tokens
from webapp.services.accounts import accounts

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEW = "a new password that is long"


def link_for(email: str | None) -> str:
    with writing() as session:
        return accounts.make_link(session, accounts.find(session, email) if email else None, actor="tests", now=NOW)


def use(secret, *, email="", password=NEW, now=NOW) -> str:
    with writing() as session:
        return accounts.use_link(session, secret, email=email, password=password, now=now).email


def sign_in(app, password: str):
    client = app.test_client()
    token = csrf_token(client.get("/login").text)
    return client.post("/login", data={"csrf_token": token, "email": "ann@example.com", "password": password})


def session_of(email: str) -> str:
    with writing() as session:
        return accounts.begin_session(session, accounts.find(session, email), now=NOW)


@pytest.mark.parametrize("email", ["ann@example.com", " ANN@example.com "])
def test_an_address_is_one_user_however_it_is_written(app, email):
    assert accounts.find(db.session(), email).role == "admin"
    with pytest.raises(Conflict), writing() as session:
        accounts.create(session, email, "viewer", actor="ann", password=NEW)


@pytest.mark.parametrize(
    ("email", "role", "password"),
    [("no address", "viewer", NEW), ("x@y.z", "god", NEW), ("x@y.z", "viewer", "short"), ("x@y.z", "viewer", "a" * 201)],
)
def test_a_user_that_makes_no_sense_is_refused(app, email, role, password):
    with pytest.raises(Invalid) as refused, writing() as session:
        accounts.create(session, email, role, actor="ann", password=password)
    assert password not in refused.value.detail


def test_only_the_right_password_of_an_active_user_opens(app):
    assert accounts.authenticate(db.session(), "ann@example.com", PASSWORD).email == "ann@example.com"
    for email, password in (
        ("ann@example.com", PASSWORD + "x"),
        ("nobody@example.com", PASSWORD),
        ("a\x00@b.c", PASSWORD),
        ("ann@example.com", "\ud800"),
    ):
        assert accounts.authenticate(db.session(), email, password) is None
    with writing() as session:
        accounts.set_active(session, accounts.find(session, "eve@example.com"), False, actor="ann")
    assert accounts.authenticate(db.session(), "eve@example.com", PASSWORD) is None


def test_a_user_without_a_password_cannot_sign_in(app):
    with writing() as session:
        accounts.create(session, "new@example.com", "viewer", actor="ann")
    for password in ("", "nobody has this password"):
        assert accounts.authenticate(db.session(), "new@example.com", password) is None


def hash_of(email: str) -> str:
    db.session.rollback()
    return db.session.execute(select(User.password_hash).where(User.email == email)).scalar_one()


def test_a_hash_of_an_older_cost_is_renewed_when_its_owner_signs_in_and_no_other_time(either_app, monkeypatch):
    stored, hasher = hash_of("ann@example.com"), PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "HASHER", hasher)
    sign_in(either_app, "wrong, but fifteen characters")
    assert hash_of("ann@example.com") == stored
    assert sign_in(either_app, PASSWORD).status_code == 302
    renewed = hash_of("ann@example.com")
    assert not hasher.check_needs_rehash(renewed)
    assert sign_in(either_app, PASSWORD).status_code == 302
    assert hash_of("ann@example.com") == renewed


def test_a_sign_in_at_the_same_moment_that_renews_the_hash_keeps_nobody_out(either_app, monkeypatch):
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    authenticate, emails = accounts.authenticate, []

    def and_somebody_else_too(session, email, password):
        user = authenticate(session, email, password)
        emails.append(email)
        if len(emails) == 1:
            assert sign_in(either_app, PASSWORD).status_code == 302
        return user

    monkeypatch.setattr(accounts, "authenticate", and_somebody_else_too)
    assert sign_in(either_app, PASSWORD).status_code == 302
    assert len(emails) == 3, "the first, the one beside it, and the first again"


def test_a_renewed_hash_never_takes_the_place_of_a_password_that_was_set_meanwhile(app):
    stored, secret = hash_of("eve@example.com"), link_for("eve@example.com")
    use(secret)
    with by_hand() as session:
        accounts.renew_hash(session, accounts.find(session, "eve@example.com").id, stored, "what was computed of the old password")
    assert accounts.authenticate(db.session(), "eve@example.com", NEW)


def test_nobody_is_kept_out_because_the_hash_cannot_be_renewed_just_now(app, monkeypatch):
    stored = hash_of("ann@example.com")
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    monkeypatch.setattr(passwords, "_hash_slots", threading.Semaphore(0))
    assert passwords.rehash_or_none(stored, PASSWORD) is None


# Links


def test_a_link_sets_the_password_once_and_ends_sessions(either_app):
    cookie, secret = session_of("eve@example.com"), link_for("eve@example.com")
    assert use(secret) == "eve@example.com"
    assert accounts.authenticate(db.session(), "eve@example.com", NEW)
    assert accounts.get_session_or_none(db.session(), cookie, now=NOW) is None
    with pytest.raises(NotFound):
        use(secret)


@pytest.mark.parametrize("age", [timedelta(minutes=30), timedelta(days=1)])
def test_a_link_ends_after_thirty_minutes(app, age):
    secret = link_for("eve@example.com")
    with pytest.raises(NotFound, match="30 minutes"):
        use(secret, now=NOW + age)
    assert use(secret, now=NOW + timedelta(minutes=29, seconds=59))


def test_a_newer_link_ends_the_older_one(app):
    older, newer = link_for("eve@example.com"), link_for("eve@example.com")
    with pytest.raises(NotFound):
        use(older)
    assert use(newer)


def test_a_refused_password_does_not_spend_the_link(app):
    secret = link_for("eve@example.com")
    with pytest.raises(Invalid):
        use(secret, password="short")
    assert use(secret)


def switch(email: str, on: bool) -> None:
    with writing() as session:
        accounts.set_active(session, accounts.find(session, email), on, actor="ann")


def refused_link(secret: str) -> str:
    with pytest.raises(NotFound) as refused:
        use(secret)
    return refused.value.detail


def test_t04_a_link_of_somebody_who_is_switched_off_is_refused_in_the_words_of_a_used_one(either_app):
    used, secret = link_for("bob@example.com"), link_for("eve@example.com")
    use(used)
    with by_hand() as session:  # Not by the service, which ends links, because this test covers the check of the user.
        accounts.find(session, "eve@example.com").is_active = False
    assert refused_link(secret) == refused_link(used) == refused_link("never was")
    with by_hand() as session:
        accounts.find(session, "eve@example.com").is_active = True
    assert accounts.authenticate(db.session(), "eve@example.com", NEW) is None
    assert db.session.execute(select(UserSession)).all() == []


def test_t04_switching_off_ends_open_links_and_switching_on_brings_none_back(either_app):
    secret = link_for("eve@example.com")
    switch("eve@example.com", False)
    assert db.session.execute(select(OneTimeLink)).all() == []
    switch("eve@example.com", True)
    refused_link(secret)


def test_t04_what_began_while_somebody_was_kept_out_is_not_good_once_they_are_let_in(app):
    switch("eve@example.com", False)
    cookie = session_of("eve@example.com")  # Like a sign-in that is in progress at that time.
    switch("eve@example.com", True)
    assert accounts.get_session_or_none(db.session(), cookie, now=NOW) is None


def test_letting_in_somebody_who_is_in_already_ends_nothing(app):
    cookie, secret = session_of("eve@example.com"), link_for("eve@example.com")
    switch("eve@example.com", True)
    assert accounts.get_session_or_none(db.session(), cookie, now=NOW)
    assert use(secret)


def test_no_link_is_made_for_somebody_who_is_switched_off(app):
    switch("eve@example.com", False)
    with pytest.raises(Invalid, match="may not sign in"):
        link_for("eve@example.com")


def test_t04_a_password_of_ones_own_ends_open_links(app):
    secret, unrelated = link_for("eve@example.com"), link_for("bob@example.com")
    with writing() as session:
        accounts.change_password(session, accounts.find(session, "eve@example.com"), NEW, current_secret="")
    refused_link(secret)
    assert use(unrelated)


@pytest.mark.postgresql
def test_e17_a_link_used_while_its_owner_is_switched_off_leaves_no_session(postgresql_app):
    """Both transactions wait for the user's row. The second one sees the changes of the first one."""
    for _ in range(5):
        secret, ready = link_for("eve@example.com"), threading.Barrier(2)

        def off(ready=ready):
            with postgresql_app.app_context():
                ready.wait(30)
                switch("eve@example.com", False)

        def enter(ready=ready, secret=secret):
            with postgresql_app.app_context(), suppress(NotFound):
                ready.wait(30)
                with writing(refresh=False) as session:
                    user = accounts.use_link(session, secret, email="", password=NEW, now=NOW)
                    accounts.begin_session(session, user, now=NOW)

        threads = [threading.Thread(target=act) for act in (off, enter)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        db.session.rollback()
        assert db.session.execute(select(UserSession)).all() == db.session.execute(select(OneTimeLink)).all() == []
        switch("eve@example.com", True)


def test_the_set_up_link_makes_the_first_admin_only(app):
    secret = link_for(None)
    with pytest.raises(NotFound, match="exists already"):
        use(secret, email="second@example.com")


def test_only_the_digest_of_a_link_and_of_a_session_is_stored(app):
    secret, cookie = link_for("eve@example.com"), session_of("eve@example.com")
    assert db.session.execute(select(OneTimeLink.digest)).scalar_one() == tokens.digest_of(secret)
    assert db.session.execute(select(UserSession.digest)).scalar_one() == tokens.digest_of(cookie)


# Sessions


def alive(cookie, now=NOW) -> bool:
    return accounts.get_session_or_none(db.session(), cookie, now=now) is not None


def test_a_session_ends_when_idle_when_old_and_when_signed_out(app):
    cookie = session_of("eve@example.com")
    assert alive(cookie, NOW + accounts.SESSION_IDLE_TIMEOUT - timedelta(seconds=1))
    assert not alive(cookie, NOW + accounts.SESSION_IDLE_TIMEOUT)
    late = NOW + accounts.SESSION_LIFETIME
    with writing() as session:
        session.execute(update(UserSession).values(last_seen_at=late))
    assert (alive(cookie, late - timedelta(seconds=1)), alive(cookie, late)) == (True, False)
    with writing() as session:
        accounts.end_session(session, cookie, now=late)
    assert not alive(cookie)


def test_disabling_a_user_and_a_new_password_end_every_session(app):
    cookies = [session_of("eve@example.com") for _ in range(2)]
    with writing() as session:
        accounts.set_active(session, accounts.find(session, "eve@example.com"), False, actor="ann")
    with writing() as session:
        accounts.set_active(session, accounts.find(session, "eve@example.com"), True, actor="ann")
    assert [alive(cookie) for cookie in cookies] == [False, False]


def test_sessions_that_have_ended_are_swept_out_when_somebody_signs_in(app):
    session_of("eve@example.com")
    with writing() as session:
        accounts.begin_session(session, accounts.find(session, "bob@example.com"), now=NOW + timedelta(days=1))
    assert len(db.session.execute(select(UserSession)).scalars().all()) == 1


# The last admin


@pytest.mark.parametrize(("act", "value"), [(accounts.set_role, "viewer"), (accounts.set_active, False)])
def test_the_last_active_admin_stays(app, act, value):
    with pytest.raises(Conflict, match="last active admin"), writing() as session:
        act(session, accounts.find(session, "ann@example.com"), value, actor="x")


def test_e17_two_admins_who_leave_at_the_same_moment_do_not_both_leave(either_app):
    with writing() as session:
        accounts.set_role(session, accounts.find(session, "bob@example.com"), "admin", actor="ann")
    refused = []

    def leave(email):
        with either_app.app_context():
            try:
                with writing(refresh=False) as session:
                    accounts.set_role(session, accounts.find(session, email), "viewer", actor=email)
            except Conflict as error:
                refused.append(error)

    threads = [threading.Thread(target=leave, args=(email,)) for email in ("ann@example.com", "bob@example.com")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(db.session.execute(select(User).where(User.role == "admin")).scalars().all()) == len(refused) == 1
