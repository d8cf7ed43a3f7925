"""Providers and their keys. A key can be stored, replaced and removed, and is never shown."""

import base64
import html
import sys

from sqlalchemy import select
from sqlalchemy.orm import undefer

from webapp.extensions import db
from webapp.models import AuditEvent, Credential, Provider

CANARY = "sk-CANARY-5f1e8a77d0c94b3f-tail"
FORM = {"slug": "openai", "display_name": "OpenAI", "driver": "openai", "base_url": "https://api.openai.com/v1", "active": "y"}
PAGES = (
    "/admin/",
    "/admin/provider/",
    "/admin/provider/edit/?id=1",
    "/admin/provider/details/?id=1",
    "/admin/model/",
    "/admin/model/details/?id=1",
    "/admin/audit/",
    "/admin/price/",
    "/admin/model/export/csv/",
    "/admin/user/",
    "/admin/token/",
)


def provider(slug="openai"):
    db.session.rollback()
    return db.session.execute(select(Provider).where(Provider.slug == slug)).scalar_one()


def credential():
    db.session.rollback()
    query = select(Credential).where(Credential.provider_id == provider().id).options(undefer(Credential.ciphertext))
    return db.session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()


def save(visitor, **values):
    return visitor.post(f"/admin/provider/edit/?id={provider().id}", FORM | values)


def actions(after=0):
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent.action).where(AuditEvent.id > after).order_by(AuditEvent.id)).scalars())


def last_event():
    db.session.rollback()
    return db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar() or 0


def test_a_key_is_stored_and_marked_by_its_end_only(ann):
    assert save(ann, api_key=CANARY).status_code == 302
    assert "key …tail" in ann.get("/admin/provider/").text


def test_a_key_stands_in_no_page(ann):
    save(ann, api_key=CANARY)
    stored = credential().ciphertext
    events = db.session.execute(select(AuditEvent.id)).scalars().all()
    pages = [ann.get(path).text for path in (*PAGES, *(f"/admin/audit/details/?id={event}" for event in events))]
    leaked = [
        secret
        for secret in (CANARY, base64.b64encode(CANARY.encode()).decode().rstrip("="), stored)
        if any(secret in page for page in pages)
    ]
    assert leaked == []


def test_a_form_that_fails_does_not_send_the_key_back(ann):
    response = save(ann, api_key=CANARY, slug="Not a slug")
    assert response.status_code == 422
    assert CANARY not in response.text


def test_a_blank_key_keeps_the_one_there_is(ann):
    save(ann, api_key=CANARY)
    stored = credential().ciphertext
    save(ann, api_key="   ", display_name="Renamed")
    assert (credential().ciphertext, provider().display_name) == (stored, "Renamed")


def test_removing_a_key_needs_a_word_and_is_audited_once(ann):
    save(ann, api_key=CANARY)
    before = last_event()
    ann.post(f"/admin/provider/{provider().id}/remove-key")
    assert credential() is None
    assert actions(before) == ["registry:credential:remove"]


def test_the_box_in_the_form_removes_the_key_too(ann):
    save(ann, api_key=CANARY)
    save(ann, remove_key="y")
    assert credential() is None


def test_a_new_key_and_its_removal_at_once_are_refused(ann):
    assert save(ann, api_key=CANARY, remove_key="y").status_code == 422
    assert credential() is None


def test_t15_another_origin_says_before_saving_that_it_removes_the_key(ann):
    save(ann, api_key=CANARY)
    warning = ann.post(f"/admin/provider/{provider().id}/moves", FORM | {"base_url": "https://evil.example/v1"})
    assert f"Saving removes the stored key ending in …{CANARY[-4:]}" in html.unescape(warning.text)
    assert "move_confirmed" not in ann.post(f"/admin/provider/{provider().id}/moves", FORM).text
    refused = save(ann, base_url="https://evil.example/v1")
    assert (refused.status_code, "Tick below that this is meant" in refused.text) == (422, True)
    assert "https://evil.example/v1" in refused.text  # The input is still in the form.
    assert (provider().base_url, credential() is None) == (FORM["base_url"], False)


