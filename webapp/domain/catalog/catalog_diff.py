"""How a catalogue differs from the registry: added, changed and gone models, field by field, per meter and tier, with what to look at.

Pure: nothing is decided here. Equal prices give no difference, so comparing the same catalogue twice after it was applied gives none.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.pricing.meters import conditions_of, label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.shared import money_text

ADDED, CHANGED, GONE = KINDS = ("added", "changed", "gone")
# Why a row should be looked at twice.
GUARDS: Mapping[str, str] = {
    "pinned": "Entered by hand: a sync never replaces it",
    "thousand": "1,000 times more or less: is the unit right?",
    "zero": "To or from zero",
    "rise": "Rises by more than the limit",
    "fall": "Falls by more than the limit",
    "lost": "The source no longer knows a price",
    "disagree": "A second source says something else",
    "mass": "One of unusually many of its kind",
}
THOUSAND = 1_000
MASS_LEAST = 5  # Below that nobody loses the overview.
SAME_WITHIN = Decimal("0.000001")
SECOND_OPINION_WITHIN = Decimal("0.01")
# What is taken over besides the price. Names, capabilities and types are the staff's: a catalogue never renames anything.
FIELDS = ("context_window", "max_output_tokens", "deprecated_on", "retires_on")


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on something is marked: a rate that moves by more than `percent`, a share of models above `mass` percent."""

    percent: int = 50
    mass: int = 10


class Line(NamedTuple):
    """One field before and after, in words; `percent` is signed, `guard` why to look twice, `other` what a second source says."""

    field: str
    before: str | None
    after: str | None
    percent: str | None = None
    guard: str | None = None
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One model that differs. `price` says whether the price does, and `fields` which other fields take which value."""

    kind: str
    ref: str
    lines: tuple[Line, ...] = ()
    price: bool = False
    fields: Mapping[str, object] = field(default_factory=dict)
    guards: tuple[str, ...] = ()

    @property
    def choosable(self) -> bool:
        """Whether there is anything to take over: a pinned price alone is only reported."""
        return self.kind != CHANGED or self.price or bool(self.fields)


@dataclass(frozen=True, slots=True)
class Compared:
    """Both sides of a comparison. `known` are all names that lead to a model of the registry, `source` is what prices call this source."""

    registry: Mapping[str, ModelInfo]
    known: Container[str]
    offered: Mapping[str, ModelInfo]
    source: str
    at: datetime
    second: Mapping[str, ModelInfo] | None = None


def compare(sides: Compared, limits: Limits) -> list[Difference]:
    """Every model that differs, by ref. Models that the source has never priced are nobody's loss when it does not name them."""
    found = [*_added(sides), *_changed(sides, limits), *_gone(sides)]
    return sorted(_in_masses(found, sides, limits), key=lambda difference: difference.ref)


def _added(sides: Compared) -> Iterator[Difference]:
    for ref, model in sides.offered.items():
        if ref not in sides.registry and ref not in sides.known:
            price = model.price_at(sides.at)
            rates = price.rates if price else ()
            lines = [Line(_named(rate), None, _amount(rate, price), other=_second(sides, ref, rate)) for rate in rates if price]
            guards = _of(lines, sides, ref, price)
            yield Difference(ADDED, ref, tuple(lines or [Line("Price", None, price.state if price else "unknown")]), True, {}, guards)


def _changed(sides: Compared, limits: Limits) -> Iterator[Difference]:
    for ref, model in sides.registry.items():
        offered = sides.offered.get(ref)
        if offered is not None:
            difference = _difference(model, offered, sides, limits)
            if difference.lines:
                yield difference


def _difference(model: ModelInfo, offered: ModelInfo, sides: Compared, limits: Limits) -> Difference:
    ref = model.ref
    before, after = model.price_at(sides.at), offered.price_at(sides.at)
    lines = _price_lines(before, after, sides, ref, limits)
    pinned = bool(lines) and before is not None and before.source.kind == "manual"
    fields = {name: getattr(offered, name) for name in FIELDS if getattr(offered, name) not in (None, getattr(model, name))}
    said = [Line(name.replace("_", " ").capitalize(), _shown(getattr(model, name)), _shown(value)) for name, value in fields.items()]
    guards = ("pinned",) if pinned else _of(lines, sides, ref, after)
    return Difference(CHANGED, ref, (*lines, *said), bool(lines) and not pinned, fields, guards)


def _gone(sides: Compared) -> Iterator[Difference]:
    sellers = {model.provider for model in sides.offered.values()}
    for ref, model in sides.registry.items():
        price = model.price_at(sides.at)
        came_from_it = price is not None and price.source.name == sides.source and price.source.kind != "manual"
        if came_from_it and model.active and model.provider in sellers and ref not in sides.offered:
            yield Difference(GONE, ref, (Line("Model", "in the source before", None),))


