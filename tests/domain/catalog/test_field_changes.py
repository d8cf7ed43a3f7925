"""Changes of prices as text."""

from decimal import Decimal

from factories import a_price, a_rate

from webapp.domain.catalog.field_changes import describe_price, readable_values
from webapp.domain.pricing.serializers import price_document

HIGH = (("quality", "high"),)


def test_a_change_of_a_price_names_conditions_and_fields_of_the_whole_price():
    before = a_price(a_rate("image", "0.1", 1), a_rate("image", "0.2", 1, when=HIGH))
    after = a_price(
        a_rate("image", "0.1", 1),
        a_rate("image", "0.25", 1, when=HIGH),
        a_rate("second", "0.034", 60),
        minimum=Decimal("0.010"),
        media_at_text_rate=True,
    )
    assert [tuple(change) for change in describe_price(before, after)] == [
        ("images, quality high", "$0.20 per image", "$0.25 per image"),
        ("seconds", None, "$0.034 per minute"),
        ("media at the rate of text", "no", "yes"),
        ("minimum of a line", None, "$0.01"),
    ]


def test_a_term_that_ends_says_what_holds_after_it():
    before = a_price(a_rate(), media_at_text_rate=True, minimum=Decimal("0.5"), surcharge_percent=Decimal("5.5"), currency="EUR")
    after = a_price(a_rate(), surcharge_percent=Decimal(7), currency="EUR")
    assert [tuple(change) for change in describe_price(before, after)] == [
        ("media at the rate of text", "yes", "no"),
        ("surcharge", "5.5%", "7%"),
        ("minimum of a line", "€0.50", None),
    ]


def test_a_first_price_names_only_the_terms_that_it_has():
    assert [tuple(change) for change in describe_price(None, a_price(a_rate()))] == [
        ("price", None, "priced"),
        ("input", None, "$1 per 1M tokens"),
    ]


def test_an_event_shows_the_rates_of_a_price_as_text():
    price = a_price(a_rate("image", "0.2", 1, when=HIGH), a_rate(above=200_000), currency="EUR")
    for values in (price_document(price), {"price": price_document(price)}):
        texts = readable_values(values)
        assert (texts.get("price") or texts)[
            "rates"
        ] == "images, quality high: €0.20 per image\ninput, above 200,000 input tokens: €1 per 1M tokens"


def test_values_that_are_no_price_stay_as_they_are():
    for values in ({"rates": "many"}, {"rates": [1]}, {"display_name": "x", "rates": None}):
        assert readable_values(values) == values
