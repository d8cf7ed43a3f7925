"""Everything that decides a cost is stored, and every service that copies a price keeps it."""

import csv
import io
import json
import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from factories import model_values, price_values
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError

from webapp.domain.catalog.input_schemas import validate_price
from webapp.domain.catalog.model_csv import FIELD_COLUMNS
from webapp.domain.catalog.snapshot import project_snapshot
from webapp.domain.pricing.pricing import PRICE_TERMS
from webapp.domain.pricing.serializers import BILLING_FIELDS, billing_document, price_document
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Price, PriceRate
from webapp.registry.price_loader import parse_conditions, parse_window, when_key, window_key
from webapp.runtime import container
from webapp.runtime.transaction import dry_run_transaction, writing
from webapp.security.urlguard import OutboundPolicy
from webapp.services.catalog import models
from webapp.services.catalog_sync import apply, proposals
from webapp.services.catalog_sync.apply import Approval
from webapp.services.pricing import prices
from webapp.services.projects import overrides, projects
from webapp.services.projects.overrides import Rule
from webapp.services.restore import restore
from webapp.services.transfer import files, import_drafts, registry_yaml
from webapp.services.transfer.files import Upload
from webapp.services.transfer.import_rows import ImportRefused
from webapp.services.transfer.registry_import import ImportContext

NOW = datetime(2026, 11, 28, 20, tzinfo=UTC)
CONTEXT = ImportContext("ann", OutboundPolicy())
WHOLE_DAY = {"days": [5, 6], "from": "00:00", "to": "24:00", "tz": "Asia/Shanghai"}
RATES = [
    {"meter": "input", "amount": "0.000000000000000001", "per": 1_000_000},
    {"meter": "input", "amount": "2", "per": 1_000_000, "window": WHOLE_DAY},
    {"meter": "input", "amount": "3", "per": 1_000_000, "window": {"from": "16:30", "to": "00:30"}, "service_tier": "fast"},
    {"meter": "output_image", "amount": "4", "per": 3, "service_tier": "scale"},
    {"meter": "image", "amount": "0.25", "per": 1, "when": {"size": "1536x1024", "quality": "high"}},
    {"meter": "image", "amount": "0.167", "per": 1, "when": {"quality": "high"}},
    {"meter": "second", "amount": "0.017", "per": 60},
]
FULL = {"rates": RATES, "media_at_text_rate": True, "minimum": "0.0001", "surcharge_percent": "5.5"}


@pytest.fixture
def model_id(app) -> int:
    with writing() as session:
        return models.create(session, model_values(), actor="ann").id


def add(model_id: int, **values) -> Price:
    with writing() as session:
        return prices.add(session, model_id, price_values(**values), actor="ann")


def last_event() -> int:
    return db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()


def history(model_id: int) -> list[dict]:
    """Return what decides the costs of each price of a model, oldest first."""
    db.session.rollback()
    return [billing_document(price_document(price)) for price in prices.history(db.session(), db.session.get_one(Model, model_id))]


# Storage


def test_every_billing_field_is_stored_and_read(either_app):
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    add(model_id, **FULL)
    expected = price_document(container.registry().refresh().by_name["openai/test-model"].price)
    assert history(model_id) == [billing_document(expected)]
    assert [rate["when"] for rate in expected["rates"]][4:6] == [{"quality": "high", "size": "1536x1024"}, {"quality": "high"}]
    assert expected["rates"][1]["window"] == WHOLE_DAY
    assert [expected[name] for name in BILLING_FIELDS[3:]] == [True, "0.0001", "5.5"]


def test_a_new_price_does_not_bill_media_at_the_rate_of_text(either_app):
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    add(model_id)
    assert [price["media_at_text_rate"] for price in history(model_id)] == [False]


def test_the_longest_conditions_of_a_price_can_be_stored(either_app):
    """Their characters have four bytes each and are random, so that PostgreSQL cannot compress the entry of the index."""
    dice = random.Random(16)
    values = ["".join(chr(dice.randint(0x20000, 0x2A6D6)) for _ in range(60)) for _ in range(5)]
    when = {f"{letter * 40}": value for letter, value in zip("abcde", values, strict=True)}
    window = {"days": [0, 1, 2, 3, 4, 5, 6], "from": "16:30", "to": "00:30", "tz": "America/Argentina/ComodRivadavia"}
    rate = {"meter": "cache_read_audio", "amount": "1", "per": 1, "above": 10**12, "service_tier": "priority", "window": window}
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    add(model_id, rates=[rate | {"when": when}, rate | {"when": when | {"a" * 40: values[0][:-1]}}])
    assert history(model_id)[0]["rates"][0]["when"] == when


