"""Model pages, used without JavaScript and with htmx."""

import csv
import io
import json

import pytest
from factories import model_values
from sqlalchemy import event, select

from webapp.extensions import db
from webapp.models import AuditEvent, Model
from webapp.runtime.transaction import writing
from webapp.services.catalog import models

NEW = {"provider": "openai", "model_id": "rocket-1", "display_name": "Rocket", "type": "text", "active": "y"}


def events(since=0):
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent).where(AuditEvent.id > since).order_by(AuditEvent.id)).scalars())


def last_event():
    audit_events = events()
    return audit_events[-1].id if audit_events else 0


def model(name):
    db.session.rollback()
    return db.session.execute(select(Model).where(Model.model_id == name)).scalar_one()


def rows(response):
    return response.text.count('<tr id="row-')


def test_the_list_finds_a_model_by_its_id(ann):
    body = ann.get("/admin/model/?search=gpt-4o-mini").text.partition("<tbody")[2]
    assert "openai/gpt-4o-mini" in body
    assert "claude" not in body


def test_an_alias_and_a_whole_ref_are_found_too(ann):
    assert rows(ann.get("/admin/model/?search=gpt-4o-mini-2024-07-18")) == 1
    assert rows(ann.get("/admin/model/?search=anthropic/claude-3-opus")) == 1


def test_t33_wildcards_are_letters_like_any_other(ann):
    assert rows(ann.get("/admin/model/?search=%25")) == rows(ann.get("/admin/model/?search=zzqqzz")) == 0


@pytest.mark.parametrize(
    "query", ["flt0_price_state_equals=unknown", "flt0_default_equals=1", "flt0_type_equals=image", "flt0_capability_equals=vision"]
)
def test_filters_choose_what_the_registry_says(ann, registry, query):
    ann.post("/admin/model/new/", model_values(active="y"))
    infos = registry.snapshot.models
    expected = {
        "price_state": sum(info.price_state == "unknown" for info in infos),
        "default": sum(info.default for info in infos),
        "type": sum(info.type == "image" for info in infos),
        "capability": sum("vision" in info.capabilities for info in infos),
    }[query.removeprefix("flt0_").partition("_equals")[0]]
    assert rows(ann.get(f"/admin/model/?{query}&page_size=200")) == expected > 0


def test_an_inactive_model_stays_in_the_list(ann):
    model_id = model("gpt-4o").id
    with writing() as session:
        models.set_active(session, model_id, False, actor="tests")
    assert "openai/gpt-4o<" in ann.get("/admin/model/").text


def test_a_page_of_rows_needs_few_questions(ann, app):
    statements = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for path in ("/admin/model/?page_size=200", "/admin/model/", "/admin/price/", "/admin/provider/", "/admin/audit/", "/admin/user/"):
        statements.clear()
        assert ann.get(path).status_code == 200
        assert len([text for text in statements if text.startswith("SELECT") and "registry_state" not in text]) <= 7, path


def test_the_switch_answers_htmx_with_itself_and_a_way_back(ann):
    row = model("gpt-4o")
    response = ann.post(f"/admin/model/{row.id}/active?to=0", headers={"HX-Request": "true"})
    toast = json.loads(response.headers["HX-Trigger"])["toast"]
    assert 'aria-checked="false"' in response.text
    assert (toast["msg"], toast["undo"]["url"]) == ("GPT-4o is now inactive.", f"/admin/model/{row.id}/active?to=1")


def test_a_default_that_is_switched_off_says_what_to_choose_first(ann):
    row = model("gpt-4o-mini")
    response = ann.post(f"/admin/model/{row.id}/active?to=0", headers={"HX-Request": "true"})
    assert response.status_code == 409
    assert "Choose another default first" in response.headers["HX-Trigger"]
    assert model("gpt-4o-mini").is_active


def test_the_star_moves_and_can_be_put_back(ann):
    new_id, old_id = model("gpt-4o").id, model("gpt-4o-mini").id
    response = ann.post(f"/admin/model/{new_id}/default?to=1", headers={"HX-Request": "true"})
    assert json.loads(response.headers["HX-Trigger"])["refresh-list"] is True
    ann.post(json.loads(response.headers["HX-Trigger"])["toast"]["undo"]["url"])
    assert (model("gpt-4o").is_default, model("gpt-4o-mini").is_default, old_id) == (False, True, model("gpt-4o-mini").id)


