"""Prices, runs and usage records of commit fab12c9 keep their costs when the tables are upgraded, and when prices are read again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import flask_migrate
import pytest
from sqlalchemy import MetaData, Table, select, true
from stored_costs import MIGRATIONS, OLD_VERSION, create_old_database, stored_costs

from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.pricing import Price
from webapp.domain.pricing.usage import Usage
from webapp.extensions import db
from webapp.models import ProposalRow
from webapp.registry.last_good import LastGoodFile
from webapp.registry.price_loader import load_prices
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.urlguard import OutboundPolicy
from webapp.services.catalog_sync import apply, proposals
from webapp.services.catalog_sync.apply import Approval
from webapp.services.transfer import files, import_drafts
from webapp.services.transfer.files import Upload
from webapp.services.transfer.registry_import import ImportContext

STORED = ("usage", "cost", "cost_total", "currency", "price_id")


@pytest.fixture
def upgraded(bare) -> Mapping[int, Price]:
    """The prices of the upgraded database, by id."""
    create_old_database()
    flask_migrate.upgrade(directory=MIGRATIONS)
    return read_prices()


def read_prices() -> Mapping[int, Price]:
    with db.engine.connect() as connection:
        return {price.id: price for prices in load_prices(connection).values() for price in prices}


def read_columns(table: str, *columns: str) -> list[dict[str, object]]:
    with db.engine.connect() as connection:
        reflected = Table(table, MetaData(), autoload_with=connection)
        rows = connection.execute(select(*(reflected.c[name] for name in columns)).order_by(reflected.c.id))
        return [dict(row) for row in rows.mappings()]


def test_the_fixture_is_as_large_as_the_proof_demands():
    rows = stored_costs().rows
    added = [row for row in rows["prices"] if row["source_kind"] != "seed"]
    assert (len(rows["prices"]) - len(added), len(added), len(rows["runs"]), len(rows["usage_records"])) == (417, 200, 1_000, 400)
    assert {cost.price_id for cost in stored_costs().calculated} == {row["id"] for row in rows["prices"]}


def test_an_upgrade_changes_no_stored_cost(upgraded):
    for table in ("runs", "usage_records"):
        stored = [{name: row[name] for name in STORED} for row in stored_costs().rows[table]]
        assert read_columns(table, *STORED) == stored


def test_an_upgrade_and_a_downgrade_keep_every_price_and_rate(bare):
    create_old_database()
    before = {table: read_columns(table, *stored_costs().rows[table][0]) for table in ("prices", "price_rates")}
    for _ in range(2):
        flask_migrate.upgrade(directory=MIGRATIONS)
        assert {table: read_columns(table, *before[table][0]) for table in before} == before
        flask_migrate.downgrade(directory=MIGRATIONS, revision=OLD_VERSION)
        assert {table: read_columns(table, *before[table][0]) for table in before} == before


def test_prices_from_before_bill_media_at_the_rate_of_text(upgraded):
    assert {price.media_at_text_rate for price in upgraded.values()} == {True}
    assert {(price.minimum, price.surcharge_percent) for price in upgraded.values()} == {(None, None)}


def names_of_overlaps(usage: Mapping[str, int]) -> set[str]:
    """Return the entries of `missing` that came with overlaps of cached and media tokens, if the usage can have any."""
    media = {"input_audio", "input_image"} & usage.keys()
    cached = {"cache_read", "cache_write"} & usage.keys()
    return {*media, *(f"cache_{meter.replace('input', 'read')}" for meter in media)} if cached else set()


def assert_same_cost(cost: Cost, total: str | None, lines: list[tuple], missing: list[str], usage: Mapping[str, int]) -> None:
    """The total and the lines are the same. What is new: an overlap that is unclear and would change the total is named."""
    assert cost.total == (None if total is None else Decimal(total))
    assert [(line.meter, line.billed_as, line.quantity, line.cost) for line in cost.lines] == lines
    added = cost.missing[len(missing) :]
    assert list(cost.missing) == missing + list(added)
    assert set(added) <= names_of_overlaps(usage)


def test_every_price_gives_the_costs_that_the_old_code_calculated(upgraded):
    for old in stored_costs().calculated:
        cost = cost_of(upgraded[old.price_id], Usage(**old.usage), at=old.at, service_tier=old.service_tier)
        lines = [(meter, billed_as, quantity, Decimal(amount)) for meter, billed_as, quantity, amount in old.lines]
        assert_same_cost(cost, old.total, lines, old.missing, old.usage)


@pytest.mark.parametrize("table", ["runs", "usage_records"])
def test_every_run_and_record_costs_the_same_when_it_is_calculated_again(upgraded, table):
    rows = [row for row in read_columns(table, "usage", "cost") if row["cost"] and row["cost"]["price_id"]]
    assert len(rows) > 300
    for row in rows:
        old, usage = row["cost"], row["usage"]
        cost = cost_of(upgraded[old["price_id"]], Usage(**usage), at=datetime.fromisoformat(old["at"]), service_tier=old["service_tier"])
        lines = [(line["meter"], line["billed_as"], line["quantity"], Decimal(line["cost"])) for line in old["lines"]]
        assert_same_cost(cost, old["total"], lines, old["missing"], usage)


# Five readers of old formats. None of them states `media_at_text_rate`, and all of them mean true.

on_sqlite = pytest.mark.parametrize("bare", ["sqlite"], indirect=True)  # Their code is the same on both engines.
AT = datetime(2026, 11, 28, 20, tzinfo=UTC)
CONTEXT = ImportContext("bob@example.com", OutboundPolicy())


def added_prices(upgraded: Mapping[int, Price]) -> list[Price]:
    return [price for price_id, price in read_prices().items() if price_id not in upgraded]


@on_sqlite
@pytest.mark.parametrize("file_format", ["yaml", "json"])
def test_an_old_export_is_the_same_as_the_prices_that_it_was_made_from(upgraded, file_format):
    upload = Upload(f"export.{file_format}", file_format, stored_costs().files[f"export.{file_format}"])
    with writing() as session:
        report = files.import_upload(session, upload, CONTEXT, AT)
    assert report.counts() == {"added": 0, "changed": 0, "same": 13}


def test_an_old_export_brings_prices_that_bill_media_at_the_rate_of_text(empty_app):
    upload = Upload("export.yaml", "yaml", stored_costs().files["export.yaml"])
    with writing() as session:
        files.import_upload(session, upload, CONTEXT, AT)
    prices = read_prices().values()
    assert (len(prices) > 4, {price.media_at_text_rate for price in prices}) == (True, {True})


def test_an_old_last_good_copy_bills_media_at_the_rate_of_text(tmp_path):
    path = tmp_path / "copy.json"
    path.write_text(stored_costs().files["last-good.json"], encoding="utf-8")
    catalog = LastGoodFile(path).load().catalog
    prices = [price for model in catalog.models for price in model.prices] + [override.price for override in catalog.overrides]
    assert (len(catalog.overrides), {price.media_at_text_rate for price in prices}) == (2, {True})


@on_sqlite
def test_an_open_proposal_brings_prices_that_bill_media_at_the_rate_of_text(upgraded):
    with writing() as session:
        (proposal,) = proposals.list_proposals(session)
        assert proposals.choose(session, proposal.id, true(), True) == 2
        apply.apply(session, proposal.id, Approval("bob@example.com", AT, True, proposals.selection_digest(session, proposal.id)))
        assert all(row.done for row in session.execute(select(ProposalRow)).scalars())
    assert [price.media_at_text_rate for price in added_prices(upgraded)] == [True, True]


@on_sqlite
def test_an_import_draft_brings_prices_that_bill_media_at_the_rate_of_text(upgraded):
    with writing() as session:
        draft = import_drafts.get_latest_or_none(session, "bob@example.com")
        import_drafts.apply(session, draft.public_id, CONTEXT, AT)
    assert [price.media_at_text_rate for price in added_prices(upgraded)] == [True]


@on_sqlite
def test_a_price_of_a_project_from_before_bills_media_at_the_rate_of_text(upgraded):
    container.registry().refresh()
    overrides = container.registry().snapshot.catalog.overrides
    assert [(override.project, override.price.media_at_text_rate) for override in overrides] == [("shop", True), ("shop", True)]
