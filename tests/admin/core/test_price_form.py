"""A price survives the way into the form and back, whatever its rates are."""

from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction

import pytest
from factories import a_price, a_rate
from hypothesis import given
from hypothesis import strategies as st

from webapp.admin.core import price_form
from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.windows import Window
from webapp.domain.shared.money import format_decimal

NOW = datetime(2026, 12, 1, tzinfo=UTC)
NIGHT = Window((5, 6), time(16, 30), time(0, 30), "Asia/Shanghai")
PLAIN = [a_rate(meter, "0.5", per) for meter in METERS for per in (1, 60, 3_600, 1_000_000)]
CONDITIONAL = [
    a_rate(above=200_000),
    a_rate(service_tier="fast"),
    a_rate(window=NIGHT),
    a_rate("image", per=1, when=(("quality", "high"), ("size", "1024x1024"))),
]
AMOUNTS = st.integers(0, 10**27 - 1).map(lambda digits: format_decimal(Decimal(digits).scaleb(-18)))


def after_form(price):
    form = price_form.prefill_form(price)
    return price_form.as_price(price_form.build_entry(form, NOW).validate(form))


def billed(price):
    """Return what each rate charges for one unit, exactly, with its conditions."""
    return sorted((repr(rate[:1] + rate[3:]), Fraction(rate.exact_unit)) for rate in price.rates)


@pytest.mark.parametrize("rate", [*PLAIN, *CONDITIONAL, a_rate(per=3), a_rate("output", "0.1", 7), a_rate("gb_day", per=30)])
def test_a_rate_charges_the_same_after_the_form(rate):
    price = a_price(rate)
    assert billed(after_form(price)) == billed(price)


@given(amount=AMOUNTS, per=st.integers(1, 10**9), meter=st.sampled_from(METERS))
def test_any_amount_and_quantity_charge_the_same_after_the_form(amount, per, meter):
    price = a_price(a_rate(meter, amount, per))
    assert billed(after_form(price)) == billed(price)


def test_all_rates_and_fields_of_a_price_stay():
    rates = [a_rate(meter, str(number + 1)) for number, meter in enumerate(METERS)] + CONDITIONAL
    price = a_price(*rates, currency="EUR", media_at_text_rate=True, minimum=Decimal("0.01"), surcharge_percent=Decimal("5.5"))
    again = after_form(price)
    assert billed(again) == billed(price)
    assert (again.currency, again.media_at_text_rate, again.minimum, again.surcharge_percent) == (
        "EUR",
        True,
        Decimal("0.01"),
        Decimal("5.5"),
    )


def test_a_price_with_the_largest_number_of_rates_stays():
    price = a_price(*(a_rate("image", "1", 1, when=(("size", f"{number}"),)) for number in range(200)))
    assert billed(after_form(price)) == billed(price)


def test_media_are_not_billed_at_the_text_rate_unless_the_price_says_so():
    assert "media_at_text_rate" not in price_form.prefill_form(None).values
    assert after_form(a_price()).media_at_text_rate is False