def test_a_new_model_is_audited_once_with_its_values(ann):
    last_id = last_event()
    assert ann.post("/admin/model/new/", NEW | {"context_window": "128,000", "aliases": "r1, r2"}).status_code == 302
    (audit_event,) = events(last_id)
    assert (audit_event.action, audit_event.actor, audit_event.before) == ("registry:model:create", "ann@example.com", None)
    assert (audit_event.after["context_window"], audit_event.after["aliases"]) == (128_000, ["r1", "r2"])


@pytest.mark.parametrize(("button", "next_page"), [({}, "details"), ({"_add_another": "1"}, "new"), ({"_continue_editing": "1"}, "edit")])
def test_an_added_model_leads_to_its_page_or_where_the_button_says(ann, button, next_page):
    response = ann.post("/admin/model/new/", NEW | button)
    assert response.location.startswith(f"/admin/model/{next_page}/?")
    page = ann.get(response.location).text
    assert "was added" in page
    assert next_page != "details" or "Nobody has entered a price." in page


def test_what_was_typed_stays_beside_what_is_wrong_with_it(ann):
    response = ann.post("/admin/model/new/", NEW | {"model_id": "two words", "context_window": "1,5", "aliases": "gpt-4o-mini"})
    assert response.status_code == 422
    assert 'value="two words"' in response.text
    assert 'value="1,5"' in response.text
    assert "must be a whole number" in response.text


def form_of(ann, row_id):
    page = ann.get(f"/admin/model/edit/?id={row_id}").text
    version = page.partition('name="row_version"')[2].partition('value="')[2].partition('"')[0]
    return NEW | {"row_version": version}


def test_t37_saving_a_form_twice_from_two_tabs_is_refused_the_second_time(ann):
    ann.post("/admin/model/new/", NEW)
    row_id = model("rocket-1").id
    form = form_of(ann, row_id)
    assert ann.post(f"/admin/model/edit/?id={row_id}", form | {"display_name": "First"}).status_code == 302
    response = ann.post(f"/admin/model/edit/?id={row_id}", form | {"display_name": "Second"})
    assert response.status_code == 422
    assert "Somebody else changed this model meanwhile" in response.text
    assert model("rocket-1").display_name == "First"


def test_an_edit_is_audited_once_with_what_differs(ann):
    ann.post("/admin/model/new/", NEW)
    row_id, last_id = model("rocket-1").id, last_event()
    ann.post(f"/admin/model/edit/?id={row_id}", form_of(ann, row_id) | {"display_name": "Comet"})
    (audit_event,) = events(last_id)
    assert (audit_event.before, audit_event.after) == ({"display_name": "Rocket"}, {"display_name": "Comet"})


def test_a_bulk_switch_changes_all_or_none_and_can_be_taken_back(ann):
    ids = [str(model(name).id) for name in ("gpt-4o", "gpt-4.1")]
    ann.post("/admin/model/action/", {"action": "deactivate", "rowid": ids, "url": "/admin/model/"})
    assert not model("gpt-4o").is_active
    ann.post(f"/admin/model/active?to=1&ids={','.join(ids)}")
    assert model("gpt-4o").is_active
    ann.post("/admin/model/action/", {"action": "deactivate", "rowid": [*ids, str(model("gpt-4o-mini").id)], "url": "/admin/model/"})
    assert model("gpt-4o").is_active


def test_all_that_match_means_every_page_of_the_filter(ann, registry):
    ann.post("/admin/model/action/", {"action": "deactivate", "all_matching": "1", "rowid": "1", "url": "/admin/model/?search=claude"})
    assert not [info.ref for info in registry.snapshot.models if "claude" in info.ref and info.active]
    assert model("gpt-4o").is_active


def test_t28_an_export_holds_no_formula_and_keeps_numbers(ann):
    ann.post("/admin/model/new/", NEW | {"display_name": "=cmd|' /C calc'!A0", "context_window": "4096"})
    lines = list(csv.DictReader(io.StringIO(ann.get("/admin/model/export/csv/").text)))
    row = next(line for line in lines if line["Ref"] == "openai/rocket-1")
    assert (row["Model"][:2], row["Context"], row["Price State"]) == ("'=", "4096", "unknown")
    assert not [cell for line in lines for cell in line.values() if cell.startswith(("=", "+", "-", "@", "\t"))]


def test_a_model_with_prices_is_not_deleted_but_explained(ann):
    model_id = model("gpt-4o").id
    page = ann.client.post("/admin/model/delete/", data={"id": model_id, "csrf_token": _token(ann)}, follow_redirects=True).text
    assert "Deactivate it instead" in page
    assert model("gpt-4o")


def _token(ann):
    return ann.get("/admin/").text.partition('csrf-token" content="')[2].partition('"')[0]
