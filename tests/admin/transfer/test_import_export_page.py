"""Import and export page: a file is compared first, and applied exactly as it was shown or not at all."""

import html
import io
import json
from datetime import UTC, datetime

import pytest
from factories import model_values
from sqlalchemy import func, select, text

from webapp.domain.shared.errors import Malformed
from webapp.extensions import db
from webapp.models import AuditEvent, ImportDraft, Model, Price
from webapp.runtime import container
from webapp.runtime.transaction import dry_run_transaction, writing
from webapp.services.catalog import models
from webapp.services.transfer import files, import_drafts
from webapp.services.transfer.files import Upload
from webapp.services.transfer.registry_import import ImportContext

HEAD = {"format": "modeldesk-registry", "version": 1}
NEW = HEAD | {"models": [model_values(model_id="new-one", display_name="<b>New</b>")]}


def count(table, *where):
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(table).where(*where)).scalar_one()


def sent(visitor, content, name="c.json"):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return visitor.post("/admin/exchange/compare", {"file": (io.BytesIO(data), name)}, content_type="multipart/form-data")


def page(visitor, path):
    return html.unescape(visitor.get(path).text)


def test_a_file_is_compared_first_and_applied_by_whoever_sent_it(app, bob, ann):
    address = sent(bob, NEW).location
    content = page(bob, address)
    assert "1 added" in content
    assert "openai/new-one" in content
    assert "<b>New</b>" not in bob.get(address).text
    assert "Waiting for you" in page(bob, "/admin/exchange/")
    assert count(Model, Model.model_id == "new-one") == 0
    assert ann.get(address).status_code == 404  # The file belongs to another user.
    assert bob.post(f"{address}apply").location == "/admin/exchange/"
    index_page = page(bob, "/admin/exchange/")
    assert "Imported: 1 added, 0 changed." in index_page
    assert "Imported c.json" in index_page
    assert count(Model, Model.model_id == "new-one") == 1
    assert count(ImportDraft) == 0
    assert bob.post(f"{address}apply").location == "/admin/exchange/"
    assert count(AuditEvent, AuditEvent.action == "catalog:file:import") == 1


def test_a_catalogue_that_changed_since_is_compared_anew_instead_of_changed(app, bob):
    address = sent(bob, HEAD | {"models": [model_values(model_id="gpt-4o", display_name="Renamed")]}).location
    assert "GPT-4o" in page(bob, address)
    with writing() as session:
        row = session.execute(select(Model).where(Model.model_id == "gpt-4o")).scalar_one()
        models.update(session, row.id, {"display_name": "By somebody else"}, actor="ann")
    assert bob.post(f"{address}apply").location == address
    content = page(bob, address)
    assert "the catalogue changed since the file was compared" in content
    assert "By somebody else" in content
    assert count(Model, Model.display_name == "Renamed") == 0
    bob.post(f"{address}apply")
    assert count(Model, Model.display_name == "Renamed") == 1


def test_every_wrong_line_is_said_and_the_file_is_not_kept(bob):
    response = sent(bob, b"provider,model_id,display_name,type\nopenai,a,A,smell\nopenai,b,,text\n", "m.csv")
    assert response.status_code == 422
    assert "Line 2: type must be one of" in response.text
    assert "Line 3: display_name must have" in response.text
    assert count(ImportDraft) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.exe", b"", "must end in .yaml, .json or .csv"),
        ("", b"", "Choose a file first"),
        ("x.csv", b"", "the file is empty"),
        ("x.yaml", b"format: \xff", "not UTF-8"),
        ("x.json", b"[1]", "must be an object"),
    ],
)
def test_what_is_no_file_of_ours_is_refused_in_words(bob, name, content, message):
    response = sent(bob, content, name)
    assert (response.status_code, message in html.unescape(response.text)) == (422, True)


def test_a_file_has_a_limit():
    with pytest.raises(Malformed, match="larger than 10 MB"):
        files.decode_text(b"x" * 10_000_001)


def test_the_models_go_out_into_a_spreadsheet_and_come_back_with_a_new_price(bob):
    response = bob.get("/admin/exchange/download/csv")
    assert response.mimetype == "text/csv"
    assert "attachment; filename=modeldesk-models-" in response.headers["Content-Disposition"]
    exported = response.text
    assert "The file says nothing new" in page(bob, sent(bob, exported.encode(), "m.csv").location)
    before = count(Price)
    address = sent(bob, b"provider,model_id,input_per_1m\r\nopenai,gpt-4o,9.75\r\n", "few.csv").location
    content = page(bob, address)
    assert "$2.50 per 1M tokens" in content
    assert "$9.75 per 1M tokens" in content
    bob.post(f"{address}apply")
    assert count(Price) == before + 1


def test_a_price_that_is_far_from_the_one_before_is_to_be_looked_at_twice(bob):
    address = sent(bob, b"provider,model_id,input_per_1m\nopenai,gpt-4o,2500\nopenai,gpt-4o-mini,0.16\n", "few.csv").location
    content = page(bob, f"{address}?kind=look")
    assert "1 to look at twice" in content
    assert "Input is 1,000 times more than the price before. Is the unit right?" in content
    assert "gpt-4o-mini" not in content.partition("<tbody>")[2]
    assert "1 price is far away from the one before." in content


def test_viewers_take_files_away_and_bring_none(eve):
    assert eve.get("/admin/exchange/download/yaml").text.startswith("format: modeldesk-registry")
    assert 'type="file"' not in eve.get("/admin/exchange/").text
    assert sent(eve, NEW).status_code == 403
    assert eve.get("/admin/exchange/download/exe").status_code == 422


def test_a_file_goes_when_it_is_discarded_or_a_day_old(bob, ann):
    first = sent(bob, NEW).location
    bob.post(f"{first}discard")
    assert bob.get(first).status_code == 404
    second = sent(bob, NEW).location
    db.session.execute(text("UPDATE import_drafts SET created_at = '2026-01-01 00:00:00'"))
    db.session.commit()
    sent(ann, NEW)
    assert bob.get(second).status_code == 404


def test_a_held_file_is_applied_as_it_was_compared_on_both_engines(either_app):
    context, now = ImportContext("bob", container.current().outbound), datetime.now(UTC)
    upload = Upload("few.csv", "csv", "provider,model_id,input_per_1m\nopenai,gpt-4o,9.75\n")
    with dry_run_transaction() as session:
        preview = import_drafts.preview_import(session, upload, context, now)
    before = count(Price)
    with writing(refresh=False) as session:
        public_id = import_drafts.store(session, preview, "bob", now).public_id
    with writing() as session:
        assert import_drafts.apply(session, public_id, context, now).counts() == {"added": 1, "changed": 0, "same": 1}
    assert (count(Price), count(ImportDraft)) == (before + 1, 0)
    price = container.registry().snapshot.by_name["openai/gpt-4o"].price
    assert ("input", "standard", "9.75") in {(rate.meter, rate.service_tier, str(rate.amount)) for rate in price.rates}
