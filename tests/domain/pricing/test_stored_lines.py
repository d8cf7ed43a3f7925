"""Lines of a cost that are read back from a stored cost."""

from decimal import Decimal

from factories import NOW, a_price, a_rate

from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.serializers import cost_document, cost_line_from
from webapp.domain.pricing.usage import Usage

PRICE = a_price(
    a_rate("second", "0.017", 60),
    a_rate("input", "2"),
    a_rate("input", "4", above=200_000),
    a_rate("image", "0.001", 1),
    minimum=Decimal("0.01"),
)


def test_a_stored_line_is_equal_to_the_calculated_one():
    cost = cost_of(PRICE, Usage(input=300_000, cache_read=1_000, second="50.5", image=1), at=NOW)
    assert tuple(map(cost_line_from, cost_document(cost)["lines"])) == cost.lines
    assert [(line.meter, line.rounded, line.is_minimum) for line in cost.lines] == [
        ("input", False, False),
        ("cache_read", False, True),
        ("image", False, True),
        ("second", True, False),
    ]


def test_a_line_from_before_lines_named_their_rate_is_billed_as_its_meter():
    line = cost_line_from({"meter": "input", "quantity": 10, "amount": "2", "per": 1_000_000, "cost": "0.00002"})
    assert (line.billed_as, line.is_minimum) == ("input", False)
