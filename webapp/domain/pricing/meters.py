"""The meters: what a provider counts, in which unit, and how the counts include one another (design: pricing.md, section 1).

This table is the only definition of a meter. Everything else that lists meters is derived from it.
"""

from collections.abc import Mapping
from typing import NamedTuple

TOKEN = "token"
# The groups in which forms show the meters.
TEXT_TOKENS = "Tokens"
MEDIA_TOKENS = "Audio, image and video tokens"
CONTENT = "Images, seconds, characters and pages"
TOOLS = "Requests, tools and storage"


class Meter(NamedTuple):
    """One meter.

    `parents` are the wholes that include it. A meter without a rate of its own is billed at the rate of the first meter in
    `falls_back_to` that has one. A meter with a `medium` falls back only at a price with `media_at_text_rate`. `multiples` names
    quantities that have a word of their own, such as 60 seconds.
    """

    label: str
    unit: str
    units: str
    parents: tuple[str, ...] = ()
    falls_back_to: tuple[str, ...] = ()
    medium: str | None = None
    hint: str = ""
    group: str = TOOLS
    multiples: tuple[tuple[int, str], ...] = ()


def _tokens(label: str, hint: str, *parents: str, then: tuple[str, ...] = (), medium: str | None = None) -> Meter:
    """Return a meter of tokens. It falls back to its first parent, and after that to `then`."""
    return Meter(label, TOKEN, "tokens", parents, (*parents[:1], *then), medium, hint, MEDIA_TOKENS if medium else TEXT_TOKENS)


# In the order in which costs are itemized. A whole comes before its parts.
METER_TABLE: Mapping[str, Meter] = {
    "input": _tokens("Input", "Every input token, cached ones included"),
    "cache_read": _tokens("Read from cache", "Part of input", "input"),
    "cache_write": _tokens("Written to cache", "Part of input", "input"),
    "cache_write_1h": _tokens("Written for 1 hour", "Part of written to cache", "cache_write", then=("input",)),
    "input_audio": _tokens("Audio input", "Part of input", "input", medium="audio"),
    "input_image": _tokens("Image input", "Part of input", "input", medium="image"),
    "input_video": _tokens("Video input", "Part of input", "input", medium="video"),
    "cache_read_audio": _tokens(
        "Audio read from cache", "Part of read from cache and of audio input", "cache_read", "input_audio", then=("input",), medium="audio"
    ),
    "cache_read_image": _tokens(
        "Images read from cache", "Part of read from cache and of image input", "cache_read", "input_image", then=("input",), medium="image"
    ),
    "cache_read_video": _tokens(
        "Video read from cache", "Part of read from cache and of video input", "cache_read", "input_video", then=("input",), medium="video"
    ),
    "output": _tokens("Output", "Every output token, reasoning included"),
    "reasoning": _tokens("Reasoning", "Part of output", "output"),
    "output_audio": _tokens("Audio output", "Part of output", "output", medium="audio"),
    "output_image": _tokens("Image output", "Part of output", "output", medium="image"),
    "output_video": _tokens("Video output", "Part of output", "output", medium="video"),
    "image": Meter("Images", "image", "images", group=CONTENT),
    "request": Meter("Requests", "request", "requests"),
    "second": Meter(
        "Seconds", "second", "seconds", hint="Up to three decimals", group=CONTENT, multiples=((60, "minute"), (3_600, "hour"))
    ),
    "character": Meter("Characters", "character", "characters", group=CONTENT),
    "page": Meter("Pages", "page", "pages", group=CONTENT),
    "web_search": Meter("Web searches", "search", "searches"),
    "pixel": Meter("Pixels", "pixel", "pixels", group=CONTENT),
    "session": Meter("Sessions", "session", "sessions"),
    "file_search": Meter("File searches", "search", "searches"),
    "code_execution": Meter("Code executions", "execution", "executions"),
    "gb_day": Meter("Storage", "GB-day", "GB-days"),
}
METERS: tuple[str, ...] = tuple(METER_TABLE)
METER_SET = frozenset(METERS)
TOKEN_METERS: tuple[str, ...] = tuple(name for name, meter in METER_TABLE.items() if meter.unit == TOKEN)
COUNT_METERS: tuple[str, ...] = tuple(name for name, meter in METER_TABLE.items() if meter.unit != TOKEN)
# What a model produces: text, media, then everything that is counted.
OUTPUT_METERS: tuple[str, ...] = (
    "output",
    *(name for name, meter in METER_TABLE.items() if "output" in meter.parents and meter.medium),
    *COUNT_METERS,
)
MEDIA = ("audio", "image", "video")
FRACTIONAL_METERS = frozenset({"second"})
METER_GROUPS: Mapping[str, tuple[str, ...]] = {
    group: tuple(name for name, meter in METER_TABLE.items() if meter.group == group)
    for group in (TEXT_TOKENS, MEDIA_TOKENS, CONTENT, TOOLS)
}


def label_of(meter: str) -> str:
    return METER_TABLE[meter].label if meter in METER_TABLE else meter


def unit_of(meter: str, per: int) -> str:
    """Return the quantity that a rate applies to: `1M tokens`, `1,000 requests`, `image`, `minute`."""
    known = METER_TABLE.get(meter) or Meter(meter, meter, meter)
    if name := {1: known.unit, **dict(known.multiples)}.get(per):
        return name
    return f"{per // 1_000_000:,}M {known.units}" if per % 1_000_000 == 0 else f"{per:,} {known.units}"