def test_t15_another_origin_removes_the_key_once_it_was_ticked(ann):
    save(ann, api_key=CANARY)
    assert save(ann, base_url="https://evil.example/v1", move_confirmed="y").status_code == 302
    assert credential() is None
    assert "was removed, because the base URL now leads elsewhere" in ann.get("/admin/provider/").text


def test_an_editor_may_change_a_provider_but_not_its_key(bob):
    assert 'name="api_key"' not in bob.get(f"/admin/provider/edit/?id={provider().id}").text
    assert save(bob, display_name="By Bob").status_code == 302
    assert save(bob, api_key=CANARY).status_code == 403
    assert bob.post(f"/admin/provider/{provider().id}/remove-key").status_code == 403
    assert credential() is None


def test_a_provider_whose_sdk_is_missing_says_which_command_installs_it_and_cannot_be_primary(ann, monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)  # Simulates that the package is not installed.
    response = ann.post(f"/admin/provider/{provider('anthropic').id}/primary?to=1", headers={"HX-Request": "true"})
    assert (response.status_code, "cannot be run" in response.headers["HX-Trigger"]) == (409, True)
    assert not provider("anthropic").is_primary
    assert "driver not installed" in ann.get("/admin/provider/?search=anthropic").text
    page = html.unescape(ann.get(f"/admin/provider/details/?id={provider('anthropic').id}").text)
    assert 'run `.venv/bin/pip install "anthropic>=2.11,<3"`' in page


def test_primary_is_set_and_cleared_once_each(ann):
    before = last_event()
    ann.post(f"/admin/provider/{provider().id}/primary?to=1")
    assert provider().is_primary
    ann.post(f"/admin/provider/{provider().id}/primary?to=0")
    assert not provider().is_primary
    assert actions(before) == ["registry:provider:set_primary", "registry:provider:clear_primary"]


def test_a_provider_with_models_is_not_deleted_and_they_are_named(ann):
    ann.post("/admin/provider/delete/", {"id": str(provider("anthropic").id)})
    page = ann.get("/admin/provider/").text
    assert "Used by: anthropic/" in page
    assert "more" in page


def test_extra_headers_must_be_json(ann):
    response = save(ann, extra_headers="{not json")
    assert response.status_code == 422
    assert "must be a JSON object" in response.text


def test_a_slug_that_is_taken_is_said_at_its_field(ann):
    response = save(ann, slug="anthropic")
    assert response.status_code == 422
    assert "is taken by another provider" in response.text


def test_everything_that_is_wrong_with_a_provider_is_said_at_once(ann):
    form = FORM | {"driver": "", "slug": "two words", "base_url": "https://me@acme.example/v1", "timeout_seconds": "soon"}
    response = ann.post("/admin/provider/new/", form)
    reported = [
        words in response.text
        for words in ("choose one", "lower-case letters, digits and hyphens", "must not hold a user name", "must be a whole number")
    ]
    assert (response.status_code, reported) == (422, [True] * 4)


def test_a_new_address_and_its_key_are_saved_together(ann):
    save(ann, api_key=CANARY)
    before = last_event()
    moved = {"base_url": "https://new.example/v1", "api_key": "sk-new-0123456789abcdef"}
    assert "move_confirmed" not in ann.post(f"/admin/provider/{provider().id}/moves", FORM | moved).text
    assert save(ann, **moved).status_code == 302
    assert (provider().base_url, credential().origin, credential().last_four) == (moved["base_url"], "https://new.example", "cdef")
    assert {"registry:credential:remove", "registry:credential:create"} <= set(actions(before))
    assert "was removed, because" not in ann.get("/admin/provider/").text


def test_a_custom_provider_needs_a_base_url(ann):
    new = {"slug": "mine", "display_name": "Mine", "driver": "custom", "active": "y"}
    response = ann.post("/admin/provider/new/", new)
    assert (response.status_code, "is required for a provider with the driver custom" in response.text) == (422, True)
    assert ann.post("/admin/provider/new/", new | {"base_url": "https://mine.example/v1"}).status_code == 302
    edited = ann.post(f"/admin/provider/edit/?id={provider('mine').id}", new | {"base_url": ""})
    assert (edited.status_code, provider("mine").base_url) == (422, "https://mine.example/v1")
