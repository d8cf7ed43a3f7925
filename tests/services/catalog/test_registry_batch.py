"""Many rows are changed with few statements, and with the same events and rules as single changes."""

import csv
import io
import json
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from factories import bulk_catalogue, model_values
from sqlalchemy import event, func, select

from webapp.domain.catalog.catalog_guards import GuardLimits
from webapp.domain.shared.errors import Invalid
from webapp.extensions import db
from webapp.models import AuditEvent, Model, ModelAlias, Price
from webapp.price_sources.sources import SourceCatalog
from webapp.runtime import container
from webapp.runtime.transaction import comparing, writing
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.catalog_sync import apply, proposals, undo_rows
from webapp.services.catalog_sync.apply import Approval
from webapp.services.catalog_sync.proposals import Comparison, RowFilter
from webapp.services.transfer import files
from webapp.services.transfer.files import CSV, JSON, Upload
from webapp.services.transfer.registry_import import ImportContext

ROWS, MOST = 200, 3  # Rows, and statements per row; one `executemany` counts as one statement.
NOW = datetime.now(UTC)


@contextmanager
def counted():
    """Yield the statements of this thread. The registry's own thread reads the revision all the time."""
    statements, thread = [], threading.get_ident()

    def count(connection, cursor, statement, *_):
        if threading.get_ident() == thread:
            statements.append(statement)

    event.listen(db.engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", count)


def require_few(statements, rows=ROWS) -> None:
    assert 0 < len(statements) <= MOST * rows, Counter(statements).most_common(8)


def events(action) -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(AuditEvent).where(AuditEvent.action == action)).scalar_one()


def require_intact_log() -> None:
    db.session.rollback()
    assert audit_log.get_first_break_or_none(db.session()) is None


# Proposals.


def catalog_of(count, amount="2", **more) -> SourceCatalog:
    rate = {"meter": "input", "amount": amount, "per": 1_000_000, "above": None, "service_tier": "standard", "window": None}
    source = {"kind": "catalog", "name": "acme-list", "url": None}
    price = {"state": "priced", "effective_from": "2020-01-01T00:00:00Z", "currency": "USD", "rates": [rate], "source": source}
    model = {"provider": "newcomer", "display_name": "New", "type": "text", "capabilities": [], "aliases": []} | more
    rows = [model | {"model_id": f"m-{number}", "prices": [price | {"media_at_text_rate": False}]} for number in range(count)]
    return SourceCatalog("acme-list", f"version {amount}", amount * 64, [], rows, fields_read=1)


def opened(catalog) -> int:
    container.registry().refresh()
    with writing(refresh=False) as session:
        comparison = Comparison(container.registry().snapshot, catalog, None, GuardLimits(), datetime.now(UTC))
        proposal_id = proposals.open_proposal(session, comparison, actor="ann").id
        proposals.choose(session, proposal_id, RowFilter().condition(), True)
    return proposal_id


def approve(proposal_id) -> None:
    with writing() as session:
        digest = proposals.selection_digest(session, proposal_id)
        apply.apply(session, proposal_id, Approval("bob", datetime.now(UTC), True, digest))


def undo(proposal_id) -> list[str]:
    with writing() as session:
        return apply.undo(session, proposal_id, actor="bob")


def test_new_models_of_a_proposal_are_added_and_undone_with_few_statements(either_app):
    proposal_id = opened(catalog_of(ROWS))
    with counted() as statements:
        approve(proposal_id)
    require_few(statements)
    assert (events("registry:model:create"), events("registry:price:add")) == (ROWS, ROWS)
    with counted() as statements:
        assert undo(proposal_id) == []
    require_few(statements)
    require_intact_log()
    assert events("registry:model:update") == ROWS


def test_changed_prices_and_fields_of_a_proposal_are_applied_and_undone_with_few_statements(either_app):
    approve(opened(catalog_of(ROWS)))
    proposal_id = opened(catalog_of(ROWS, "3", context_window=9_000))
    with counted() as statements:
        approve(proposal_id)
    require_few(statements)
    assert container.registry().get_model("newcomer/m-7").context_window == 9_000
    with counted() as statements:
        assert undo(proposal_id) == []
    require_few(statements)
    assert container.registry().get_model("newcomer/m-7").context_window is None
    require_intact_log()


def test_a_slice_of_a_proposal_is_applied_and_undone_in_the_transaction_of_the_caller(app):
    proposal_id = opened(catalog_of(5))
    approval = Approval("bob", datetime.now(UTC), True, "")
    after = ""
    for size in (2, 2, 1, 0):
        with writing(refresh=False) as session:
            rows = apply.list_chosen_rows(session, proposal_id, after=after, limit=2)
            apply.apply_rows(session, rows, approval)
            assert len(rows) == size
            after = rows[-1].ref if rows else after
    assert events("registry:model:create") == 5
    with writing(refresh=False) as session:
        assert undo_rows.undo_slice(session, apply.list_chosen_rows(session, proposal_id, limit=2), actor="bob") == []
    assert events("registry:model:update") == 2
    require_intact_log()


# Files.


def catalogue(**more) -> str:
    document = bulk_catalogue(ROWS)
    return json.dumps(document | {"models": [model | more for model in document["models"]]})


def import_file(file_format, text, **options):
    upload = Upload("a file", file_format, text)
    with comparing() as session:
        upload = files.prepare_upload(session, upload, NOW)
    with writing() as session:
        return files.import_upload(session, upload, ImportContext("ann", container.current().outbound, **options), NOW)


