"""Conversion of vendors' raw usage objects to meters: totals include their parts, and nothing is dropped silently."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.usage import MAX_QUANTITY, Usage
from webapp.domain.shared.errors import Invalid
from webapp.domain.usage.converted_usage import UNKNOWN_USAGE, context_tier_gaps
from webapp.domain.usage.formats import FORMATS, convert_usage

ANTHROPIC = {
    "input_tokens": 5,
    "cache_read_input_tokens": 128_955,
    "cache_creation_input_tokens": 1_253,
    "cache_creation": {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 253},
    "output_tokens": 500,
}
OPENAI = {
    "prompt_tokens": 1_000,
    "prompt_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100},
    "completion_tokens": 200,
    "completion_tokens_details": {"reasoning_tokens": 120, "accepted_prediction_tokens": 7},
    "total_tokens": 1_200,
}
GEMINI = {
    "promptTokenCount": 1_000,
    "cachedContentTokenCount": 400,
    "toolUsePromptTokenCount": 50,
    "candidatesTokenCount": 200,
    "thoughtsTokenCount": 150,
    "totalTokenCount": 1_400,
}
XAI = {
    "prompt_tokens": 1_000,
    "prompt_tokens_details": {"cached_tokens": 200},
    "completion_tokens": 100,
    "completion_tokens_details": {"reasoning_tokens": 300},
    "total_tokens": 1_400,
}
BEDROCK = {
    "inputTokens": 500,
    "cacheReadInputTokens": 2_000,
    "cacheWriteInputTokens": 300,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 200}, {"ttl": "1h", "inputTokens": 100}],
    "outputTokens": 150,
    "totalTokens": 2_950,
}
DEEPSEEK = {"prompt_tokens": 36_100, "completion_tokens": 1_200, "prompt_cache_hit_tokens": 21_600, "prompt_cache_miss_tokens": 14_500}
CACHED = {"input": "3", "output": "15", "cache_read": "0.3", "cache_write": "3.75", "cache_write_1h": "6"}
SIMPLE = {"input": "1", "output": "2", "cache_read": "0.1"}


def price(rates):
    return Price(
        "priced", datetime(2026, 1, 1, tzinfo=UTC), "USD", tuple(Rate(meter, Decimal(amount), 1_000_000) for meter, amount in rates.items())
    )


@pytest.mark.parametrize(
    ("name", "raw", "rates", "cost"),
    [
        ("anthropic.messages", ANTHROPIC, CACHED, "0.0514695"),
        ("openai.chat", OPENAI, CACHED, "0.004995"),
        ("gemini", GEMINI, CACHED, "0.00732"),
        ("xai", XAI, CACHED, "0.00846"),
        ("bedrock.converse", BEDROCK, CACHED, "0.0057"),
        ("deepseek", DEEPSEEK, SIMPLE, "0.01906"),
        ("openai.chat", DEEPSEEK, SIMPLE, "0.01906"),
        ("openai.chat", DEEPSEEK | {"prompt_tokens_details": None}, SIMPLE, "0.01906"),
    ],
)
def test_raw_objects_cost_exactly_what_the_vendor_bills(name, raw, rates, cost):
    converted = convert_usage(name, raw)
    assert cost_of(price(rates), converted.usage, at=None).total == Decimal(cost)
    assert converted.complete


@pytest.mark.parametrize(
    ("name", "raw", "usage"),
    [
        (
            "openai.responses",
            {"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 3}},
            Usage(input=9, output=4, reasoning=3),
        ),
        ("openai.responses", {"type": "duration", "seconds": 11}, Usage(second=11)),
        ("openai.embeddings", {"prompt_tokens": None, "total_tokens": 12}, Usage(input=12)),
        ("mistral", {"prompt_tokens": 3, "completion_tokens": 2, "prompt_audio_seconds": 8.0}, Usage(input=3, output=2, second=8)),
        ("cohere", {"billed_units": {"input_tokens": 5, "output_tokens": 6}, "tokens": {"input_tokens": 71}}, Usage(input=5, output=6)),
        ("cohere", {"meta": {"billed_units": {"search_units": 2}}}, Usage(request=2)),
        ("groq", {"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_time": 0.5}}}, Usage(input=3, output=2)),
        (
            "openrouter",
            {"prompt_tokens": 3, "completion_tokens": 2, "server_tool_use": {"web_search_requests": 4}},
            Usage(input=3, output=2, web_search=4),
        ),
        (
            "anthropic.messages",
            {"input_tokens": 3, "output_tokens": 2, "server_tool_use": {"web_search_requests": 4}},
            Usage(input=3, output=2, web_search=4),
        ),
        (
            "anthropic.messages",
            {"input_tokens": 3, "output_tokens": 2, "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5}},
            Usage(input=12, output=2, cache_write=9, cache_write_1h=5),
        ),
        (
            "anthropic.messages",
            {"input_tokens": 3, "output_tokens": 2, "server_tool_use": {"code_execution_requests": 4}},
            Usage(input=3, output=2, code_execution=4),
        ),
        (
            "openai.responses",
            {
                "usage": {"input_tokens": 3, "output_tokens": 2},
                "output": [{"type": "web_search_call"}, {"type": "file_search_call"}, {"type": "file_search_call"}, {"type": "message"}],
            },
            Usage(input=3, output=2, web_search=1, file_search=2),
        ),
        (  # Two calls in one container are one session.
            "openai.responses",
            {
                "usage": {"input_tokens": 3, "output_tokens": 2},
                "output": [{"type": "code_interpreter_call", "container_id": name} for name in ("c-1", "c-1", "c-2")],
            },
            Usage(input=3, output=2, session=2),
        ),
        (
            "openai.responses",
            {"usage": {"input_tokens": 3, "output_tokens": 2}, "output": [{"type": "code_interpreter_call"}, "text", None]},
            Usage(input=3, output=2, session=1),
        ),
        (  # xAI bills each call.
            "xai",
            {
                "usage": {"input_tokens": 3, "output_tokens": 2},
                "output": [{"type": "code_interpreter_call", "container_id": "c-1"}] * 2 + [{"type": "web_search_call"}],
            },
            Usage(input=3, output=2, code_execution=2, web_search=1),
        ),
        (
            "openai.responses",
            {"input_tokens": 100, "output_tokens": 1_170, "output_tokens_details": {"image_tokens": 1_120, "text_tokens": 50}},
            Usage(input=100, output=1_170, output_image=1_120),
        ),
        (
            "openai.chat",
            {
                "prompt_tokens": 90,
                "prompt_tokens_details": {
                    "cached_tokens": 60,
                    "audio_tokens": 30,
                    "image_tokens": 20,
                    "video_tokens": 10,
                    "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 25, "image_tokens": 12, "video_tokens": 3},
                },
                "completion_tokens": 9,
                "completion_tokens_details": {"audio_tokens": 2, "image_tokens": 3, "video_tokens": 4},
            },
            Usage(
                input=90,
                cache_read=60,
                input_audio=30,
                input_image=20,
                input_video=10,
                cache_read_audio=25,
                cache_read_image=12,
                cache_read_video=3,
                output=9,
                output_audio=2,
                output_image=3,
                output_video=4,
            ),
        ),
        ("openai.responses", {"type": "duration", "seconds": Decimal("8.47")}, Usage(second=Decimal("8.47"))),
        ("openai.responses", {"type": "duration", "seconds": 8.47}, Usage(second=Decimal("8.47"))),
        (
            "mistral",
            {"prompt_tokens": 3, "completion_tokens": 2, "prompt_audio_seconds": Decimal("0.125")},
            Usage(input=3, output=2, second=Decimal("0.125")),
        ),
        ("gemini", {"promptTokenCount": 9}, Usage(input=9)),
        (
            "gemini",
            {
                "promptTokenCount": 9,
                "promptTokensDetails": [{"modality": "VIDEO", "tokenCount": 4}, {"modality": "DOCUMENT", "tokenCount": 2}],
                "candidatesTokenCount": 7,
                "candidatesTokensDetails": [
                    {"modality": "IMAGE", "tokenCount": 3},
                    {"modality": "AUDIO", "tokenCount": 2},
                    {"modality": "VIDEO", "tokenCount": 1},
                ],
            },
            Usage(input=9, input_video=4, input_image=2, output=7, output_image=3, output_audio=2, output_video=1),
        ),
        (
            "gemini",
            {
                "prompt_token_count": 9,
                "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 4}],
                "tool_use_prompt_token_count": 3,
                "tool_use_prompt_tokens_details": [{"modality": "AUDIO", "tokenCount": 2}],
            },
            Usage(input=12, input_audio=6),
        ),
        (
            "xai",
            {"input_tokens": 5, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 7}},
            Usage(input=5, output=9, reasoning=7),
        ),
        (
            "ollama",
            {"prompt_eval_count": 7, "eval_count": 8, "message": {"content": "x"}, "total_duration": 5_000_000},
            Usage(input=7, output=8),
        ),
        (
            "bedrock.converse",
            BEDROCK | {"totalTokens": 650},
            Usage(input=2_800, cache_read=2_000, cache_write=300, cache_write_1h=100, output=150),
        ),
    ],
)
def test_each_vendors_meaning_of_its_counts_is_known(name, raw, usage):
    converted = convert_usage(name, raw)
    assert (converted.usage, converted.complete) == (usage, True)


@pytest.mark.parametrize("wrap", [lambda raw: {"usage": raw, "model": "m", "id": "r", "choices": []}, lambda raw: raw])
def test_a_whole_response_and_its_usage_object_give_the_same_meters(wrap):
    assert convert_usage("openai.chat", wrap(OPENAI)).usage == convert_usage("openai.chat", OPENAI).usage


MULTIMODAL = {
    "promptTokenCount": 3_297,
    "cachedContentTokenCount": 2_918,
    "candidatesTokenCount": 55,
    "thoughtsTokenCount": 95,
    "totalTokenCount": 3_447,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 83},
        {"modality": "AUDIO", "tokenCount": 321},
        {"modality": "VIDEO", "tokenCount": 2_893},
    ],
    "cacheTokensDetails": [
        {"modality": "AUDIO", "tokenCount": 284},
        {"modality": "TEXT", "tokenCount": 73},
        {"modality": "VIDEO", "tokenCount": 2_561},
    ],
}
FLASH = {"input": "0.3", "cache_read": "0.03", "input_audio": "1", "cache_read_audio": "0.1", "output": "2.5"}


@pytest.mark.parametrize(
    ("left_out", "media_at_text_rate", "total", "missing"),
    [
        (None, True, "0.00062202", ()),
        (None, False, "0.00044559", ("input_video", "cache_read_video")),
        ("cacheTokensDetails", True, "0.00080094", ("cache_read_audio",)),
    ],
)
def test_cached_audio_and_video_of_gemini_are_billed_once(left_out, media_at_text_rate, total, missing):
    converted = convert_usage("gemini", {name: value for name, value in MULTIMODAL.items() if name != left_out})
    cost = cost_of(replace(price(FLASH), media_at_text_rate=media_at_text_rate), converted.usage, at=None)
    assert (converted.complete, cost.total, cost.complete, set(cost.missing)) == (True, Decimal(total), not missing, set(missing))


def test_cached_audio_of_a_realtime_call_is_billed_once():
    raw = {
        "total_tokens": 1_100,
        "input_tokens": 1_000,
        "output_tokens": 100,
        "input_token_details": {
            "text_tokens": 200,
            "audio_tokens": 800,
            "image_tokens": 0,
            "cached_tokens": 200,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 200, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 20, "audio_tokens": 80},
    }
    rates = {"input": "4", "cache_read": "0.4", "input_audio": "32", "cache_read_audio": "0.4", "output": "16", "output_audio": "64"}
    cost = cost_of(price(rates), convert_usage("openai.responses", raw).usage, at=None)
    assert (cost.total, cost.complete) == (Decimal("0.02552"), True)


def test_a_medium_that_the_details_of_the_cache_do_not_list_was_not_cached():
    raw = MULTIMODAL | {"cachedContentTokenCount": 73, "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 73}]}
    usage = convert_usage("gemini", raw).usage
    assert (usage.cache_read_audio, usage.stated) == (0, {"cache_read_audio", "cache_read_video"})
    assert cost_of(replace(price(FLASH), media_at_text_rate=True), usage, at=None).complete
    partial = raw | {"cachedContentTokenCount": 80}
    assert convert_usage("gemini", partial).usage.stated == frozenset()


@pytest.mark.parametrize("seconds", [Decimal("8.4712"), 8.4712, Decimal("-0.5"), "8.47", True])
def test_a_duration_that_no_meter_can_hold_is_named_and_not_rounded(seconds):
    converted = convert_usage("openai.responses", {"type": "duration", "seconds": seconds})
    assert (converted.known, converted.gaps) == ({}, ("raw:seconds",))


def outside(total, **more):
    return {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens": 10, "total_tokens": total} | {
        "completion_tokens_details": {"reasoning_tokens": 30},
        **more,
    }


@pytest.mark.parametrize(
    ("total", "usage"),
    [(140, Usage(input=100, cache_read=60, output=40, reasoning=30)), (200, Usage(input=160, cache_read=60, output=40, reasoning=30))],
)
def test_the_vendors_total_shows_which_parts_are_outside_their_totals(total, usage):
    converted = convert_usage("openai.chat", outside(total))
    assert (converted.usage, converted.complete) == (usage, True)


def test_cached_tokens_outside_the_prompt_are_added_to_the_input():
    raw = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens": 4, "total_tokens": 74}
    assert convert_usage("openai.chat", raw).usage == Usage(input=70, cache_read=60, output=4)


def test_without_a_total_reasoning_of_xai_is_outside_the_completion():
    raw = XAI | {"total_tokens": None}
    assert convert_usage("xai", raw).usage == Usage(input=1_000, cache_read=200, output=400, reasoning=300)


def test_reasoning_that_xai_counts_in_the_completion_is_not_added_twice():
    raw = XAI | {"completion_tokens": 400, "total_tokens": 1_400}
    assert convert_usage("xai", raw).usage == Usage(input=1_000, cache_read=200, output=400, reasoning=300)


@pytest.mark.parametrize(
    ("name", "raw", "usage", "gaps"),
    [
        (
            "openai.chat",
            OPENAI | {"total_tokens": 1_201},
            Usage(input=1_000, cache_read=400, cache_write=100, output=200, reasoning=120),
            ("raw:total_tokens",),
        ),
        (
            "openai.chat",
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 60}},
            Usage(input=10, output=4),
            ("cache_read",),
        ),
        ("openai.chat", outside(110), Usage(input=100, cache_read=60, output=10), ("reasoning",)),
        ("deepseek", DEEPSEEK | {"prompt_cache_miss_tokens": 1}, Usage(input=36_100, output=1_200), ("prompt_cache_miss_tokens",)),
        (
            "anthropic.messages",
            ANTHROPIC | {"cache_creation_input_tokens": 1_252},
            Usage(input=130_212, cache_read=128_955, cache_write=1_252, output=500),
            ("cache_creation",),
        ),
        ("xai", XAI | {"num_sources_used": 3}, Usage(input=1_000, cache_read=200, output=400, reasoning=300), ("raw:num_sources_used",)),
        (
            "gemini",
            GEMINI | {"totalTokenCount": 1_500},
            Usage(input=1_050, cache_read=400, output=350, reasoning=150),
            ("raw:totalTokenCount",),
        ),
        (
            "gemini",
            {"promptTokenCount": 9, "promptTokensDetails": [{"modality": "SMELL", "tokenCount": 4}]},
            Usage(input=9),
            ("raw:promptTokensDetails",),
        ),
        (
            "openai.chat",
            {"prompt_tokens": 1, "completion_tokens": 2, "magic_tokens": 3, "new": {"deep_count": 4}},
            Usage(input=1, output=2),
            ("raw:magic_tokens", "raw:new.deep_count"),
        ),
        (
            "openai.chat",
            {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": "x"}},
            Usage(input=1, output=2),
            ("raw:prompt_tokens_details.cached_tokens",),
        ),
        (
            "anthropic.messages",
            {"input_tokens": 3, "output_tokens": 2, "server_tool_use": {"computer_use_requests": 1}},
            Usage(input=3, output=2),
            ("raw:server_tool_use.computer_use_requests",),
        ),
    ],
)
def test_contradictions_and_unknown_counts_keep_the_totals_and_make_the_cost_incomplete(name, raw, usage, gaps):
    converted = convert_usage(name, raw)
    assert (converted.usage, converted.gaps, converted.complete) == (usage, gaps, False)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "document", [None, [], "x", 5, {}, {"usage": None}, {"usage": []}, {"choices": [], "model": "m"}, {"usageMetadata": None}]
)
def test_usage_that_is_not_reported_is_unknown_and_not_zero(name, document):
    assert convert_usage(name, document).usage is None


@pytest.mark.parametrize("whole", ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"])
@pytest.mark.parametrize(
    ("count", "status"), [("5", 400), (True, 400), (0.5, 400), ([], 400), (-1, 422), (10**13, 422), (float("nan"), 422)]
)
def test_an_invalid_addend_makes_the_total_unknown_and_is_named_without_its_value(whole, count, status):
    converted = convert_usage("anthropic.messages", ANTHROPIC | {whole: count})
    assert converted.usage is None
    assert [(error.field, error.status) for error in converted.errors] == [(whole, status)]
    assert "5" not in converted.errors[0].message


def test_the_vendors_cost_tier_and_model_are_kept():
    raw = {
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "cost": Decimal("0.00123"),
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.1},
    }
    converted = convert_usage("openrouter", {"usage": raw, "model": "m-9", "id": "gen-1", "service_tier": "default"})
    metadata = converted.metadata
    assert (metadata.reported_cost, metadata.model, metadata.response_id, metadata.service_tier) == (
        Decimal("0.10123"),
        "m-9",
        "gen-1",
        "standard",
    )
    assert converted.complete
    assert convert_usage("xai", XAI | {"cost_in_usd_ticks": 37_756_000}).metadata.reported_cost == Decimal("0.0037756")
    assert convert_usage("openrouter", OPENAI).metadata.reported_cost is None


def test_counts_of_several_requests_have_no_known_context_tier():
    one, two = ({"input_tokens": 1_000, "output_tokens": 5} for _ in range(2))
    base = price({"input": "3", "output": "15"})
    tiered = Price("priced", base.effective_from, "USD", (*base.rates, Rate("input", Decimal(6), 1_000_000, above=200_000)))
    gaps = {
        count: [
            context_tier_gaps(convert_usage("anthropic.messages", one | {"iterations": [two] * count}).metadata.iterations, at)
            for at in (tiered, base, None)
        ]
        for count in (0, 1, 2)
    }
    assert gaps == {0: [(), (), ()], 1: [(), (), ()], 2: [("context_tier",), (), ()]}
    assert convert_usage("anthropic.messages", one | {"iterations": [two] * 2}).complete


@pytest.mark.parametrize(
    ("raw", "cost"),
    [
        ({"cost": Decimal("0.00123")}, "0.00123"),
        ({"cost": 0}, "0"),
        ({"cost": "0.5"}, "0.5"),
        ({"cost": {"total_cost": Decimal("0.006"), "request_cost": Decimal("0.005")}}, "0.006"),
        ({"cost": Decimal("0.1"), "cost_details": {"upstream_inference_cost": Decimal("0.3")}}, "0.1"),
        ({"cost": Decimal(0), "is_byok": True, "cost_details": {"upstream_inference_cost": Decimal("0.3")}}, "0.3"),
        ({}, None),
        ({"cost": None}, None),
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": Decimal("NaN")}, None),
        ({"cost": Decimal("1E+30")}, None),
        ({"cost": Decimal("1E-400000")}, None),
        ({"cost": "much"}, None),
    ],
    ids=str,
)
def test_the_vendors_cost_is_exact_or_absent(raw, cost):
    reported = convert_usage("openai.chat", {"prompt_tokens": 1, "completion_tokens": 1, **raw}).metadata.reported_cost
    assert reported == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize("model", ["", None, 5, ["m"], "m\n", "m\x00", "m\ud800"], ids=repr)
def test_a_model_name_that_cannot_be_stored_is_unknown(model):
    assert convert_usage("openai.chat", {"usage": OPENAI, "model": model}).metadata.model is None


def test_a_tier_without_a_known_price_makes_the_cost_incomplete():
    converted = convert_usage("openai.chat", {"usage": OPENAI, "service_tier": "platinum"})
    assert (converted.metadata.service_tier, converted.gaps) == (None, ("raw:service_tier",))


def test_known_counts_without_a_meter_are_ignored_with_a_reason():
    ignored = {field.field: field.reason for field in convert_usage("groq", OPENAI | {"queue_time": 0.2}).ignored}
    assert ignored == {"completion_tokens_details.accepted_prediction_tokens": "included in the output", "queue_time": "a timing"}


def test_a_format_that_does_not_exist_and_endless_nesting_are_refused():
    nested = json.loads('{"a":' * 50 + "1" + "}" * 50)
    for name, document in (("openai", OPENAI), ("openai.chat", {"usage": nested})):
        with pytest.raises(Invalid):
            convert_usage(name, document)


FIELDS = sorted(
    {name for raw in (ANTHROPIC, OPENAI, GEMINI, XAI, BEDROCK, DEEPSEEK) for name in raw}
    | {"cost", "seconds", "billed_units", "tokens", "extra_tokens"}
)
PARTS = [
    "image_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "reasoning_tokens",
    "ephemeral_1h_input_tokens",
    "input_tokens",
    "output_tokens",
]
COUNTS = st.none() | st.integers(-2, 50) | st.integers(0, 2 * MAX_QUANTITY) | st.floats() | st.booleans() | st.text(max_size=3)
DETAILS = st.dictionaries(st.sampled_from(PARTS), COUNTS, max_size=4)
MODALITY = st.sampled_from(["AUDIO", "IMAGE", "VIDEO", "TEXT", "NEW"])
MODALITIES = st.lists(st.fixed_dictionaries({"modality": MODALITY, "tokenCount": COUNTS}), max_size=3)


@given(st.sampled_from(sorted(FORMATS)), st.dictionaries(st.sampled_from(FIELDS), COUNTS | DETAILS | MODALITIES, max_size=9))
def test_whatever_a_vendor_sends_totals_include_their_parts_and_nothing_is_lost_silently(name, raw):
    converted = convert_usage(name, raw)
    for known in converted.known.values():
        assert 0 <= known <= MAX_QUANTITY
    if converted.usage is not None:
        counted = {meter: count for meter, count in converted.usage.as_dict().items() if count}
        assert counted == {meter: count for meter, count in converted.known.items() if count}
    if "extra_tokens" in raw and type(raw["extra_tokens"]) is int and raw["extra_tokens"] and converted != UNKNOWN_USAGE:
        assert not converted.complete


@given(*[st.integers(0, 10**6)] * 4)
def test_exclusive_counts_are_added_for_every_size(uncached, read, written, output):
    raw = {"input_tokens": uncached, "cache_read_input_tokens": read, "cache_creation_input_tokens": written, "output_tokens": output}
    usage = Usage(input=uncached + read + written, cache_read=read, cache_write=written, output=output)
    assert convert_usage("anthropic.messages", raw).usage == usage


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_long_names_and_many_fields_are_reported_without_copies_of_their_paths(size):
    parts = {"x" * size: {f"a{number}": 1 for number in range(size // 10)}, **{f"f{number}_tokens": 1 for number in range(size // 10)}}
    converted = convert_usage("openai.chat", {"usage": {"prompt_tokens": 1, "completion_tokens": 1, **parts}})
    assert (converted.usage, converted.complete) == (Usage(input=1, output=1), False)
    assert "raw:unnamed" in converted.gaps
    assert sum(map(len, converted.gaps)) < 5_000


def test_null_is_absent_also_next_to_another_spelling():
    converted = convert_usage("openai.chat", {"prompt_tokens": None, "promptTokens": 5, "completion_tokens": 1})
    assert (converted.usage, converted.complete) == (Usage(input=5, output=1), True)


def test_names_that_cannot_be_encoded_never_reach_a_cost():
    contradiction = {"x\ud800": {"a": 1}, "X\ud800": {"a": 2}}
    converted = convert_usage("openai.chat", {"prompt_tokens": 1, "completion_tokens": 1, **contradiction})
    assert (converted.gaps, converted.complete) == (("unnamed",), False)


def test_details_of_another_type_than_a_list_make_the_usage_incomplete():
    counts = {"promptTokenCount": 5, "candidatesTokenCount": 1, "promptTokensDetails": {"AUDIO": 3}}
    assert not convert_usage("gemini", {"usageMetadata": counts}).complete
