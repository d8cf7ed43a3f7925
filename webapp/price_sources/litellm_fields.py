"""LiteLLM's cost fields: the rate that each one states, or the reason for which it is not read. docs/catalogs.md has the same table."""

from collections.abc import Mapping

from webapp.domain.catalog.source_scope import SourceScope
from webapp.domain.pricing.pricing import Conditions
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.price_sources.cost_fields import MILLION, FieldRate, FieldTable, meters_of

UNKNOWN_FIELD = "unknown to this reader"
NO_METER = "no meter counts it"
NO_TIER = "no service tier of Modeldesk"
IMAGE_MODES = frozenset({"image_generation", "image_edit", "embedding"})
# Where a record states tokens and another unit, the other unit is an estimate of the same usage.
TOKENS_OF_INPUT_AUDIO = ("input_cost_per_audio_token",)
TOKENS_OF_OUTPUT = ("output_cost_per_audio_token", "output_cost_per_video_token")
PER_IMAGE = ("output_cost_per_image", "input_cost_per_image")

LITELLM_TIERS = {"batches": "batch", "flex": "flex", "priority": "priority", "fast": "fast", "scale": "scale"}
LITELLM_FIELDS: FieldTable = {
    "input_cost_per_token": FieldRate("input", MILLION, MILLION),
    "output_cost_per_token": FieldRate("output", MILLION, MILLION),
    "cache_read_input_token_cost": FieldRate("cache_read", MILLION, MILLION),
    "input_cost_per_token_cache_hit": FieldRate("cache_read", MILLION, MILLION, rank=1),
    "cache_creation_input_token_cost": FieldRate("cache_write", MILLION, MILLION),
    "cache_creation_input_token_cost_above_1hr": FieldRate("cache_write_1h", MILLION, MILLION),
    "output_cost_per_reasoning_token": FieldRate("reasoning", MILLION, MILLION),
    "input_cost_per_audio_token": FieldRate("input_audio", MILLION, MILLION),
    "input_cost_per_image_token": FieldRate("input_image", MILLION, MILLION),
    "input_cost_per_video_token": FieldRate("input_video", MILLION, MILLION),
    "cache_read_input_audio_token_cost": FieldRate("cache_read_audio", MILLION, MILLION),
    "cache_read_input_image_token_cost": FieldRate("cache_read_image", MILLION, MILLION),
    "cache_read_input_video_token_cost": FieldRate("cache_read_video", MILLION, MILLION),
    "output_cost_per_audio_token": FieldRate("output_audio", MILLION, MILLION),
    "output_cost_per_image_token": FieldRate("output_image", MILLION, MILLION),
    "output_cost_per_video_token": FieldRate("output_video", MILLION, MILLION),
    "output_cost_per_image": FieldRate("image", 1, 1, unless=("output_cost_per_image_token",)),
    "input_cost_per_image": FieldRate("image", 1, 1, unless=("output_cost_per_image", "input_cost_per_image_token"), modes=IMAGE_MODES),
    "input_cost_per_pixel": FieldRate("pixel", MILLION, MILLION, unless=PER_IMAGE),
    "output_cost_per_pixel": FieldRate("pixel", MILLION, MILLION, unless=PER_IMAGE),
    "input_cost_per_second": FieldRate("second", 1, 1, unless=TOKENS_OF_INPUT_AUDIO),
    "output_cost_per_second": FieldRate("second", 1, 1, unless=TOKENS_OF_OUTPUT),
    "cost_per_second": FieldRate("second", 1, 1),
    "input_cost_per_audio_per_second": FieldRate("second", 1, 1, unless=TOKENS_OF_INPUT_AUDIO),
    "input_cost_per_video_per_second": FieldRate("second", 1, 1, unless=("input_cost_per_video_token",)),
    "output_cost_per_video_per_second": FieldRate("second", 1, 1, unless=TOKENS_OF_OUTPUT),
    "input_cost_per_character": FieldRate("character", MILLION, MILLION, unless=("input_cost_per_token",)),
    "output_cost_per_character": FieldRate("character", MILLION, MILLION, unless=("output_cost_per_token",)),
    "ocr_cost_per_page": FieldRate("page", 1, 1),
    "annotation_cost_per_page": FieldRate("page", 1, 1, rank=1),
    "input_cost_per_query": FieldRate("request", 1, 1),
    "input_cost_per_request": FieldRate("request", 1, 1),
    "search_context_cost_per_query": FieldRate("web_search", 1, 1),
    "file_search_cost_per_1k_calls": FieldRate("file_search", 1, 1_000),
    "code_interpreter_cost_per_session": FieldRate("session", 1, 1),
    "file_search_cost_per_gb_per_day": FieldRate("gb_day", 1, 1),
    "vector_store_cost_per_gb_per_day": FieldRate("gb_day", 1, 1, rank=1),
    "cache_creation_input_token_cost_above_12hr": NO_METER,
    "cache_creation_input_audio_token_cost": NO_METER,
    "explicit_cache_read_input_token_cost": NO_METER,
    "citation_cost_per_token": NO_METER,
    "input_cost_per_text_message": NO_METER,
    "google_maps_grounding_cost_per_query": NO_METER,
    "ocr_cost_per_credit": NO_METER,
    "input_dbu_cost_per_token": "in Databricks units, not in dollars",
    "output_dbu_cost_per_token": "in Databricks units, not in dollars",
}
# A factor on the rates of tokens, by the attributes of the calls that it applies to.
LITELLM_FACTORS: Mapping[str, Conditions] = {
    "provider_specific_entry.us": (("region", "us"),),
    "provider_specific_entry.eu": (("region", "eu"),),
    "provider_specific_entry.fast": (("speed", "fast"),),
    "regional_processing_uplift_multiplier_us": (("region", "us"),),
    "regional_processing_uplift_multiplier_eu": (("region", "eu"),),
}
# Meters whose fields the map knows and no record has, so that a missing one means nothing. The same holds for the tiers fast and scale, and
# for a speed, which few records state.
UNUSED_METERS = frozenset({"cache_read_video", "file_search", "gb_day"})
# Any field can have a threshold, and off-peak prices have hours.
LITELLM_SCOPE = SourceScope(
    meters_of(LITELLM_FIELDS) - UNUSED_METERS,
    frozenset({STANDARD, "batch", "flex", "priority"}),
    thresholds=True,
    windows=True,
    conditions=frozenset({"region", "resolution", "search_context"}),
)
# The reason for a field that is not in the table, by the expression that its name contains.
LITELLM_ENDINGS = (
    (r"^guardrail_cost_per_unit\.", NO_METER),
    (r"multiplier", "a factor that depends on no attribute of a call"),
    (r"_(ultrafast|balanced|decisions)$", NO_TIER),
    (r"_above_\d+s_interval$", "depends on the length"),
)
