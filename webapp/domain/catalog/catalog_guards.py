"""Guards of a catalog comparison: the reasons why a row needs a review, and the limits that trigger them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.shared import money_text


class Guard(NamedTuple):
    """A reason for a review. "Select all" leaves out a row with a `held` guard: someone must select it on its own."""

    label: str
    held: bool = False


GUARDS: Mapping[str, Guard] = {
    "pinned": Guard("Entered by hand: a sync never replaces it"),
    "removed": Guard("A rate disappears", held=True),
    "lost": Guard("The source no longer knows a price", held=True),
    "thousand": Guard("1,000 times more or less: is the unit right?", held=True),
    "large": Guard("A rate moves by more than 3 times", held=True),
    "zero": Guard("To or from zero", held=True),
    "history": Guard("The source changed a past price: the stored one stays", held=True),
    "alias": Guard("The source moved an alias: the stored one stays", held=True),
    "names": Guard("A name in use gets another meaning", held=True),
    "rise": Guard("Rises by more than the limit"),
    "fall": Guard("Falls by more than the limit"),
    "disagree": Guard("A second source states another amount"),
    "mass": Guard("One of unusually many changes"),
    "shrink": Guard("The source has unusually few records"),
}
HELD_GUARDS = tuple(name for name, guard in GUARDS.items() if guard.held)
UNIT_ERROR_FACTOR = 1_000
LARGE_FACTOR = 3
MIN_MASS_CHANGES = 5  # Fewer changes are easy to review one by one.
RATE_TOLERANCE = Decimal("0.000001")
SECOND_SOURCE_TOLERANCE = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Limits in percent: the move of a rate, the share of changed models, and the share of records that a source lost."""

    percent: int = 50
    mass: int = 15
    shrink: int = 10


def sort_guards(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names once each, the most important first."""
    unique = set(names)
    return tuple(name for name in GUARDS if name in unique)


def is_same_rate(old: Decimal, new: Decimal, tolerance: Decimal = RATE_TOLERANCE) -> bool:
    return abs(old - new) <= tolerance * max(old, new)


def describe_move(old: Decimal, new: Decimal, limits: GuardLimits) -> tuple[str | None, tuple[str, ...]]:
    """Return the signed change in percent as text, and the guards that it triggers."""
    if not old or not new:
        return None, ("zero",)
    factor = money_text.quotient(max(old, new), min(old, new))
    percent = (money_text.quotient(new, old) - 1) * 100
    text = f"{'+' if percent > 0 else '−'}{abs(percent):,.1f}%"
    if factor >= UNIT_ERROR_FACTOR:
        return text, ("thousand",)
    guards = {"large": factor > LARGE_FACTOR, "rise" if percent > 0 else "fall": abs(percent) > limits.percent}
    return text, tuple(name for name, applies in guards.items() if applies)


def exceeds(part: int, whole: int, percent: int) -> bool:
    """Return whether `part` is more than `percent` of `whole`, and enough to be unusual."""
    return part >= MIN_MASS_CHANGES and part * 100 > percent * whole
