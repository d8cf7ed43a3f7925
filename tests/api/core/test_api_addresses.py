"""E14 in the API and the form: no spelling of a forbidden address is saved, on create or edit, and no connection is made."""

import html

from factories import provider_values
from fake_provider import Upstream
from sqlalchemy import func, select
from url_spellings import LOOPBACK, SPELLINGS

from webapp.extensions import db
from webapp.models import Provider


def test_e14_the_api_saves_no_forbidden_address(app, api):
    listener = Upstream()
    provider_id = api.post("/admin/providers", provider_values()).json["id"]
    before = db.session.execute(select(func.count()).select_from(Provider)).scalar_one()
    db.session.rollback()
    try:
        for index, spelling in enumerate(SPELLINGS):
            for scheme in ("http", "https"):
                address = f"{scheme}://{spelling}:{listener.port}/v1"
                made = api.post("/admin/providers", provider_values(slug=f"p{index}", base_url=address))
                moved = api.request("PATCH", f"/admin/providers/{provider_id}", json={"base_url": address})
                assert (made.status_code, moved.status_code) in ((422, 422), (400, 400)), address
        assert listener.accepted == 0
    finally:
        listener.stop()
    assert db.session.execute(select(func.count()).select_from(Provider)).scalar_one() == before
    assert api.get("/providers/acme").json["base_url"] == provider_values()["base_url"]


def test_e14_the_form_says_at_its_field_why_an_address_is_refused(ann):
    for spelling in LOOPBACK[:8]:
        form = {"slug": "acme", "display_name": "Acme", "driver": "openai", "base_url": f"https://{spelling}/v1", "active": "y"}
        answer = ann.post("/admin/provider/new/", form)
        assert answer.status_code == 422, spelling
        assert "MODELDESK_OUTBOUND_ALLOW" in html.unescape(answer.text) or "The host of the address" in html.unescape(answer.text)


def test_an_address_that_was_there_before_can_stay_while_other_fields_change(api):
    ollama = next(row for row in api.get("/admin/providers").json["data"] if row["slug"] == "ollama")
    assert ollama["base_url"] == "http://localhost:11434"
    changed = api.request("PATCH", f"/admin/providers/{ollama['id']}", json={"description": "Ours", "base_url": ollama["base_url"]})
    assert changed.status_code == 200
