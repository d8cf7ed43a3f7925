"""Cases from peers' test suites and real responses, as bodies of `POST /quote` (design: pricing.md, "Peer cases that stay different").

The file names some meters differently, and marks rates whose meter did not exist when it was written.
"""

import json
from decimal import Decimal
from pathlib import Path

FILE = Path(__file__).parent / "data" / "peer-cases.jsonl"
OUR_NAMES = {f"cache_{medium}_read": f"cache_read_{medium}" for medium in ("audio", "image", "video")}
OUR_NAMES |= {"storage_gb_day": "gb_day", "output_pixel": "pixel"}
# Meters of the file that only repeat what the others say.
REDUNDANT = ("cache_text_read",)
# The variant that the call asks for, by the case's id.
VARIANTS = {f"#Image_Quality_{quality}": f"quality-{quality}" for quality in ("hd", "high", "medium", "auto")}
VARIANTS |= {f"#web_search_{size}": size for size in ("low", "medium")}
# The file gives these Gemini models no rate for images and video, which Google bills as text: catalog readers set the flag.
BILLED_AS_TEXT = ("genai-prices/dataset#", "genai-prices/test_extract_usage.py::test_google_caching")

DIFFERENT_ON_PURPOSE = {
    "bifrost/cost_test#InferenceGeoUS_multiplier": "the multiplier is given as conditional rates: worked example E",
    "bifrost/cost_test#ProviderComputedCostPassthrough": "the provider's own cost is kept next to ours",
    "bifrost/cost_test#Speech_TokensPreferredOverDuration_both_sent": "a price with rates for tokens and seconds bills both",
    "helicone/modelCostFromRegistry#gemini-3-pro_vertex_over": "the whole request selects the context tier",
    "helicone/modelCostFromRegistry#sonnet4_over_200k": "the whole request selects the context tier",
    "litellm/llm_cost_calc_utils#gpt_6_astra_fast_100000": "`fast` on a price that has only `priority` rates",
    "litellm/llm_cost_calc_utils#gpt_6_astra_fast_300000": "`fast` on a price that has only `priority` rates",
    "litellm/llm_cost_calc_utils#off_peak_over_service_tier_18:00": "the requested tier wins over off-peak hours",
    "litellm/llm_cost_calc_utils#tiered_empty_prompt_flat": "an empty prompt has the base rate",
    "litellm/llm_cost_calc_utils#overlapping_cached_and_image": "the overlap is not stated and would change the total",
    "bifrost/cost_test#Image_InputAndOutputPerImage": "counted input images have no meter",
    "bifrost/cost_test#Image_PerPixelInputAndOutput": "pixels have one rate",
    "genai-prices/test_extract_usage.py::test_perplexity_deep_research_additive_output_categories#28": "citation tokens have no meter",
    "genai-prices/test_price_regressions.py::test_model_price_decomposition_handles_fractional_usage#744": "tokens are whole",
    "genai-prices/test_price_regressions.py::test_tiered_price_regression_uses_provided_input_token_threshold#753": "part above whole",
    "genai-prices/test_tiered_pricing.py::test_tiered_price_compares_fractional_usage_with_integer_threshold#767": "tokens are whole",
    "langfuse/pricing-tier-matcher#fractional_tokens": "tokens are whole",
}
CASES = [json.loads(line, parse_float=Decimal) for line in FILE.read_text().splitlines()]


def quote_of(case: dict) -> dict:
    """Return the body of the request that asks for the cost of a case. Fractions are decimal strings."""
    rates = [{key: value for key, value in rate.items() if key != "not_a_meter_today"} for rate in case["price"]["rates"]]
    rates = [rate | {"meter": OUR_NAMES.get(rate["meter"], rate["meter"])} for rate in rates if rate["meter"] not in REDUNDANT]
    usage = {OUR_NAMES.get(meter, meter): quantity for meter, quantity in case["usage"].items() if meter not in REDUNDANT}
    variant = next((variant for name, variant in VARIANTS.items() if name in case["id"]), None)
    return {
        "price": {"currency": "USD", "rates": rates, "media_at_text_rate": case["id"].startswith(BILLED_AS_TEXT)},
        "usage": {meter: str(quantity) if isinstance(quantity, Decimal) else quantity for meter, quantity in usage.items()},
        "at": case["at"],
        "service_tier": case["service_tier"],
        "attributes": {"variant": variant} if variant else None,
    }
