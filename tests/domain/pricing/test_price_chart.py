"""Tests of the price chart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from factories import NOW, a_price, a_rate

from webapp.domain.pricing.price_chart import build_chart
from webapp.domain.pricing.pricing import timeline
from webapp.domain.shared.timestamps import EPOCH


def steps(*amounts, meter="input", **more):
    starts = (EPOCH, NOW - timedelta(days=60), NOW + timedelta(days=30))
    prices = [
        a_price(a_rate(meter, amount), effective_from=at, id=index, **more)
        for index, (amount, at) in enumerate(zip(amounts, starts, strict=False))
    ]
    return timeline(prices)


def test_a_price_goes_right_until_it_changes_and_then_up_or_down():
    chart = build_chart(steps("1", "2", "4"), NOW)
    (line,) = chart.lines
    assert len(line.pieces) == 1
    xs = [int(point.split(",")[0]) for point in line.pieces[0].split()]
    ys = [int(point.split(",")[1]) for point in line.pieces[0].split()]
    assert xs == sorted(xs)
    assert ys == [150, 150, 100, 100, 0, 0]
    assert (chart.top, chart.unit, len(chart.marks)) == (4, "1M tokens", 2)
    assert chart.marks[0].x < chart.now < chart.marks[1].x


def test_where_there_is_no_rate_the_line_is_broken():
    history = list(steps("1", "2", "4"))
    history[1] = replace(history[1], state="unknown", rates=())
    (line,) = build_chart(timeline(history), NOW).lines
    assert len(line.pieces) == 2


def test_there_is_nothing_to_see_with_one_price_several_currencies_or_only_zero():
    assert build_chart(steps("1"), NOW) is None
    first, second = steps("1", "2")
    assert build_chart(timeline([first, replace(second, currency="EUR")]), NOW) is None
    assert build_chart(steps("0", "0"), NOW) is None
    assert build_chart((), NOW) is None


def test_what_has_another_unit_stands_in_no_chart_of_tokens():
    history = [a_price(a_rate("input", "1"), a_rate("image", "5", 1), effective_from=at, id=1) for at in (EPOCH, NOW)]
    assert [line.meter for line in build_chart(timeline(history), NOW).lines] == ["input"]


def test_a_price_from_beyond_the_calendar_that_matters_is_drawn_at_the_edge_and_is_no_error():
    """Earlier versions accepted such rows, and prices are never removed."""
    late = [a_price(a_rate("input", "1"), effective_from=at, id=index) for index, at in enumerate((NOW, datetime.max.replace(tzinfo=UTC)))]
    chart = build_chart(timeline(late), NOW)
    assert max(mark.x for mark in chart.marks) <= 1_000