def test_the_database_tells_rates_by_their_zone_and_conditions_and_refuses_the_same_twice(either_app):
    price_id = db.session.execute(select(Price.id).limit(1)).scalar_one()
    rate = {"price_id": price_id, "meter": "page", "amount": Decimal(1), "per": 1, "above": -1, "service_tier": "flex"}
    keys = [("", ""), ("|16:30-00:30", ""), ("|16:30-00:30|Asia/Shanghai", ""), ("", "quality=high"), ("", "quality=low")]
    rows = [rate | {"window_key": window, "when_key": when} for window, when in keys]
    with writing() as session:
        session.connection().execute(insert(PriceRate), rows)
    for row in rows:
        with pytest.raises(DBAPIError, match=r"(?i)unique"), db.engine.connect() as connection:
            connection.execute(insert(PriceRate), [row])


@pytest.mark.parametrize("key", ["", "quality=high", "quality=high\nsize=1536x1024", "formula=a=b", "text=|,"])
def test_conditions_come_back_from_their_key(key):
    assert when_key(parse_conditions(key) if key else ()) == key


@pytest.mark.parametrize("key", ["|16:30-00:30", "0,6|00:00-00:00", "5,6|16:30-00:30|Asia/Shanghai"])
def test_a_window_comes_back_from_its_key(key):
    assert window_key(parse_window(key)) == key


# Copies


def test_a_canceled_price_is_followed_by_the_whole_price_before(model_id):
    add(model_id, **FULL)
    scheduled = add(model_id, effective_from="2099-01-01T00:00:00Z")
    with writing() as session:
        prices.cancel(session, scheduled.id, actor="ann")
    first, _, cancellation = history(model_id)
    assert cancellation == first


def test_a_restored_price_is_the_whole_price_before(model_id):
    add(model_id, **FULL)
    add(model_id, effective_from="2026-11-02T00:00:00Z")
    with writing() as session:
        restore.restore(session, last_event(), actor="bob", policy=container.current().outbound)
    first, _, restored = history(model_id)
    assert restored == first


def test_a_difference_in_one_billing_field_can_be_restored(model_id):
    add(model_id, **FULL)
    add(model_id, **FULL | {"minimum": "0.0002"}, effective_from="2026-11-02T00:00:00Z")
    with writing() as session:
        restore.restore(session, last_event(), actor="bob", policy=container.current().outbound)
    assert [price["minimum"] for price in history(model_id)] == ["0.0001", "0.0002", "0.0001"]


def test_the_undo_of_a_proposal_restores_the_whole_price_before(model_id):
    before = add(model_id, **FULL)
    document = price_document(container.registry().refresh().by_name["openai/test-model"].price)
    entry = {"price": document | {"minimum": "0.5"}, "price_before": before.id, "fields": {}, "fields_before": {}}
    with writing() as session:
        proposal_id = open_proposal(session, entry)
        apply.apply(session, proposal_id, Approval("bob", NOW, True, proposals.selection_digest(session, proposal_id)))
    with writing() as session:
        assert apply.undo(session, proposal_id, actor="bob") == []
    first, applied, undone = history(model_id)
    assert (undone, applied) == (first, first | {"minimum": "0.5"})


def open_proposal(session, entry: dict) -> int:
    """Store a proposal with one selected row, and return its id."""
    row = proposals.ProposalRow(
        ref="openai/test-model", provider="openai", kind="changed", choosable=True, chosen=True, entry=entry, guards="", lines=[]
    )
    names = {"source": "acme-list", "source_version": "1", "digest": "", "opened_by": "ann"}
    proposal = proposals.Proposal(**names, status="open", problems=[], counts={}, rows=[row])
    session.add(proposal)
    session.flush()
    proposals.audit_log.record(session, "catalog:proposal:create", actor="ann", target=proposals.proposal_target(proposal))
    return proposal.id


