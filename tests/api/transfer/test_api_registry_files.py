"""Registry files over HTTP: the same rules and errors as at other entry points, and a lossless round trip."""

import json

import pytest
from factories import model_values
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import AuditEvent
from webapp.runtime import container

HERE = "/admin/import"


def sent(api, content, kind="application/json", query=""):
    data = json.dumps(content) if isinstance(content, dict) else content
    return api.post(f"{HERE}{query}", data=data, headers={"Content-Type": kind})


@pytest.mark.parametrize(("form", "kind"), {"json": "application/json", "yaml": "application/yaml", "csv": "text/csv"}.items())
def test_what_goes_out_comes_in_and_changes_nothing(api, form, kind):
    out = api.get(f"/admin/export?format={form}")
    assert (out.status_code, out.mimetype) == (200, kind)
    answer = sent(api, out.get_data(), kind)
    assert (answer.status_code, answer.json["added"], answer.json["changed"], answer.json["changes"]) == (200, 0, 0, [])
    again = api.get(f"/admin/export?format={form}", headers={"If-None-Match": out.headers["ETag"]})
    assert again.status_code == 304


def test_a_dry_run_says_what_would_change_and_changes_nothing(api):
    new = {"format": "modeldesk-registry", "version": 1, "models": [model_values(model_id="new-one")]}
    dry = sent(api, new, query="?dry_run=true").json
    assert (dry["dry_run"], dry["added"]) == (True, 1)
    assert dry["changes"][0]["name"] == "openai/new-one"
    assert dry["changes"][0]["fields"][0] == {"field": "display_name", "before": None, "after": "Test model"}
    assert api.get("/models/openai/new-one").status_code == 404
    assert sent(api, new).json["dry_run"] is False
    assert api.get("/models/openai/new-one").status_code == 200
    trail = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(2)).scalars().all()
    assert [event.action for event in trail] == ["catalog:file:import", "registry:model:create"]
    assert {event.actor for event in trail} == {"token:a test"}
    assert "openai/new-one" in container.registry().snapshot.by_name


def test_every_wrong_line_is_named_and_nothing_is_imported(api):
    answer = sent(api, b"provider,model_id,display_name,type\nopenai,a,A,text\nopenai,b,B,smell\n", "text/csv")
    assert (answer.status_code, answer.json["code"]) == (422, "import_refused")
    assert answer.json["errors"][0]["message"].startswith("line 3: type must be one of")
    assert api.get("/models/openai/a").status_code == 404


WRONG = {
    "a form": (b"x", "text/plain", 415),
    "yaml that is announced as JSON": (b"format: x", "application/json", 400),
    "a float": (b'{"format": 1.5}', "application/json", 400),
    "too much": (b" " * 10_000_001, "text/csv", 413),
    "no text": (b"\xff", "text/csv", 400),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_file_is_refused(api, name):
    content, kind, status = WRONG[name]
    assert sent(api, content, kind).status_code == status


def test_files_are_for_tokens_that_may_write(reader):
    assert reader.get("/admin/export").status_code == 403
    assert sent(reader, {}).status_code == 403
