"""Schemas of the input for rates and for the attributes of a call (design: pricing.md, section 3)."""

import re
from collections.abc import Container, Mapping
from datetime import time
from functools import cache
from itertools import combinations, product
from zoneinfo import available_timezones

from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.pricing import Conditions, Rate
from webapp.domain.pricing.service_tiers import STANDARD, parse_service_tier
from webapp.domain.pricing.usage import MAX_QUANTITY
from webapp.domain.pricing.windows import Window
from webapp.domain.shared import validators as checks
from webapp.domain.shared.errors import Invalid, combine_errors
from webapp.domain.shared.validators import Check, nested

MAX_RATES = 200
MAX_PER = 10**9
MAX_ATTRIBUTES = 5
ATTRIBUTE_NAME = re.compile(r"[a-z_]{1,40}", re.ASCII)
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
MIDNIGHT = time()

Scope = tuple[str, str, int | None, Window | None, Conditions]  # Meter, service tier, threshold, hours and conditions.

_attribute_value = checks.line(60, 1)


def validate_rates(value: object, field: str) -> tuple[Rate, ...]:
    """Return rates from a list of objects. For every call, at most one rate of a meter and service tier may be the most specific."""
    if not isinstance(value, list) or len(value) > MAX_RATES:
        raise Invalid.field(field, f"must be a list of at most {MAX_RATES} rates")
    rates: dict[int, Rate] = {}
    errors: list[Invalid] = []
    for index, item in enumerate(value):
        try:
            rates[index] = validate_rate(item, f"{field}[{index}]")
        except Invalid as error:
            errors.append(error)
    errors += [Invalid.field(f"{field}[{index}]", message) for index, message in _conflicts(rates).items()]
    if errors:
        raise combine_errors(errors)
    return tuple(rates.values())


def validate_rate(value: object, field: str) -> Rate:
    """Return one rate. `above`, `service_tier`, `window` and `when` are optional."""
    clean = nested(value, field, RATE_CHECKS, ("meter", "amount", "per"))
    return Rate(
        clean["meter"],
        clean["amount"],
        clean["per"],
        clean.get("above"),
        clean.get("service_tier") or STANDARD,
        clean.get("window"),
        clean.get("when") or (),
    )


def validate_attributes(value: object, field: str) -> dict[str, str]:
    """Return the attributes of a call, or the conditions of a rate: up to five names with their values."""
    if not isinstance(value, dict) or len(value) > MAX_ATTRIBUTES:
        raise Invalid.field(field, f"must be an object with at most {MAX_ATTRIBUTES} names")
    for name in value:
        if ATTRIBUTE_NAME.fullmatch(name) is None:
            raise Invalid.field(f"{field}.{name[:60]}", "is no attribute name: use 1 to 40 lower-case letters and underscores")
    return {name: _attribute_value(text, f"{field}.{name}") for name, text in value.items()}


def _conflicts(rates: Mapping[int, Rate]) -> dict[int, str]:
    """Return a message for each rate, by index, that conflicts with an earlier one: neither is more specific for the same call."""
    groups: dict[tuple[object, ...], list[tuple[int, Rate]]] = {}
    for index, rate in rates.items():
        key = (rate.meter, rate.service_tier, rate.above, len(rate.when), rate.window is None)
        groups.setdefault(key, []).append((index, rate))
    pairs = ((index, left, right) for group in groups.values() for (_, left), (index, right) in combinations(group, 2))
    scopes = {(rate.meter, rate.service_tier, rate.above, rate.window, rate.when) for rate in rates.values()}
    return {index: message for index, left, right in pairs if (message := _conflict(left, right, scopes))}


def _never_apply_together(left: Rate, right: Rate) -> bool:
    return left.window is not None and right.window is not None and not left.window.overlaps(right.window)


def _has_more_specific(scopes: Container[Scope], left: Rate, right: Rate) -> bool:
    """Return whether a rate with the conditions of both applies whenever both do: then neither of the two decides."""
    conditions = tuple(sorted({*left.when, *right.when}))
    thresholds, windows = {None, left.above}, {None, left.window, right.window}
    return any((left.meter, left.service_tier, *reach, conditions) in scopes for reach in product(thresholds, windows))


def _conflict(left: Rate, right: Rate, scopes: Container[Scope]) -> str | None:
    """Return why two rates of the same meter, service tier, threshold and number of conditions cannot stand side by side, or None."""
    conditions = dict(left.when)
    if any(conditions.get(name, value) != value for name, value in right.when):
        return None
    if left.when != right.when:
        if _never_apply_together(left, right) or _has_more_specific(scopes, left, right):
            return None
        names = " and ".join(", ".join(f"{name}={value}" for name, value in rate.when) for rate in (left, right))
        return f"gives {left.meter} for {names}: a call that meets both would have two rates; add a rate that has all of these conditions"
    if left.window == right.window:
        return f"gives {left.meter} twice for the same conditions"
    if left.window and right.window and left.window.overlaps(right.window) and left.exact_unit != right.exact_unit:
        return f"gives {left.meter} two windows that overlap: at some hours, two rates would apply"
    return None


def _validate_conditions(value: object, field: str) -> Conditions:
    return tuple(sorted(validate_attributes(value, field).items()))


def _validate_window(value: object, field: str) -> Window:
    clean = nested(value, field, WINDOW_CHECKS, ("from", "to"))
    start, end = clean["from"], clean["to"]
    if start == end:
        start = end = MIDNIGHT
    zone = clean.get("tz")
    return Window(tuple(sorted(set(clean.get("days", ())))), start, end, None if zone == "UTC" else zone)


def _validate_time_of_day(value: object, field: str) -> time:
    if isinstance(value, str) and TIME_OF_DAY.fullmatch(value):
        return time.fromisoformat(value)
    raise Invalid.field(field, "must be a time of day such as 16:30")


def _validate_end(value: object, field: str) -> time:
    return MIDNIGHT if value == "24:00" else _validate_time_of_day(value, field)


def _validate_zone(value: object, field: str) -> str:
    if not isinstance(value, str) or value not in _portable_zones():
        raise Invalid.field(field, "must be an IANA time zone such as Asia/Shanghai")
    return value


@cache
def _portable_zones() -> frozenset[str]:
    """Return the zones that have the same name and hours on every host. `localtime` is the zone of the host itself."""
    return frozenset(available_timezones() - {"localtime"})


WINDOW_CHECKS: Mapping[str, Check] = {
    "days": checks.list_of(checks.integer(0, 6), 7),
    "from": _validate_time_of_day,
    "to": _validate_end,
    "tz": checks.optional(_validate_zone),
}
RATE_CHECKS: Mapping[str, Check] = {
    "meter": checks.choice(METERS),
    "amount": checks.amount,
    "per": checks.integer(1, MAX_PER),
    "above": checks.optional(checks.integer(0, MAX_QUANTITY)),
    "service_tier": parse_service_tier,
    "window": checks.optional(_validate_window),
    "when": checks.optional(_validate_conditions),
}
