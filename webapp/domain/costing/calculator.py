"""The price calculator without its page: parses a query string and prices the request for each model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlencode

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.rate_schemas import MAX_ATTRIBUTES, validate_attributes
from webapp.domain.catalog.resolution import MAX_REF, resolve
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.pricing.cost_gaps import CostGaps, gaps_of
from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.meters import FRACTIONAL_METERS, MEDIA, METERS, label_of
from webapp.domain.pricing.pricing import Price
from webapp.domain.pricing.service_tiers import STANDARD, parse_service_tier
from webapp.domain.pricing.spend import known_amount
from webapp.domain.pricing.usage import MAX_QUANTITY, Usage
from webapp.domain.shared.errors import AmbiguousModel, Invalid, UnknownModel
from webapp.domain.shared.money import EXACT, ZERO
from webapp.domain.shared.timestamps import DAY, format_timestamp, parse_day, parse_timestamp, start_of_day

MAX_MODELS = 8
MAX_CALLS = 10**9
MAX_INPUT_LENGTH = 40
MAX_ATTRIBUTE_LENGTH = 120
# Separators must form groups of three digits, so that `1,5` does not become fifteen.
NUMBER = re.compile(r"[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,5}|[0-9]{1,3}(?: [0-9]{3}){1,5}", re.ASCII)
FRACTION = re.compile(r"[0-9]{1,12}\.[0-9]{1,3}", re.ASCII)
NO_USAGE = Usage()
# The approximate usage of one call, for each meter that is billed on its own.
TYPICAL_CALL: Mapping[str, int] = {
    "input": 1_000,
    "output": 500,
    "image": 1,
    "request": 1,
    "second": 60,
    "character": 1_000,
    "page": 1,
    "pixel": 1_024 * 1_024,
    "session": 1,
}
# Of a model without a rate for text, all tokens are of one medium that has a rate.
WHOLES: Mapping[str, str] = {f"{whole}_{medium}": whole for whole in ("input", "output") for medium in reversed(MEDIA)}
DEFAULT_METERS = frozenset({"input", "output"})

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class CalculatorRequest:
    """A calculator request. `typed` and `typed_attributes` hold the texts as entered, and `errors` the messages by field."""

    refs: tuple[str, ...] = ()
    usage: Usage = NO_USAGE
    service_tier: str = STANDARD
    attributes: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None
    calls: int = 1
    typed: Mapping[str, str] = field(default_factory=dict)
    typed_attributes: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)

    def query(self) -> str:
        """Return the shortest query string for the same request."""
        pairs = [("model", ref) for ref in self.refs]
        pairs += [(meter, str(quantity)) for meter, quantity in self.usage.document().items()]
        if self.service_tier != STANDARD:
            pairs.append(("service_tier", self.service_tier))
        pairs += [("when", f"{name}={value}") for name, value in self.attributes.items()]
        if self.calls != 1:
            pairs.append(("calls", str(self.calls)))
        if self.at is not None:
            pairs.append(("at", format_timestamp(self.at)))
        return urlencode(pairs, safe="/:")


@dataclass(frozen=True, slots=True)
class Quote:
    """The cost of one model. `share` is the percentage of the highest total; `total` is None if it is unknown."""

    model: ModelInfo
    price: Price | None
    cost: Cost
    total: Decimal | None
    gaps: CostGaps
    cheapest: bool = False
    share: int | None = None

    def total_for(self, calls: int) -> Decimal | None:
        return None if self.total is None else EXACT.multiply(self.total, calls)


@dataclass(frozen=True, slots=True)
class CalculatorResult:
    """The quotes, cheapest first and unknown last, and the errors for unresolved refs."""

    at: datetime
    quotes: tuple[Quote, ...]
    unresolved: tuple[UnknownModel | AmbiguousModel, ...]


def typical_usage(price: Price | None) -> Usage:
    """Return the usage of a typical call at this price: every meter that has a rate, or tokens if no meter has one.

    Output tokens and images are two ways to state what one call made, so a price with both rates gets no images.
    """
    billed = {rate.meter for rate in price.rates} if price else set()
    media = {whole: part for part, whole in WHOLES.items() if part in billed and whole not in billed}
    typical = (billed | media.keys()) & TYPICAL_CALL.keys() or DEFAULT_METERS
    if "output" in typical:
        typical = typical - {"image"}
    quantities = {meter: quantity for meter, quantity in TYPICAL_CALL.items() if meter in typical}
    return Usage.of(quantities | {part: quantities[whole] for whole, part in media.items()})


def condition_choices(price: Price | None) -> dict[str, tuple[str, ...]]:
    """Return the attributes that the rates of a price depend on: each name with its values, as in the price."""
    pairs = dict.fromkeys(pair for rate in price.rates for pair in rate.when) if price else {}
    return {name: tuple(value for key, value in pairs if key == name) for name, _ in pairs}


def parse_query(query: Query) -> CalculatorRequest:
    """Return the request in a query string. Never raises: invalid values are reported in `errors`, and the rest applies."""
    reader = QueryReader(query)
    usage = reader.usage()
    return CalculatorRequest(
        refs=reader.refs(),
        usage=usage,
        service_tier=reader.service_tier(),
        attributes=reader.attributes(),
        at=reader.timestamp(),
        calls=reader.number("calls", 1, MAX_CALLS),
        typed=reader.typed,
        typed_attributes=reader.typed_attributes,
        errors=reader.errors,
    )


def parse_attributes(texts: Iterable[str]) -> dict[str, str]:
    """Return the attributes of a call from texts such as `quality=high`. Raises `Invalid`."""
    attributes: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if attributes.setdefault(name.strip(), value.strip()) != value.strip():
            raise Invalid.field(f"when.{name.strip()[:60]}", "is given twice with different values")
    return validate_attributes(attributes, "when")


class QueryReader:
    """Parses numbers and times in a query string. Invalid values are reported in `errors`."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self.errors: dict[str, str] = {}
        self.typed: dict[str, str] = {}
        self.typed_attributes: tuple[str, ...] = ()

    def text(self, name: str) -> str:
        text = next(iter(self._query.get(name, ())), "").strip()
        if text:
            self.typed[name] = _printable(text[:MAX_INPUT_LENGTH])
        return text

    def refs(self) -> tuple[str, ...]:
        requested = [ref.strip()[: MAX_REF + 1] for ref in self._query.get("model", ())]
        refs = tuple(dict.fromkeys(ref for ref in requested if ref))
        if len(refs) > MAX_MODELS:
            self.errors["model"] = f"Choose up to {MAX_MODELS} models; the first {MAX_MODELS} are compared."
        return refs[:MAX_MODELS]

    def number(self, name: str, default: int, maximum: int, label: str = "The number of calls") -> int:
        text = self.text(name)
        if not text:
            return default
        if len(text) <= MAX_INPUT_LENGTH and NUMBER.fullmatch(text):
            value = int(text.replace(",", "").replace(" ", ""))
            if value <= maximum:
                return value
        field_label = label_of(name) if name in METERS else label
        self.errors[name] = f"{field_label} must be a whole number from 0 to {maximum:,}, such as 1200 or 1,200."
        return default

    def quantity(self, meter: str) -> int | str:
        """Return the quantity of a meter, as a decimal string if it has a fraction."""
        text = self.text(meter)
        if meter not in FRACTIONAL_METERS:
            return self.number(meter, 0, MAX_QUANTITY)
        if fraction := FRACTION.fullmatch(text):
            return fraction[0]
        quantity = self.number(meter, 0, MAX_QUANTITY)
        if meter in self.errors:
            self.errors[meter] = (
                f"{label_of(meter)} must be a number from 0 to {MAX_QUANTITY:,} with up to three decimals, such as 90 or 8.47."
            )
        return quantity

    def attributes(self) -> dict[str, str]:
        """Return the attributes of the call, given as `when=name=value`."""
        texts = [text.strip() for text in self._query.get("when", ()) if text.strip()]
        self.typed_attributes = tuple(_printable(text[:MAX_ATTRIBUTE_LENGTH]) for text in texts[:MAX_ATTRIBUTES])
        try:
            return parse_attributes(texts)
        except Invalid as error:
            problems = "; ".join(f"{problem.field.removeprefix('when').lstrip('.')} {problem.message}".strip() for problem in error.errors)
            self.errors["when"] = f"The attributes must be up to {MAX_ATTRIBUTES} names with values, such as quality=high: {problems}."
            return {}

    def usage(self) -> Usage:
        quantities = {meter: self.quantity(meter) for meter in METERS if self.text(meter)}
        if self.errors:
            return NO_USAGE
        try:
            return Usage.of(quantities)
        except Invalid as error:
            for field_error in error.errors:
                meter = field_error.field.removeprefix("usage.")
                self.errors[meter] = f"{label_of(meter)} {field_error.message}."
            return NO_USAGE

    def service_tier(self) -> str:
        try:
            return parse_service_tier(self.text("service_tier") or STANDARD)
        except Invalid as error:
            self.errors["service_tier"] = f"The service tier {error.errors[0].message}."
            return STANDARD

    def timestamp(self) -> datetime | None:
        text = self.text("at")
        if not text:
            return None
        try:
            return start_of_day(parse_day(text, "at")) if DAY.fullmatch(text) else parse_timestamp(text.upper(), "at")
        except Invalid:
            self.errors["at"] = "The moment must be a day such as 2026-11-21, or a time such as 2026-11-21T18:00:00Z."
            return None