@pytest.mark.parametrize("file_format", ["yaml", "json"])
def test_an_export_holds_the_whole_price(model_id, file_format):
    add(model_id, **FULL)
    text = files.export(db.session(), file_format, NOW)
    copied = text.replace("test-model", "copied-model")
    with writing() as session:
        assert files.import_upload(session, Upload("same", file_format, text), CONTEXT, NOW).counts()["changed"] == 0
        files.import_upload(session, Upload("copy", file_format, copied), CONTEXT, NOW)
    copied_id = db.session.execute(select(Model.id).where(Model.model_id == "copied-model")).scalar_one()
    assert history(copied_id) == history(model_id)


@pytest.mark.parametrize(("field", "value"), [("media_at_text_rate", False), ("minimum", None), ("surcharge_percent", "6")])
def test_an_import_notices_another_billing_field(model_id, field, value):
    add(model_id, **FULL)
    text = files.export(db.session(), "json", NOW)
    old, new = ({"media_at_text_rate": ("true", "false"), "minimum": ('"0.0001"', "null"), "surcharge_percent": ('"5.5"', '"6"')})[field]
    assert f'"{field}": {old}' in text
    changed = f'"{field}": {old}', f'"{field}": {new}'
    start = text.index('"model_id": "test-model"')
    upload = Upload("other", "json", text[:start] + text[start:].replace(*changed, 1))
    with pytest.raises(ImportRefused, match="another price starts at this time"), writing() as session:
        files.import_upload(session, upload, CONTEXT, NOW)


@pytest.mark.parametrize("file_format", ["yaml", "json"])
def test_a_price_in_a_file_from_before_the_field_bills_media_at_the_rate_of_text(model_id, file_format):
    add(model_id, media_at_text_rate=False)
    document = json.loads(files.export(db.session(), "json", NOW))
    model = next(entry for entry in document["models"] if entry["model_id"] == "test-model") | {"model_id": "copied-model"}
    for price in model["prices"]:
        del price["media_at_text_rate"]
    imported(Upload("old", file_format, registry_yaml.serialize(document | {"models": [model]}, as_json=file_format == "json")))
    copied_id = db.session.execute(select(Model.id).where(Model.model_id == "copied-model")).scalar_one()
    assert [price["media_at_text_rate"] for price in history(copied_id)] == [True]


def csv_with(changes: dict[str, str], without: tuple[str, ...] = ()) -> Upload:
    """Return the CSV file of the test model with some cells changed, and without some columns."""
    rows = list(csv.DictReader(io.StringIO(files.export(db.session(), "csv", NOW))))
    (row,) = (row for row in rows if row["model_id"] == "test-model")
    out = io.StringIO()
    writer = csv.DictWriter(out, [column for column in row if column not in without], extrasaction="ignore")
    writer.writeheader()
    writer.writerow(row | changes)
    return Upload("models.csv", "csv", out.getvalue())


def imported(upload: Upload):
    with writing() as session:
        return files.import_upload(session, upload, CONTEXT, NOW)


NEW_PRICE = {"price_state": "priced", "currency": "USD", "input_per_1m": "9"}


@pytest.mark.parametrize("without", [(), FIELD_COLUMNS])
def test_an_exported_file_of_models_changes_nothing(model_id, without):
    add(model_id, **FULL)
    assert imported(csv_with({}, without)).counts() == {"added": 0, "changed": 0, "same": 1}


@pytest.mark.parametrize("without", [(), FIELD_COLUMNS])
def test_a_new_rate_in_a_file_of_models_keeps_the_other_fields_of_the_price(model_id, without):
    add(model_id, **FULL)
    imported(csv_with({"output_per_1m": "9"}, without))
    first, second = history(model_id)
    assert [second[name] for name in BILLING_FIELDS[3:]] == [first[name] for name in BILLING_FIELDS[3:]]
    assert len(second["rates"]) == len(first["rates"]) + 1


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"media_at_text_rate": "false"}, "media_at_text_rate", False),
        ({"media_at_text_rate": ""}, "media_at_text_rate", False),
        ({"minimum": "0.01"}, "minimum", "0.01"),
        ({"minimum": ""}, "minimum", None),
        ({"surcharge_percent": "6"}, "surcharge_percent", "6"),
    ],
)
def test_a_column_changes_its_field_of_the_price_and_the_report_says_so(model_id, changes, field, value):
    add(model_id, **FULL)
    (change,) = [change for change in imported(csv_with(changes)).changes if change.kind == "price"]
    first, second = history(model_id)
    assert second[field] == value
    kept = [name for name in BILLING_FIELDS if name not in (field, "rates")]
    assert [second[name] for name in kept] == [first[name] for name in kept]
    assert sorted(map(str, second["rates"])) == sorted(map(str, first["rates"]))
    assert change.fields == (PRICE_TERMS[field].lower(),)


