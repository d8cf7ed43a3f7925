"""The pages of models, as somebody without JavaScript and as htmx uses them."""

import csv
import io
import json

import pytest
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
    found = events()
    return found[-1].id if found else 0


def model(name):
    db.session.rollback()
    return db.session.execute(select(Model).where(Model.model_id == name)).scalar_one()


def rows(answer):
    return answer.text.count('<tr id="row-')


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
    snapshot = registry.snapshot.models
    expected = {
        "price_state": sum(found.price_state == "unknown" for found in snapshot),
        "default": sum(found.default for found in snapshot),
        "type": sum(found.type == "image" for found in snapshot),
        "capability": sum("vision" in found.capabilities for found in snapshot),
    }[query.removeprefix("flt0_").partition("_equals")[0]]
    assert rows(ann.get(f"/admin/model/?{query}&page_size=200")) == expected > 0


def test_an_inactive_model_stays_in_the_list(ann):
    number = model("gpt-4o").id
    with writing() as session:
        models.set_active(session, number, False, actor="tests")
    assert "openai/gpt-4o<" in ann.get("/admin/model/").text


def test_a_page_of_rows_needs_few_questions(ann, app):
    asked = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    for path in ("/admin/model/?page_size=200", "/admin/model/", "/admin/price/", "/admin/provider/", "/admin/audit/", "/admin/user/"):
        asked.clear()
        assert ann.get(path).status_code == 200
        assert len([text for text in asked if text.startswith("SELECT") and "registry_state" not in text]) <= 7, path


def test_the_switch_answers_htmx_with_itself_and_a_way_back(ann):
    found = model("gpt-4o")
    answer = ann.post(f"/admin/model/{found.id}/active?to=0", headers={"HX-Request": "true"})
    said = json.loads(answer.headers["HX-Trigger"])["toast"]
    assert 'aria-checked="false"' in answer.text
    assert (said["msg"], said["undo"]["url"]) == ("GPT-4o is now inactive.", f"/admin/model/{found.id}/active?to=1")


def test_a_default_that_is_switched_off_says_what_to_choose_first(ann):
    found = model("gpt-4o-mini")
    answer = ann.post(f"/admin/model/{found.id}/active?to=0", headers={"HX-Request": "true"})
    assert answer.status_code == 409
    assert "Choose another default first" in answer.headers["HX-Trigger"]
    assert model("gpt-4o-mini").is_active


def test_the_star_moves_and_can_be_put_back(ann):
    new, old = model("gpt-4o").id, model("gpt-4o-mini").id
    answer = ann.post(f"/admin/model/{new}/default?to=1", headers={"HX-Request": "true"})
    assert json.loads(answer.headers["HX-Trigger"])["refresh-list"] is True
    ann.post(json.loads(answer.headers["HX-Trigger"])["toast"]["undo"]["url"])
    assert (model("gpt-4o").is_default, model("gpt-4o-mini").is_default, old) == (False, True, model("gpt-4o-mini").id)


def test_a_new_model_is_audited_once_with_its_values(ann):
    before = last_event()
    assert ann.post("/admin/model/new/", NEW | {"context_window": "128,000", "aliases": "r1, r2"}).status_code == 302
    (found,) = events(before)
    assert (found.action, found.actor, found.before) == ("registry:model:create", "ann@example.com", None)
    assert (found.after["context_window"], found.after["aliases"]) == (128_000, ["r1", "r2"])


@pytest.mark.parametrize(("button", "next_page"), [({}, "details"), ({"_add_another": "1"}, "new"), ({"_continue_editing": "1"}, "edit")])
def test_an_added_model_leads_to_its_page_or_where_the_button_says(ann, button, next_page):
    answer = ann.post("/admin/model/new/", NEW | button)
    assert answer.location.startswith(f"/admin/model/{next_page}/?")
    page = ann.get(answer.location).text
    assert "was added" in page
    assert next_page != "details" or "Nobody has entered a price." in page


def test_what_was_typed_stays_beside_what_is_wrong_with_it(ann):
    answer = ann.post("/admin/model/new/", NEW | {"model_id": "two words", "context_window": "1,5", "aliases": "gpt-4o-mini"})
    assert answer.status_code == 422
    assert 'value="two words"' in answer.text
    assert 'value="1,5"' in answer.text
    assert "must be a whole number" in answer.text


def form_of(ann, row_id):
    page = ann.get(f"/admin/model/edit/?id={row_id}").text
    version = page.partition('name="row_version"')[2].partition('value="')[2].partition('"')[0]
    return NEW | {"row_version": version}


def test_t37_saving_a_form_twice_from_two_tabs_is_refused_the_second_time(ann):
    ann.post("/admin/model/new/", NEW)
    row_id = model("rocket-1").id
    typed = form_of(ann, row_id)
    assert ann.post(f"/admin/model/edit/?id={row_id}", typed | {"display_name": "First"}).status_code == 302
    answer = ann.post(f"/admin/model/edit/?id={row_id}", typed | {"display_name": "Second"})
    assert answer.status_code == 422
    assert "Somebody else changed this model meanwhile" in answer.text
    assert model("rocket-1").display_name == "First"


def test_an_edit_is_audited_once_with_what_differs(ann):
    ann.post("/admin/model/new/", NEW)
    row_id, before = model("rocket-1").id, last_event()
    ann.post(f"/admin/model/edit/?id={row_id}", form_of(ann, row_id) | {"display_name": "Comet"})
    (found,) = events(before)
    assert (found.before, found.after) == ({"display_name": "Rocket"}, {"display_name": "Comet"})


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
    assert not [found.ref for found in registry.snapshot.models if "claude" in found.ref and found.active]
    assert model("gpt-4o").is_active


def test_t28_an_export_holds_no_formula_and_keeps_numbers(ann):
    ann.post("/admin/model/new/", NEW | {"display_name": "=cmd|' /C calc'!A0", "context_window": "4096"})
    lines = list(csv.DictReader(io.StringIO(ann.get("/admin/model/export/csv/").text)))
    found = next(line for line in lines if line["Ref"] == "openai/rocket-1")
    assert (found["Model"][:2], found["Context"], found["Price State"]) == ("'=", "4096", "unknown")
    assert not [cell for line in lines for cell in line.values() if cell.startswith(("=", "+", "-", "@", "\t"))]


def test_a_model_with_prices_is_not_deleted_but_explained(ann):
    found = model("gpt-4o").id
    page = ann.client.post("/admin/model/delete/", data={"id": found, "csrf_token": _token(ann)}, follow_redirects=True).text
    assert "Deactivate it instead" in page
    assert model("gpt-4o")


def _token(ann):
    return ann.get("/admin/").text.partition('csrf-token" content="')[2].partition('"')[0]
