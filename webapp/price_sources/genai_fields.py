"""The price keys of genai-prices and the conditions of its variants, with what each one means. docs/catalogs.md has the same table."""

from collections.abc import Mapping

from webapp.domain.catalog.source_scope import SourceScope
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD
from webapp.price_sources.cost_fields import MILLION, FieldRate, meters_of

# The source's price key -> its rate. Of two keys of one meter, the first one counts.
GENAI_FIELDS: Mapping[str, FieldRate] = {
    "input_mtok": FieldRate("input", 1, MILLION),
    "cache_read_mtok": FieldRate("cache_read", 1, MILLION),
    "cache_write_mtok": FieldRate("cache_write", 1, MILLION),
    "cache_write_5m_mtok": FieldRate("cache_write", 1, MILLION),
    "cache_write_1h_mtok": FieldRate("cache_write_1h", 1, MILLION),
    "input_audio_mtok": FieldRate("input_audio", 1, MILLION),
    "input_image_mtok": FieldRate("input_image", 1, MILLION),
    "input_video_mtok": FieldRate("input_video", 1, MILLION),
    "cache_audio_read_mtok": FieldRate("cache_read_audio", 1, MILLION),
    "cache_image_read_mtok": FieldRate("cache_read_image", 1, MILLION),
    "cache_video_read_mtok": FieldRate("cache_read_video", 1, MILLION),
    "output_mtok": FieldRate("output", 1, MILLION),
    "output_reasoning_mtok": FieldRate("reasoning", 1, MILLION),
    "output_audio_mtok": FieldRate("output_audio", 1, MILLION),
    "output_image_mtok": FieldRate("output_image", 1, MILLION),
    "output_video_mtok": FieldRate("output_video", 1, MILLION),
    "audio_hours": FieldRate("second", 1, 3_600),
    "input_audio_hours": FieldRate("second", 1, 3_600),
    "input_mchars": FieldRate("character", 1, MILLION),
    "input_gpixels": FieldRate("pixel", 1, 1_000_000_000),
    "input_document_kpages": FieldRate("page", 1, 1_000),
    "web_searches_kcount": FieldRate("web_search", 1, 1_000),
    "storage_searches_kcount": FieldRate("file_search", 1, 1_000),
    "code_executions_kcount": FieldRate("code_execution", 1, 1_000),
    "requests_kcount": FieldRate("request", 1, 1_000),
    "rerank_searches_kcount": FieldRate("request", 1, 1_000),
}
METER_ORDER = list(dict.fromkeys(rate.meter for rate in GENAI_FIELDS.values()))
TIER_BY_CONDITION = {
    ("processing", "batch"): "batch",
    ("service_tier", "default"): STANDARD,
    **{("service_tier", tier): tier for tier in SERVICE_TIERS[1:]},
}
TIER_CONDITIONS = frozenset(name for name, _ in TIER_BY_CONDITION)
# The names that the converters of vendors' usage give the attributes of a call.
CONDITION_NAMES = {"inference_geo": "region"}
# The media of a model's output. The source does not state them, nor those of the input: its own calculator bills every medium of the
# input at the rate of text if it has no other rate.
OUTPUT_MEDIA: Mapping[str, frozenset[str]] = {
    "audio": frozenset({"audio"}),
    "text_to_speech": frozenset({"audio"}),
    "image": frozenset({"image"}),
    "video": frozenset({"video"}),
}
GENAI_SCOPE = SourceScope(
    meters_of(GENAI_FIELDS),
    frozenset(SERVICE_TIERS) - {"scale"},
    thresholds=True,
    windows=True,
    conditions=frozenset({"region", "route", "search_type", "speed"}),
)
