"""Cells and small markup, built in Python: a list page renders thousands of them, and templates would take ten times as long."""

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache

from markupsafe import Markup, escape

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.pricing.meters import METER_TABLE, OUTPUT_METERS, label_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.rate_text import describe_conditions, describe_terms, format_rate
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.shared import money_text
from webapp.domain.shared.money import format_decimal
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
# Nearly every text model has these. Narrow cells show only their count, with the names in a tooltip.
COMMON_CAPABILITIES = ("chat", "streaming", "system_prompt")
NOTHING = Markup('<span class="text-secondary" aria-label="none">—</span>')
UNKNOWN = Markup('<span class="tag tag-yellow" title="Nobody has entered a price; costs are reported as incomplete">Unknown</span>')
FREE = Markup('<span class="tag tag-green" title="Free on purpose">Free</span>')
PER_MILLION = 1_000_000


def icon(name: str, cls: str = "") -> Markup:
    """Return an icon of the sprite. It is decorative: the control around it carries the name."""
    address = escape(static_url("vendor/icons.svg"))
    return Markup('<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>').format(cls, address, name)


def tag(text: str, tone: str = "neutral", title: str = "") -> Markup:
    title_attribute = Markup(' title="{}"').format(title) if title else ""
    return Markup('<span class="tag tag-{}"{}>{}</span>').format(tone, title_attribute, text)


def humanize(name: str) -> str:
    """Return an identifier such as `json_mode` with spaces."""
    return name.replace("_", " ")


@lru_cache(maxsize=64)
def type_tag(model_type: str) -> Markup:
    return tag(humanize(model_type), TYPE_TONES.get(model_type, "neutral"))


@lru_cache(maxsize=512)
def capability_icons(capabilities: tuple[str, ...]) -> Markup:
    """Return one small icon per capability, with its name as a tooltip and for screen readers."""
    cell = Markup('<span class="cap" role="img" aria-label="{0}" title="{0}">{1}</span>')
    specific = [name for name in capabilities if name not in COMMON_CAPABILITIES]
    icons = [cell.format(humanize(name), icon(CAPABILITY_ICONS.get(name, "sparkles"))) for name in specific]
    if common := ", ".join(humanize(name) for name in capabilities if name in COMMON_CAPABILITIES):
        badge = Markup('<span class="cap cap-more" role="img" aria-label="{0}" title="{0}">+{1}</span>')
        icons.append(badge.format(common, len(capabilities) - len(specific)))
    return Markup('<span class="caps">{}</span>').format(Markup("").join(icons)) if icons else NOTHING


def copyable(text: str) -> Markup:
    return Markup(
        '<span class="copyable"><code>{0}</code>'
        '<button type="button" class="btn btn-action" data-copy="{0}" aria-label="Copy {0}">{1}</button></span>'
    ).format(text, icon("copy"))


def format_tokens(number: int | None) -> Markup | str:
    """Format a number of tokens: 128K or 1M if it is round, otherwise every digit."""
    if number is None:
        return NOTHING
    if number >= PER_MILLION and number % 1_000 == 0:
        return f"{Decimal(number) / PER_MILLION:f}".rstrip("0").rstrip(".") + "M" if number % PER_MILLION else f"{number // PER_MILLION}M"
    return f"{number // 1_000}K" if number % 1_000 == 0 else f"{number:,}"


def time_tag(at: datetime | None) -> Markup:
    """Format a time exactly, in UTC. The browser replaces it with a relative time."""
    if at is None:
        return NOTHING
    if at == EPOCH:
        return Markup("since always")
    text = Markup('<time datetime="{:%Y-%m-%dT%H:%M:%SZ}" data-relative>{}</time>')
    return text.format(at, f"{at.day} {at:%b %Y, %H:%M} UTC")


def format_time(at: datetime) -> str:
    """Return the day, with the time unless it is midnight."""
    day = f"{at.day} {at:%b %Y}"
    return day if at.time().replace(second=0, microsecond=0) == time() else f"{day}, {at:%H:%M} UTC"


def format_date(value: date | None) -> str | None:
    return None if value is None else f"{value.day} {value:%b %Y}"


def standard_rate(price: Price | None, meter: str) -> Rate | None:
    """Return the rate of a meter that applies to every standard call, or None."""
    if price is None:
        return None
    return next((rate for rate in price.rates if rate.meter == meter and rate.is_plain and rate.service_tier == STANDARD), None)


def state_tag(state: str) -> Markup:
    return {"free": FREE, "unknown": UNKNOWN}.get(state) or tag("Priced", "blue")


def input_cell(model: ModelInfo | None) -> Markup:
    """Format the input price per million tokens, the price state, or a dash if the model has no such rate."""
    return _price_cell(model, ("input",))


def output_cell(model: ModelInfo | None) -> Markup:
    """Format the output price per million tokens, otherwise the price of media, images, requests or other units."""
    return _price_cell(model, OUTPUT_METERS)


def _price_cell(model: ModelInfo | None, meters: tuple[str, ...]) -> Markup:
    price = model.price if model else None
    if price is None or price.state == "unknown":
        return UNKNOWN
    if price.state == "free":
        return FREE
    rate = next((rate for meter in meters if (rate := standard_rate(price, meter))), None)
    return _rate_cell(rate, price.currency) if rate else NOTHING


def _rate_cell(rate: Rate, currency: str) -> Markup:
    """Format a rate without its unit if it is the one that the columns name: input or output per million tokens."""
    text, per_million = format_rate(rate, currency), rate.per_million
    if per_million is not None and rate.meter in ("input", "output"):
        return Markup('<span class="money">{}</span>').format(money_text.format_amount(per_million, currency))
    amount, _, unit = text.partition(" per ")
    unit = f"{unit}, {label_of(rate.meter).lower()}" if METER_TABLE[rate.meter].medium else unit
    return Markup('<span class="money">{}</span> <span class="money-unit">/ {}</span>').format(amount, unit)


def format_price(price: Price | None) -> str:
    """Format a price in one line: its state, or its first rates without conditions. Without any of those, its first rate."""
    if price is None or price.state == "unknown":
        return "unknown"
    if price.state == "free":
        return "free"
    unconditional = [rate for rate in price.rates if not describe_conditions(rate)]
    shown = unconditional[:4] or price.rates[:1]
    texts = [
        ", ".join([f"{label_of(rate.meter).lower()} {format_rate(rate, price.currency)}", *describe_conditions(rate)]) for rate in shown
    ]
    remaining = len(price.rates) - len(shown)
    more = f" and {remaining} more rates" if remaining > 1 else " and 1 more rate" if remaining else ""
    return ", ".join(texts) + more + "".join(f"; {term}" for term in describe_terms(price, with_media=False))


def exported_rate(price: Price | None, meter: str) -> str:
    """Return the rate without conditions per million units as exact digits, or an empty string. A rounded amount is marked with `≈`."""
    rate = standard_rate(price, meter)
    if rate is None:
        return ""
    return format_decimal(rate.per_million) if rate.per_million is not None else f"≈ {rate.unit * PER_MILLION:.12f}"