# Prices.


def _price_lines(before: Price | None, after: Price | None, sides: Compared, ref: str, limits: Limits) -> list[Line]:
    """A source that says nothing about a price takes none away from us, unless the price came from it."""
    was, will = (before.state if before else "unknown"), (after.state if after else "unknown")
    if will == "unknown":
        came_from_it = before is not None and before.source.name == sides.source
        return [Line("Price", was, will, guard="lost")] if was != will and came_from_it else []
    if was != will:
        guard = "zero" if "unknown" not in (was, will) else None
        rates = [Line(_named(rate), None, _amount(rate, after), other=_second(sides, ref, rate)) for rate in (after.rates if after else ())]
        return [Line("Price", was, will, guard=guard), *rates]
    old, new = _by_place(before), _by_place(after)
    currency = [Line("Currency", before.currency, after.currency)] if before and after and before.currency != after.currency else []
    places = dict.fromkeys([*new, *old])
    pairs = ((old.get(place), new.get(place)) for place in places)
    lines = (_rate_line(pair, (before, after), _second(sides, ref, pair[1]), limits) for pair in pairs)
    return currency + [line for line in lines if line]


Pair = tuple[Rate | None, Rate | None]
Prices = tuple[Price | None, Price | None]


def _rate_line(pair: Pair, prices: Prices, other: str | None, limits: Limits) -> Line | None:
    old, new = pair
    if old and new and _equal(old.unit, new.unit):
        return None
    percent, guard = _moved(old.unit, new.unit, limits) if old and new else (None, None)
    before, after = prices
    either = new or old
    return either and Line(_named(either), _amount(old, before), _amount(new, after), percent, guard, other)


def _moved(old: Decimal, new: Decimal, limits: Limits) -> tuple[str | None, str | None]:
    """By how many percent, and whether that is much."""
    if not old or not new:
        return None, "zero"
    factor = money_text.times(max(old, new), min(old, new))
    percent = (money_text.times(new, old) - 1) * 100
    said = f"{'+' if percent > 0 else '−'}{abs(percent):,.1f} %"
    if factor >= THOUSAND:
        return said, "thousand"
    if abs(percent) > limits.percent:
        return said, "rise" if percent > 0 else "fall"
    return said, None


def _equal(old: Decimal, new: Decimal) -> bool:
    return abs(old - new) <= SAME_WITHIN * max(old, new)


def _second(sides: Compared, ref: str, rate: Rate | None) -> str | None:
    """What the second source says about this rate, if it says something else."""
    model = sides.second.get(ref) if sides.second else None
    price = model.price_at(sides.at) if model else None
    other = _by_place(price).get(_place(rate)) if price and rate else None
    if rate is None or other is None or abs(other.unit - rate.unit) <= SECOND_OPINION_WITHIN * max(other.unit, rate.unit):
        return None
    return _amount(other, price)


def _of(lines: Iterable[Line], sides: Compared, ref: str, price: Price | None) -> tuple[str, ...]:
    found = {line.guard for line in lines if line.guard}
    if any(line.other for line in lines):
        found.add("disagree")
    return tuple(guard for guard in GUARDS if guard in found)


def _in_masses(found: list[Difference], sides: Compared, limits: Limits) -> Iterator[Difference]:
    """Marks changed and gone models that are too many of the shared ones: a source that lost its half is broken, not cheaper."""
    shared = sum(ref in sides.registry for ref in sides.offered) + sum(one.kind == GONE for one in found)
    counts = {kind: sum(one.kind == kind for one in found) for kind in (CHANGED, GONE)}
    crowds = {kind for kind, count in counts.items() if count >= MASS_LEAST and count * 100 > limits.mass * shared}
    for one in found:
        if one.kind in crowds:
            yield Difference(one.kind, one.ref, one.lines, one.price, one.fields, (*one.guards, "mass"))
        else:
            yield one


def _by_place(price: Price | None) -> dict[tuple[object, ...], Rate]:
    return {_place(rate): rate for rate in price.rates} if price else {}


def _place(rate: Rate) -> tuple[object, ...]:
    return rate[:1] + rate[3:]


def _named(rate: Rate) -> str:
    return ", ".join([label_of(rate.meter), *conditions_of(rate)])


def _amount(rate: Rate | None, price: Price | None) -> str | None:
    if rate is None:
        return None
    return f"{money_text.amount(rate.amount, price.currency if price else 'USD')} per {unit_of(rate.meter, rate.per)}"


def _shown(value: object) -> str | None:
    return None if value is None else f"{value:,}" if isinstance(value, int) else str(value)
