"""Step-up authentication (T13): every POST is classified, and a protected POST changes nothing before the confirmation."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from environment import PASSWORD
from factories import csrf_token
from sqlalchemy import func, select, update

from webapp.extensions import db
from webapp.models import AuditEvent, Provider, UserSession
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import Target

# Flask-Admin views of every list. They respond only if the list is editable.
LISTS = ("model", "price", "project", "run", "audit")
ROW_VIEWS = ("action_view", "ajax_update", "create_view", "delete_view", "edit_view")
ASKS = {
    *(f"{view}.{name}" for view in ("user", "token") for name in ROW_VIEWS),
    "user.new_link",
    "user.set_active",
    "user.remove_second_factor",
    "user.unlink",
    "token.revoke",
    "provider.create_view",
    "provider.edit_view",
    "provider.delete_view",
    "provider.remove_key",
    "provider.store_key",
    "provider.limit_key",
    "provider.remove_one_key",
    "mykeys.store",
    "mykeys.remove",
    "exchange.apply",
    "audit.restore",
    "second_factor.begin",
    "second_factor.turn_on",
    "second_factor.codes",
    "second_factor.remove",
}
# The rest does not change keys, roles, tokens or addresses, and restores nothing.
DOES_NOT_ASK = {
    *(f"{view}.{name}" for view in LISTS for name in ROW_VIEWS),
    "provider.action_view",
    "provider.ajax_update",
    "provider.add_discovered",
    "provider.check",
    "provider.moves",
    "provider.set_active",
    "provider.set_primary",
    "model.bulk_active",
    "model.set_active",
    "model.set_default",
    "model.switch_over",
    "price.cancel",
    "price.echo",
    "price.verify",
    "proposal.act",
    "proposal.choose",
    "proposal.create",
    "project.end_rule",
    "project.rules",
    "exchange.compare",
    "exchange.discard",
    "job.cancel",  # keeps what was done
    "tryit.preview",
    "tryit.run",
    "bench.change",
    "bench.create",
    "bench.delete_incident",
    "bench.estimate",
    "bench.rate",
    "bench.save_incidents",
    "prompts.change",
    "prompts.clear_cache",
    "prompts.create",
    "prompts.edit",
    "prompts.preview",
    "prompts.restore",  # an older version of a template becomes the newest
    "account_page.change_password",  # asks for the current password itself
    "account_page.end_session",  # only removes access
}


def posts(app):
    return [
        rule
        for rule in app.url_map.iter_rules()
        if "POST" in rule.methods and rule.rule.startswith("/admin") and not rule.endpoint.endswith("static")
    ]


def filled(rule) -> str:
    return re.sub(r"<(?:int:)?\w+>", "1", re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule))


def age(minutes: float) -> None:
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values(confirmed_at=datetime.now(UTC) - timedelta(minutes=minutes)))


def events() -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(AuditEvent)).scalar_one()


def confirm(visitor, password=PASSWORD, **more):
    return visitor.post("/confirm", {"password": password} | more, page="/confirm")


def test_t13_every_post_is_known_to_ask_or_not_to_ask(app):
    known = {rule.endpoint for rule in posts(app)}
    assert known == ASKS | DOES_NOT_ASK
    assert not ASKS & DOES_NOT_ASK


def test_t13_what_asks_changes_nothing_before_it_is_answered(app, ann):
    token = csrf_token(ann.get("/admin/").text)
    age(11)
    before = events()
    for rule in posts(app):
        if rule.endpoint in ASKS:
            response = ann.client.post(f"{filled(rule)}?id=1", data={"csrf_token": token, "id": "1", "rowid": "1", "action": "x"})
            assert response.headers.get("Location", "").startswith("/confirm?next="), rule.endpoint
    assert events() == before


@pytest.mark.parametrize("path", ["/admin/provider/edit/?id=1", "/admin/provider/new/", "/admin/user/new/", "/admin/token/new/"])
def test_a_form_asks_before_it_is_filled_in_and_the_answer_leads_to_it(ann, path):
    assert ann.get(path).status_code == 200
    age(11)
    redirect = ann.get(path)
    assert redirect.headers["Location"].startswith("/confirm?next=")
    page = ann.get(redirect.headers["Location"])
    target = re.search(r'name="next" value="([^"]+)"', page.text)[1]
    assert target == path
    assert confirm(ann, next=target).headers["Location"] == path
    assert ann.get(path).status_code == 200


def test_ten_minutes_are_enough_and_not_more(ann):
    age(9.9)
    assert ann.get("/admin/token/new/").status_code == 200
    age(10)
    assert ann.get("/admin/token/new/").status_code == 302


def test_a_session_from_before_this_was_asked_for_asks(ann):
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values(confirmed_at=None))
    assert ann.get("/admin/").status_code == 200
    assert ann.get("/admin/token/new/").status_code == 302


def test_t04_the_answer_gives_the_session_another_id_and_forms_in_other_tabs_still_save(app, ann):
    token = csrf_token(ann.get("/admin/").text)
    copied = ann.client.get_cookie("modeldesk").value
    age(11)
    assert confirm(ann).status_code == 302
    assert ann.client.get_cookie("modeldesk").value != copied
    thief = app.test_client()
    thief.set_cookie("modeldesk", copied)
    assert thief.get("/admin/").headers["Location"].startswith("/login")
    assert ann.client.post("/admin/model/1/default", data={"csrf_token": token}).status_code == 302
    (event,) = db.session.execute(select(AuditEvent).where(AuditEvent.action == "accounts:session:confirm")).scalars()
    assert event.actor == ann.email


@pytest.mark.parametrize(
    "data", [{}, {"password": ""}, {"password": "wrong"}, {"code": "123456"}, {"method": "passkey"}, {"password": "\x00"}]
)
def test_t13_no_proof_is_no_proof(ann, data):
    age(11)
    response = ann.post("/confirm", data, page="/confirm")
    assert (response.status_code, "not your password" in response.text) == (422, True)
    assert ann.get("/admin/token/new/").status_code == 302


def test_t13_guesses_are_counted_by_session_and_the_owner_is_not_kept_out(app, ann, bob):
    statuses = [confirm(ann, "wrong").status_code for _ in range(11)]
    assert statuses == [422] * 10 + [429]
    assert confirm(ann).status_code == 429
    change = {"present": "wrong", "new": "Another-Harbour-of-tests", "again": "Another-Harbour-of-tests"}
    assert "wrong too often" in ann.post("/admin/account/password", change).text
    assert confirm(bob).status_code == 302


def test_a_stranger_is_sent_to_sign_in(app):
    assert app.test_client().get("/confirm").headers["Location"].startswith("/login")


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_t07_the_answer_leads_to_no_other_site(ann, target):
    assert confirm(ann, next=target).headers["Location"] == "/admin/"
    age(11)
    token = csrf_token(ann.get("/admin/").text)
    response = ann.client.post("/admin/my-keys/store", data={"csrf_token": token}, headers={"Referer": target})
    assert response.headers["Location"] == "/confirm?next=/admin/"


def test_a_fragment_asks_the_browser_to_load_the_page(ann):
    age(11)
    token = csrf_token(ann.get("/admin/").text)
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/admin/user/?search=eve"}
    response = ann.client.post("/admin/user/3/active?to=0", data={"csrf_token": token}, headers=headers)
    assert (response.status_code, response.headers["HX-Redirect"]) == (401, "/confirm?next=/admin/user/?search%3Deve")


def test_putting_back_from_the_trail_asks(app, ann):
    with writing() as session:
        row_id = session.execute(select(Provider.id).limit(1)).scalar_one()
        change = ({"description": "a"}, {"description": "b"})
        event = audit_log.record(session, "registry:provider:update", actor="ann", target=Target("provider", row_id, "x"), change=change).id
    age(11)
    before = events()
    assert ann.post("/admin/audit/restore/", {"id": event}).headers["Location"].startswith("/confirm")
    assert events() == before