def calculate(snapshot: Snapshot, request: CalculatorRequest, now: datetime) -> CalculatorResult:
    """Return the cost of each model, all from the same snapshot."""
    at = request.at or now.astimezone(UTC).replace(microsecond=0)
    models: dict[str, ModelInfo] = {}
    unresolved: list[UnknownModel | AmbiguousModel] = []
    for ref in request.refs:
        try:
            model = resolve(snapshot.names, ref)
            models[model.ref] = model
        except (UnknownModel, AmbiguousModel) as error:
            unresolved.append(error)
    return CalculatorResult(at, _rank_quotes([_quote(model, request, at) for model in models.values()]), tuple(unresolved))


def _quote(model: ModelInfo, request: CalculatorRequest, at: datetime) -> Quote:
    price = model.price_at(at)
    cost = cost_of(price, request.usage, at=at, service_tier=request.service_tier, attributes=request.attributes, model=model.ref)
    return Quote(model, price, cost, known_amount(cost.total, complete=cost.complete), gaps_of(cost, request.usage))


def _rank_quotes(quotes: list[Quote]) -> tuple[Quote, ...]:
    ordered = sorted(quotes, key=_sort_key)
    known = [quote for quote in ordered if quote.total is not None]
    same_currency = len({quote.cost.currency for quote in known}) == 1
    if len(known) < 2 or not same_currency:
        return tuple(ordered)
    highest = max(quote.total or ZERO for quote in known)
    lowest = next((quote.total for quote in known if quote.cost.complete and quote.model.supported), None)
    return tuple(_with_share(quote, lowest, highest) for quote in ordered)


def _with_share(quote: Quote, lowest: Decimal | None, highest: Decimal) -> Quote:
    if quote.total is None:
        return quote
    cheapest = quote.cost.complete and quote.model.supported and quote.total == lowest and lowest != highest
    return replace(quote, cheapest=cheapest, share=int(100 * quote.total / highest) if highest else 0)


def _sort_key(quote: Quote) -> tuple[int, str, Decimal, str]:
    group = 2 if quote.total is None else 0 if quote.cost.complete else 1
    return group, quote.cost.currency or "", quote.total or ZERO, quote.model.ref


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
