"""Cells and small pieces of markup made in Python: a list page renders thousands of them, and templates would take ten times as long."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

from markupsafe import Markup, escape

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.pricing.meters import describe_conditions, label_of, unit_of
from webapp.domain.pricing.pricing import STANDARD, Price, Rate
from webapp.domain.shared import money_text
from webapp.domain.shared.money import EXACT, format_decimal
from webapp.domain.shared.timestamps import EPOCH
from webapp.web.templating import static_url

TYPE_TONES: Mapping[str, str] = {
    "text": "blue",
    "image": "purple",
    "embedding": "green",
    "audio": "yellow",
    "speech_to_text": "yellow",
    "text_to_speech": "yellow",
    "video": "purple",
    "rerank": "green",
}
CAPABILITY_ICONS: Mapping[str, str] = {
    "chat": "message",
    "code": "code",
    "vision": "eye",
    "json_mode": "braces",
    "tools": "tool",
    "streaming": "activity",
    "system_prompt": "file-text",
    "reasoning": "brain",
    "image": "photo",
    "audio": "volume",
    "embedding": "stack-2",
    "speech_to_text": "microphone",
    "text_to_speech": "volume",
    "video": "video",
    "rerank": "arrows-sort",
}
# What nearly every text model can do says little in a narrow cell: it is counted, and named on pointing at it.
COMMON_CAPABILITIES = ("chat", "streaming", "system_prompt")
NOTHING = Markup('<span class="text-secondary" aria-label="none">—</span>')
UNKNOWN = Markup('<span class="tag tag-yellow" title="Nobody has entered a price; costs are reported as incomplete">Unknown</span>')
FREE = Markup('<span class="tag tag-green" title="Free on purpose">Free</span>')
MILLION = Decimal(1_000_000)
PER_MILLION = 1_000_000


def icon(name: str, cls: str = "") -> Markup:
    """An icon of the sprite. It is decoration: the control around it carries the name."""
    address = escape(static_url("vendor/icons.svg"))
    return Markup('<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>').format(cls, address, name)


def tag(text: str, tone: str = "neutral", title: str = "") -> Markup:
    said = Markup(' title="{}"').format(title) if title else ""
    return Markup('<span class="tag tag-{}"{}>{}</span>').format(tone, said, text)


def humanize(name: str) -> str:
    """`json_mode` as people write it."""
    return name.replace("_", " ")


@lru_cache(maxsize=64)
def type_tag(model_type: str) -> Markup:
    return tag(humanize(model_type), TYPE_TONES.get(model_type, "neutral"))


@lru_cache(maxsize=512)
def capability_icons(capabilities: tuple[str, ...]) -> Markup:
    """One small icon each, with its name for pointers and screen readers alike."""
    cell = Markup('<span class="cap" role="img" aria-label="{0}" title="{0}">{1}</span>')
    telling = [name for name in capabilities if name not in COMMON_CAPABILITIES]
    icons = [cell.format(humanize(name), icon(CAPABILITY_ICONS.get(name, "sparkles"))) for name in telling]
    if common := ", ".join(humanize(name) for name in capabilities if name in COMMON_CAPABILITIES):
        more = Markup('<span class="cap cap-more" role="img" aria-label="{0}" title="{0}">+{1}</span>')
        icons.append(more.format(common, len(capabilities) - len(telling)))
    return Markup('<span class="caps">{}</span>').format(Markup("").join(icons)) if icons else NOTHING


def copyable(text: str) -> Markup:
    return Markup(
        '<span class="copyable"><code>{0}</code>'
        '<button type="button" class="btn btn-action" data-copy="{0}" aria-label="Copy {0}">{1}</button></span>'
    ).format(text, icon("copy"))


def format_tokens(number: int | None) -> Markup | str:
    """A number of tokens as people say it: 128K, 1M; exactly where it is not round."""
    if number is None:
        return NOTHING
    if number >= PER_MILLION and number % 1_000 == 0:
        return f"{Decimal(number) / PER_MILLION:f}".rstrip("0").rstrip(".") + "M" if number % PER_MILLION else f"{number // PER_MILLION}M"
    return f"{number // 1_000}K" if number % 1_000 == 0 else f"{number:,}"


def time_tag(moment: datetime | None) -> Markup:
    """A moment: exact on the server, the browser says how long ago."""
    if moment is None:
        return NOTHING
    if moment == EPOCH:
        return Markup("since always")
    text = Markup('<time datetime="{:%Y-%m-%dT%H:%M:%SZ}" data-relative>{}</time>')
    return text.format(moment, f"{moment.day} {moment:%b %Y, %H:%M} UTC")


def format_date(value: date | None) -> str | None:
    return None if value is None else f"{value.day} {value:%b %Y}"


def standard_rate(price: Price | None, meter: str) -> Rate | None:
    """The plain rate of a meter: no threshold, no hours, no service tier."""
    if price is None:
        return None
    plain_one = (None, STANDARD, None)
    return next((rate for rate in price.rates if rate.meter == meter and (rate.above, rate.service_tier, rate.window) == plain_one), None)


def per_million(rate: Rate) -> Decimal:
    return EXACT.multiply(rate.unit, MILLION)


def state_tag(state: str) -> Markup:
    return {"free": FREE, "unknown": UNKNOWN}.get(state) or tag("Priced", "blue")


def input_cell(model: ModelInfo | None) -> Markup:
    """What input costs per million tokens; where a model has no such rate, its state or nothing."""
    return _price_cell(model, ("input",))


def output_cell(model: ModelInfo | None) -> Markup:
    """What output costs per million tokens, else one image or one request."""
    return _price_cell(model, ("output", "image", "request", "second", "character", "page"))


def _price_cell(model: ModelInfo | None, meters: tuple[str, ...]) -> Markup:
    price = model.price if model else None
    if price is None or price.state == "unknown":
        return UNKNOWN
    if price.state == "free":
        return FREE
    for meter in meters:
        rate = standard_rate(price, meter)
        if rate is not None:
            return _amount(rate, price.currency)
    return NOTHING


def _amount(rate: Rate, currency: str) -> Markup:
    if rate.meter in ("input", "output"):
        return Markup('<span class="money">{}</span>').format(money_text.format_amount(per_million(rate), currency))
    unit = unit_of(rate.meter, rate.per)
    return Markup('<span class="money">{}</span> <span class="money-unit">/ {}</span>').format(
        money_text.format_amount(rate.amount, currency), unit
    )


def format_rate(rate: Rate, currency: str) -> str:
    """`$3 per 1M tokens`, always with its unit."""
    if unit_of(rate.meter, 1) == "token":
        return f"{money_text.format_amount(per_million(rate), currency)} per 1M tokens"
    return f"{money_text.format_amount(rate.amount, currency)} per {unit_of(rate.meter, rate.per)}"


def format_price(price: Price | None) -> str:
    """A price in one line: its state, or what its plain rates are."""
    if price is None or price.state == "unknown":
        return "unknown"
    if price.state == "free":
        return "free"
    shown = [f"{label_of(rate.meter).lower()} {format_rate(rate, price.currency)}" for rate in price.rates if not describe_conditions(rate)]
    more = len(price.rates) - len(shown[:4])
    return ", ".join(shown[:4]) + (f" and {more} more rates" if more > 1 else " and 1 more rate" if more else "")


def exported_rate(price: Price | None, meter: str) -> str:
    """The plain rate per million units as exact digits, or nothing."""
    rate = standard_rate(price, meter)
    return format_decimal(per_million(rate)) if rate else ""