@pytest.mark.parametrize(("without", "media_at_text_rate"), [((), False), (FIELD_COLUMNS, True)])
def test_a_new_price_bills_media_at_the_rate_of_text_only_in_a_file_from_before_the_column(model_id, without, media_at_text_rate):
    imported(csv_with(NEW_PRICE, without))
    assert [price["media_at_text_rate"] for price in history(model_id)] == [media_at_text_rate]


def test_a_file_without_the_column_does_not_give_a_minimum_another_currency(model_id):
    add(model_id, **FULL)
    with pytest.raises(ImportRefused, match="differs from that of the minimum, USD"):
        imported(csv_with({"currency": "EUR"}, FIELD_COLUMNS))
    imported(csv_with({"currency": "EUR", "minimum": "0.0002"}))
    assert history(model_id)[1]["minimum"] == "0.0002"


def test_amounts_of_price_fields_can_have_a_decimal_comma(model_id):
    add(model_id, **FULL)
    row = "provider;model_id;minimum;surcharge_percent\nopenai;test-model;0,001;\n"
    imported(Upload("models.csv", "csv", row))
    assert [history(model_id)[1][name] for name in ("minimum", "surcharge_percent", "media_at_text_rate")] == ["0.001", None, True]


def test_a_minimum_far_from_the_one_before_is_questioned(model_id):
    add(model_id, **FULL)
    changes = imported(csv_with({"minimum": "1"})).changes
    (question,) = [text for change in changes for text in change.questions if text.startswith("Minimum")]
    assert question == "Minimum of a line is 10,000 times more than the price before. Is the unit right?"


def test_a_conditional_rate_far_from_the_one_before_is_questioned(model_id):
    add(model_id, **FULL)
    row = csv_with({})
    changed = Upload(row.name, row.format, row.text.replace('""amount"":""0.167""', '""amount"":""167""'))
    questions = [text for change in imported(changed).changes for text in change.questions]
    assert "Images, quality high is 1,000 times more than the price before. Is the unit right?" in questions


def test_a_draft_holds_the_whole_price(model_id):
    add(model_id, **FULL)
    changes = {"minimum": "0.01", "media_at_text_rate": "false"}
    with dry_run_transaction() as session:
        preview = import_drafts.preview_import(session, csv_with(changes), CONTEXT, NOW)
    with writing() as session:
        public_id = import_drafts.store(session, preview, "ann", NOW).public_id
    with writing() as session:
        lines = {line for change in import_drafts.changes_of(import_drafts.find(session, public_id, "ann")) for line in change.lines}
        assert ("media at the rate of text", "yes", "no") in lines
        assert ("minimum of a line", "$0.0001", "$0.01") in lines
        import_drafts.apply(session, public_id, CONTEXT, NOW)
    assert [history(model_id)[1][name] for name in ("minimum", "media_at_text_rate")] == ["0.01", False]


def test_a_price_of_a_project_is_stored_whole(model_id):
    add(model_id)
    with writing() as session:
        project = projects.create(session, {"slug": "shop", "display_name": "Shop"}, actor="ann")
        entry = validate_price(price_values(**FULL))
        overrides.add(session, project.id, Rule("price", "openai/test-model", NOW, price=entry), actor="ann")
    snapshot = project_snapshot(container.registry().refresh(), "shop", NOW)
    price = snapshot.by_name["openai/test-model"].price_at(NOW)
    assert (price.rates, price.media_at_text_rate, price.minimum, price.surcharge_percent) == (
        entry.rates,
        True,
        entry.minimum,
        entry.surcharge_percent,
    )
