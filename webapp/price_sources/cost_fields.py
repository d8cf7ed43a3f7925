"""Accounting of a record's cost fields: each non-zero field becomes part of a rate, or is named in the price's note with the reason."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations
from typing import Any, NamedTuple

from webapp.domain.pricing.meters import TOKEN_METERS
from webapp.domain.pricing.pricing import Conditions
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.shared.money import EXACT, format_decimal, parse_amount

MILLION = 1_000_000
MAX_AMOUNT = 10**15  # No real price is higher, and the exact arithmetic rejects larger numbers.
MAX_NOTE = 1_800  # A stored note has at most 2,000 characters.
# Catalogs are written from floats: an amount this close to a short decimal is that decimal.
NOISE = Decimal("1e-12")
SHORT_DIGITS = 10
SHORT_DECIMAL = Decimal(1).scaleb(-SHORT_DIGITS)
ZERO_NOTE = "The source says 0, which may mean free or unknown."
LESS_EXACT = "another field states the rate more exactly"
NO_TOKENS = "there is no rate of tokens to multiply"
INDISTINGUISHABLE = "no meter tells it apart from a field with another amount"

Rate = dict[str, Any]


class FieldRate(NamedTuple):
    """The rate that a field states: `factor` times its amount, per `per` units of the meter.

    If fields state different amounts of one rate, the lowest `rank` is read. The field is not read if the record has a non-zero field
    that begins with one of `unless`, which states the same usage in another unit, or if `modes` are named and the record has another one.
    """

    meter: str
    factor: int
    per: int
    rank: int = 0
    unless: tuple[str, ...] = ()
    modes: frozenset[str] = frozenset()


# A field maps to its rate, or to the reason for which it is not read.
FieldTable = Mapping[str, FieldRate | str]


def meters_of(table: FieldTable) -> frozenset[str]:
    """Return the meters whose rates the fields state."""
    return frozenset(rate.meter for rate in table.values() if isinstance(rate, FieldRate))


class RateTerms(NamedTuple):
    """The terms of a rate: a minimum number of input tokens, a service tier, hours, and attributes of the call."""

    above: int | None = None
    service_tier: str = STANDARD
    window: tuple[tuple[str, Any], ...] | None = None
    when: Conditions = ()


class Candidate(NamedTuple):
    """An amount per `per` units that a field states for a rate."""

    field: str
    amount: str
    per: int
    rank: int


class Media(NamedTuple):
    """The media besides text that a model takes and gives."""

    inputs: Set[str] = frozenset()
    outputs: Set[str] = frozenset()


class Factor(NamedTuple):
    """A factor on every rate of tokens for calls with these attributes."""

    field: str
    value: Decimal
    when: Conditions


@dataclass
class ReadLog:
    """Every problem of a file with its record, the number of records left out, and of non-zero cost fields in rates and in notes."""

    problems: list[str] = field(default_factory=list)
    records_left_out: int = 0
    fields_read: int = 0
    fields_noted: int = 0

    def leave_out(self, problem: str, records: int = 1) -> None:
        """Report records that are left out as a whole."""
        self.problems.append(problem)
        self.records_left_out += records


class RecordRates:
    """The rates of one record, and the fields that they leave out."""

    def __init__(self, name: str, log: ReadLog) -> None:
        self._name = name
        self._log = log
        self._candidates: dict[tuple[str, RateTerms], list[Candidate]] = {}
        self._factors: list[Factor] = []
        self._unread: dict[str, str] = {}
        self._read: set[str] = set()

    def add(self, location: str, amount: object, rate: FieldRate, terms: RateTerms) -> None:
        """Add an amount. An amount that no price can hold is a problem, and is noted."""
        if amount is None:
            return
        text, per = None, rate.per
        if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or not 0 <= amount < MAX_AMOUNT:
            reason = "no amount"
        else:
            reason = "an amount with more digits than a price can have"
            text, per = amount_of(Decimal(amount), rate)
        if text is None:
            self._log.problems.append(f"{self._name}: {location} is not read, because {str(amount)[:40]} is {reason}")
            self._unread[location] = reason
            return
        self._candidates.setdefault((rate.meter, terms), []).append(Candidate(location, text, per, rate.rank))

    def add_factor(self, location: str, factor: object, when: Conditions) -> None:
        """Add a factor on the rates of tokens. A value that is no factor is noted."""
        if isinstance(factor, bool) or not isinstance(factor, int | Decimal) or not 0 < factor < MAX_AMOUNT:
            self.leave_out(location, factor, "no factor")
        else:
            self._factors.append(Factor(location, Decimal(factor), when))

    def leave_out(self, location: str, value: object, reason: str) -> None:
        """Note a field that is not read, unless it is zero."""
        if not is_zero(value):
            self._unread[location] = reason

    def price(self, name: str, url: str | None, media: Media, *, is_free: bool = False) -> dict[str, Any]:
        """Return the price document. The price is unknown if all rates are zero, because these sources write 0 for unknown rates.

        `is_free` says that the name of the model marks it as free.
        """
        stated = [rate for (meter, terms), candidates in self._candidates.items() if (rate := self._choose(meter, terms, candidates))]
        has_price = any(rate["amount"] != "0" for rate in stated)
        rates = self._with_factors(stated if has_price else [])
        self._log.fields_read += len(self._read - self._unread.keys())
        self._log.fields_noted += len(self._unread)
        free = bool(stated) and not has_price and is_free
        notes = [ZERO_NOTE] if stated and not has_price and not free else []
        return {
            "state": "priced" if has_price else "free" if free else "unknown",
            "effective_from": "1970-01-01T00:00:00Z",
            "currency": "USD",
            "rates": rates,
            "media_at_text_rate": media_at_text_rate(rates, media),
            "source": {"kind": "catalog", "name": name, "url": url, "verified_at": None},
            "note": " ".join([*notes, *_unread_note(self._unread)]),
        }

    def _choose(self, meter: str, terms: RateTerms, candidates: list[Candidate]) -> Rate | None:
        """Return the rate that the fields state. Zeros are ignored next to other amounts, and contradictions are left out."""
        nonzero = [candidate for candidate in candidates if candidate.amount != "0"]
        lowest = min(candidate.rank for candidate in nonzero or candidates)
        amounts = {(candidate.amount, candidate.per) for candidate in nonzero or candidates if candidate.rank == lowest}
        chosen = amounts.pop() if len(amounts) == 1 else None
        for candidate in nonzero:
            if (candidate.amount, candidate.per) == chosen:
                self._read.add(candidate.field)
            else:
                self._unread[candidate.field] = LESS_EXACT if candidate.rank > lowest else INDISTINGUISHABLE
        return _rate(meter, *chosen, terms) if chosen else None

    def _with_factors(self, rates: list[Rate]) -> list[Rate]:
        """Return the rates, and those of tokens again for each combination of the factors."""
        of_tokens = [rate for rate in rates if rate["meter"] in TOKEN_METERS and rate["amount"] != "0"]
        for factor in self._factors:
            if of_tokens:
                self._read.add(factor.field)
            else:
                self._unread[factor.field] = NO_TOKENS
        sizes = range(1, len(self._factors) + 1)
        combined = (factors for size in sizes for factors in combinations(self._factors, size) if _can_apply_together(factors))
        return [*rates, *(self._multiply(rate, factors) for factors in combined for rate in of_tokens)]

    def _multiply(self, rate: Rate, factors: Sequence[Factor]) -> Rate:
        amount = Decimal(rate["amount"])
        for factor in factors:
            amount = EXACT.multiply(amount, factor.value)
        conditions = dict(condition for factor in factors for condition in factor.when)
        return rate | {"amount": format_decimal(amount), "when": dict(sorted(((rate["when"] or {}) | conditions).items()))}


def _can_apply_together(factors: Sequence[Factor]) -> bool:
    names = [name for factor in factors for name, _ in factor.when]
    return len(names) == len(set(names))


def _rate(meter: str, amount: str, per: int, terms: RateTerms) -> Rate:
    return {
        "meter": meter,
        "amount": amount,
        "per": per,
        "above": terms.above,
        "service_tier": terms.service_tier,
        "window": dict(terms.window) if terms.window else None,
        "when": dict(terms.when) or None,
    }


def media_at_text_rate(rates: Sequence[Rate], media: Media) -> bool:
    """Return whether the source prices a medium of the input like text.

    This is so if text has a rate, the model takes a medium that has none, and every medium of the output has one.
    """
    meters = {rate["meter"] for rate in rates}
    has_unpriced_input = any(f"input_{medium}" not in meters for medium in media.inputs)
    return "input" in meters and has_unpriced_input and all(f"output_{medium}" in meters for medium in media.outputs)


def amount_of(amount: Decimal, rate: FieldRate) -> tuple[str | None, int]:
    """Return the amount of the rate and its quantity. A price per second that is no short decimal can be one per minute or per hour."""
    for per in (60, 3_600) if rate.meter == "second" and rate.per == 1 and not _is_short(scaled_amount(amount, rate.factor)) else ():
        if _is_short(text := scaled_amount(amount, rate.factor * per)):
            return text, per
    return scaled_amount(amount, rate.factor), rate.per


def _is_short(text: str | None) -> bool:
    return text is not None and len(text.partition(".")[2]) <= SHORT_DIGITS


def scaled_amount(amount: Decimal, factor: int) -> str | None:
    """Return `amount * factor` without the noise of floats, or None if a price cannot have so many digits. Noise is never read as 0."""
    exact = EXACT.multiply(amount, Decimal(factor))
    short = exact.quantize(SHORT_DECIMAL, context=_QUANTIZE)
    if short and abs(exact - short) < NOISE:
        exact = short
    text = format_decimal(exact) if exact else "0"
    return text if parse_amount(text) is not None else None


_QUANTIZE = EXACT.copy()
_QUANTIZE.clear_traps()


def is_zero(value: object) -> bool:
    return value is None or value is False or value in (0, "") or (isinstance(value, list | dict) and not value)


def cost_leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the path and value of everything inside `value` whose path names a cost, a price or a multiplier."""
    rest = [(path, value)]
    while rest:
        location, child = rest.pop()
        if isinstance(child, dict):
            rest += [(f"{location}.{key}" if location else key, nested) for key, nested in reversed(child.items())]
        elif isinstance(child, list):
            rest += [(f"{location}[]", nested) for nested in reversed(child)]
        elif any(word in location.lower() for word in ("cost", "price", "multiplier")):
            yield location, child


def _unread_note(unread: Mapping[str, str]) -> list[str]:
    """Return the sentence that names the fields, grouped by reason. Fields that do not fit into a note are counted."""
    by_reason: dict[str, list[str]] = {}
    for location, reason in unread.items():
        by_reason.setdefault(reason, []).append(location)
    parts, left = [], MAX_NOTE
    rest = 0
    for reason, locations in by_reason.items():
        part = f"{', '.join(locations)} ({reason})"
        if len(part) <= left:
            parts.append(part)
            left -= len(part) + 2
        else:
            rest += len(locations)
    more = [f"{rest:,} more field{'s' if rest != 1 else ''}"] if rest else []
    return [f"Not read: {'; '.join([*parts, *more])}."] if unread else []
