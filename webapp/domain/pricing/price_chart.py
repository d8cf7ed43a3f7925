"""A model's price over time as steps in a box of 1000 by 200. The chart is approximate; the table next to it is exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from webapp.domain.pricing.meters import OUTPUT_METERS, label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.shared.money import EXACT
from webapp.domain.shared.timestamps import EPOCH, LAST_DAY, start_of_day

WIDTH, HEIGHT = 1000, 200
LATEST_TIME = start_of_day(LAST_DAY)
MARGIN = timedelta(days=30)  # The time shown before the first and after the last change.
CHARTED_METERS = ("input", *OUTPUT_METERS)
MAX_LINES = 3
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One meter. `pieces` are the points of polylines, with a gap where there is no rate."""

    meter: str
    label: str
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChartMark:
    """A time on the axis, at `x`."""

    x: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Chart:
    """A price chart. `top` is the amount at the upper edge, per million tokens or per unit; `now` is the x of today."""

    lines: tuple[ChartLine, ...]
    marks: tuple[ChartMark, ...]
    top: Decimal
    currency: str
    unit: str
    now: int


def build_chart(history: Sequence[Price], now: datetime) -> Chart | None:
    """Return a chart of `history`, a timeline.

    Returns None if there are fewer than two prices, several currencies or no rate.
    """
    priced = [price for price in history if price.state == "priced"]
    dated = [price.effective_from for price in history if price.effective_from > EPOCH]
    if len(history) < 2 or not dated or len({price.currency for price in priced}) != 1:
        return None
    begin, end = min([*dated, now]) - MARGIN, min(max([*dated, now]), LATEST_TIME) + MARGIN
    steps = {meter: _steps(history, meter) for meter in CHARTED_METERS}
    meters = [meter for meter in CHARTED_METERS if any(amount is not None for _, amount in steps[meter])][:MAX_LINES]
    unit = unit_of(meters[0], 1) if meters else ""
    meters = [meter for meter in meters if unit_of(meter, 1) == unit]
    top = max((amount for meter in meters for _, amount in steps[meter] if amount is not None), default=Decimal(0))
    if not top:
        return None

    def x(at: datetime) -> int:
        return round(WIDTH * ((min(max(at, begin), end) - begin) / (end - begin)))

    lines = tuple(ChartLine(meter, label_of(meter), _polylines([(x(at), amount) for at, amount in steps[meter]], top)) for meter in meters)
    marks = tuple(ChartMark(x(at), at) for at in dict.fromkeys(dated))
    return Chart(lines, marks, top, priced[0].currency, "1M tokens" if unit == "token" else unit, x(now))


def _steps(history: Sequence[Price], meter: str) -> list[tuple[datetime, Decimal | None]]:
    return [(price.effective_from, _charted_amount(_base_rate(price, meter))) for price in history]


def _base_rate(price: Price, meter: str) -> Rate | None:
    """Return the rate without conditions."""
    candidates = (rate for rate in price.rates if rate.meter == meter and rate.is_plain and rate.service_tier == STANDARD)
    return next(candidates, None)


def _charted_amount(rate: Rate | None) -> Decimal | None:
    if rate is None:
        return None
    return EXACT.multiply(rate.unit, MILLION) if unit_of(rate.meter, 1) == "token" else rate.unit


def _polylines(steps: Sequence[tuple[int, Decimal | None]], top: Decimal) -> tuple[str, ...]:
    """Return polylines that run horizontally until the price changes, then vertically."""
    pieces: list[list[str]] = []
    ends = [x for x, _ in steps[1:]] + [WIDTH]
    broken = True
    for (begin, amount), end in zip(steps, ends, strict=True):
        if amount is None:
            broken = True
            continue
        y = HEIGHT - round(HEIGHT * float(amount / top))
        if broken:
            pieces.append([])
        pieces[-1] += [f"{begin},{y}", f"{end},{y}"]
        broken = False
    return tuple(" ".join(points) for points in pieces)