def as_csv(change) -> str:
    """Return the exported models of the bulk provider as CSV, with each row changed."""
    rows = [row for row in csv.DictReader(io.StringIO(files.export(db.session(), CSV, NOW))) if row["provider"] == "bulk"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows([row | change(row) for row in rows])
    db.session.rollback()
    return text.getvalue()


def test_files_are_imported_with_few_statements(either_app):
    with counted() as statements:
        assert import_file(JSON, catalogue()).counts()["added"] == 2 * ROWS + 1
    require_few(statements)
    with counted() as statements:
        assert import_file(JSON, catalogue()).counts() == {"added": 0, "changed": 0, "same": ROWS + 1}
    require_few(statements, rows=ROWS / 4)
    with counted() as statements:
        assert import_file(JSON, catalogue(context_window=5_000)).counts()["changed"] == ROWS
    require_few(statements)
    require_intact_log()


def test_rows_of_a_csv_file_are_imported_with_few_statements(either_app):
    import_file(JSON, catalogue())
    new = as_csv(lambda row: {"model_id": f"new-{row['model_id']}", "aliases": f"alias-{row['model_id']}", "price_from": ""})
    changed = as_csv(lambda row: {"display_name": "Changed", "input_per_1m": "7", "price_from": ""})
    for text, counts in ((new, (2 * ROWS, 0)), (changed, (ROWS, ROWS)), (changed, (0, 0))):
        with counted() as statements:
            report = import_file(CSV, text)
        require_few(statements)
        assert (report.counts()["added"], report.counts()["changed"]) == counts
    require_intact_log()


def test_an_alias_moves_from_one_model_to_another_in_one_file(either_app):
    with writing() as session:
        models.create(session, model_values(model_id="a", aliases=["shared"], active=False), actor="ann")
        models.create(session, model_values(model_id="z", active=False), actor="ann")
    rows = [model_values(model_id="a", aliases=[], active=False), model_values(model_id="z", aliases=["shared"], active=False)]
    text = json.dumps({"format": "modeldesk-registry", "version": 1, "models": rows})
    assert import_file(JSON, text).counts()["changed"] == 2
    assert db.session.execute(select(Model.model_id).join(ModelAlias).where(ModelAlias.alias == "shared")).scalar_one() == "z"


def test_a_new_price_and_its_corrections_come_in_one_file(either_app):
    document = bulk_catalogue(1)
    (price,) = document["models"][0]["prices"]
    corrections = [price | {"rates": [price["rates"][0] | {"amount": str(amount)}], "corrects_previous": True} for amount in (2, 3)]
    document["models"][0]["prices"] = [price, *corrections]
    assert import_file(JSON, json.dumps(document)).counts()["added"] == 5
    rows = db.session.execute(select(Price.id, Price.corrects_id).join(Model).where(Model.model_id == "m-0").order_by(Price.id)).all()
    assert [row.corrects_id for row in rows] == [None, rows[0].id, rows[1].id]
    assert import_file(JSON, json.dumps(document)).counts()["same"] == 2


def test_a_row_that_is_twice_in_a_file_is_imported_once(either_app):
    document = bulk_catalogue(1)
    document["models"] *= 2
    assert import_file(JSON, json.dumps(document)).counts() == {"added": 3, "changed": 0, "same": 1}


def test_a_comparison_stores_nothing_and_reports_what_an_import_does(either_app):
    before = (events("registry:model:create"), container.current().source.read_revision())
    upload = Upload("a file", JSON, catalogue(default=False))
    context = ImportContext("ann", container.current().outbound, is_preview=True)
    with counted() as statements, comparing() as session:
        compared = files.import_upload(session, upload, context, NOW)
    assert all(statement.startswith("SELECT") for statement in statements)
    assert not any("FOR UPDATE" in statement for statement in statements)
    assert (events("registry:model:create"), container.current().source.read_revision()) == before
    assert import_file(JSON, catalogue(default=False)).changes == compared.changes


def test_reading_stops_after_50_errors_and_says_so(app):
    text = "provider,model_id,active\n" + "".join(f"openai,m-{number},perhaps\n" for number in range(500))
    with comparing() as session, pytest.raises(Invalid, match=r"Reading stopped after 50 errors\.$") as error:
        files.prepare_upload(session, Upload("a file", CSV, text), NOW)
    assert len(error.value.errors) == 50
    wrong = json.dumps({"format": "modeldesk-registry", "version": 1, "models": [{"provider": "openai"}] * 500})
    with comparing() as session, pytest.raises(Invalid, match="Reading stopped") as error:
        files.prepare_upload(session, Upload("a file", JSON, wrong), NOW)
    assert len(error.value.errors) >= 50


def test_a_csv_file_is_merged_again_if_the_registry_changed_since_it_was_read(app):
    import_file(JSON, catalogue())
    text = as_csv(lambda row: {"context_window": "77"})
    with comparing() as session:
        upload = files.prepare_upload(session, Upload("a file", CSV, text), NOW + timedelta(seconds=1))
    with writing() as session:
        models.update(session, container.registry().get_model("bulk/m-0").id, {"context_window": 77}, actor="ann")
    with writing() as session:
        report = files.import_upload(session, upload, ImportContext("ann", container.current().outbound), NOW + timedelta(seconds=1))
    assert report.counts()["changed"] == ROWS - 1
