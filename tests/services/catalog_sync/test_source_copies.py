"""Tests of the copies of catalogs: second opinions, and a source that shrank."""

from datetime import UTC, datetime

from factories import NOW
from sqlalchemy import select

from webapp.domain.catalog.catalog_guards import GuardLimits
from webapp.extensions import db
from webapp.models import SourceCopy
from webapp.price_sources.sources import SourceCatalog
from webapp.runtime.transaction import writing
from webapp.services.catalog_sync import source_copies
from webapp.services.catalog_sync.source_models import models_by_ref


def a_catalog(source, *amounts, version="1"):
    """A catalog with one model per amount, which has a scheduled price as well."""
    price = {"state": "priced", "currency": "USD", "source": {"kind": "catalog", "name": source, "url": None}}
    models = [
        {
            "provider": "acme",
            "model_id": f"m{number}",
            "display_name": "M",
            "type": "text",
            "capabilities": [],
            "aliases": [],
            "prices": [
                price | {"effective_from": start, "rates": [{"meter": "input", "amount": text, "per": 1_000_000}]}
                for start, text in (("2020-01-01T00:00:00Z", amount), ("2100-01-01T00:00:00Z", "99"))
            ],
        }
        for number, amount in enumerate(amounts)
    ]
    return SourceCatalog(source, f"version {version}", (version * 64)[:64], [], models, fields_read=1)


def keep(catalog):
    with writing(refresh=False) as session:
        return source_copies.keep_and_find_second(session, catalog, None, datetime.now(UTC))


def is_shrunk(catalog):
    db.session.rollback()
    return source_copies.is_shrunk(db.session(), catalog, GuardLimits())


def test_the_last_catalog_of_another_source_gives_its_current_prices(either_app):
    assert keep(a_catalog("one", "1")) is None
    assert keep(a_catalog("two", "2")).name == "one"
    assert keep(a_catalog("three", "3")).name == "two"
    second = keep(a_catalog("one", "1.5", version="2"))
    assert (second.name, second.version) == ("three", "version 1")
    (price,) = models_by_ref(second, [])["acme/m0"].prices
    assert [str(rate.amount) for rate in price.rates] == ["3"]
    assert price.effective_from < NOW
    assert len(db.session.execute(select(SourceCopy)).scalars().all()) == 3


def test_a_named_second_catalog_wins_and_is_stored_too(app):
    keep(a_catalog("one", "1"))
    named = a_catalog("two", "2")
    with writing(refresh=False) as session:
        assert source_copies.keep_and_find_second(session, a_catalog("three", "3"), named, datetime.now(UTC)) is named
    assert keep(a_catalog("three", "3")).name == "two"


def test_a_source_that_lost_more_than_a_tenth_of_its_records_is_recognized_however_often_it_is_compared(app):
    whole, most, excerpt = (a_catalog("one", *["1"] * count, version=version) for count, version in ((60, "1"), (54, "2"), (53, "3")))
    assert not is_shrunk(whole)
    keep(whole)
    assert (is_shrunk(whole), is_shrunk(most), is_shrunk(excerpt)) == (False, False, True)
    keep(excerpt)
    assert is_shrunk(excerpt)
    keep(excerpt)
    assert is_shrunk(excerpt)
    assert not is_shrunk(a_catalog("another", "1"))
    keep(whole)
    assert not is_shrunk(whole)
