"""Usage of the vendors that have a protocol of their own."""

from collections.abc import Mapping

from webapp.domain.pricing.meters import MEDIA
from webapp.domain.usage.converted_usage import Counts
from webapp.domain.usage.openai_formats import REMAINDER, TIMING
from webapp.domain.usage.usage_reader import UsageReader

# The media of Gemini's modalities. Pages of documents are billed as images.
MEDIUM_BY_MODALITY: Mapping[str, str] = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video", "TEXT": ""}


def read_anthropic(reader: UsageReader) -> Counts:
    """Read Anthropic's usage. Its input count excludes cache reads and writes."""
    creation = "cache_creation.ephemeral_{}_input_tokens"
    short, long = reader.count(creation.format("5m")) or 0, reader.count(creation.format("1h")) or 0
    written = reader.count("cache_creation_input_tokens")
    uncached_and_read = reader.sum("input_tokens", "cache_read_input_tokens")
    if written is None:
        written = short + long
    elif short + long > written:
        reader.contradictions.append("cache_creation")
        long = 0
    reader.ignore(REMAINDER, creation.format("5m"))
    reader.ignore("a breakdown of the totals", "iterations")
    reader.ignore("billed as tokens", "server_tool_use.web_fetch_requests")
    invalid = reader.is_invalid("cache_creation_input_tokens")
    return {
        "input": None if uncached_and_read is None or invalid else uncached_and_read + written,
        "cache_read": reader.count("cache_read_input_tokens"),
        "cache_write": written,
        "cache_write_1h": long,
        "output": reader.count("output_tokens"),
        "reasoning": reader.count("output_tokens_details.thinking_tokens"),
        "web_search": reader.count("server_tool_use.web_search_requests"),
        "code_execution": reader.count("server_tool_use.code_execution_requests"),
    }


def read_gemini(reader: UsageReader) -> Counts:
    """Read Gemini's usage. Its prompt count excludes tool results, and its candidates exclude thoughts."""
    thoughts = reader.count("thoughts_token_count")
    candidates_absent = reader.value("candidates_token_count") is None
    output = (thoughts or 0) if candidates_absent else reader.sum("candidates_token_count", "thoughts_token_count")
    if candidates_absent and reader.is_invalid("thoughts_token_count"):
        output = None
    meters: Counts = {
        "input": reader.sum("prompt_token_count", "tool_use_prompt_token_count"),
        "cache_read": reader.count("cached_content_token_count"),
        "output": output,
        "reasoning": thoughts,
    }
    if meters["input"] is not None and output is not None:
        reader.require_total("total_token_count", meters["input"] + output)
    _add_modalities(reader, meters, "input", "prompt_tokens_details")
    _add_modalities(reader, meters, "input", "tool_use_prompt_tokens_details")
    cached = _add_modalities(reader, meters, "cache_read", "cache_tokens_details")
    _add_modalities(reader, meters, "output", "candidates_tokens_details")
    if cached and cached == meters["cache_read"]:
        _state_uncached_media(meters)
    return meters


def _add_modalities(reader: UsageReader, meters: Counts, whole: str, path: str) -> int:
    """Add the tokens of a list of modalities to the meters of their media. Return how many tokens the list holds.

    A modality that is not known is missing.
    """
    listed = 0
    for entry in reader.entries(path):
        count = reader.to_count(path, entry.get("token_count")) or 0
        listed += count
        medium = MEDIUM_BY_MODALITY.get(str(entry.get("modality")))
        if count and medium is None:
            reader.mark_missing(path)
        elif count and medium:
            meter = f"{whole}_{medium}"
            meters[meter] = (meters.get(meter) or 0) + count
    return listed


def _state_uncached_media(meters: Counts) -> None:
    """State that no token of a medium was cached if the details of the cached tokens do not list it."""
    for medium in MEDIA:
        if meters.get(f"input_{medium}"):
            meters.setdefault(f"cache_read_{medium}", 0)


def read_bedrock(reader: UsageReader) -> Counts:
    """Read usage of Bedrock's Converse API. Its input count excludes cache reads and writes, like Anthropic's."""
    total_input = reader.sum("input_tokens", "cache_read_input_tokens", "cache_write_input_tokens")
    written_1h = 0
    for entry in reader.entries("cache_details"):
        count = reader.to_count("cache_details", entry.get("input_tokens"))
        written_1h += (count or 0) if entry.get("ttl") == "1h" else 0
    output = reader.count("output_tokens")
    if total_input is not None and output is not None:
        reader.require_total("total_tokens", total_input + output)
    return {
        "input": total_input,
        "cache_read": reader.count("cache_read_input_tokens"),
        "cache_write": reader.count("cache_write_input_tokens"),
        "cache_write_1h": written_1h,
        "output": output,
    }


def read_cohere(reader: UsageReader) -> Counts:
    """Read Cohere's usage. What it bills counts; the tokens include its own template."""
    billed = "billed_units" if reader.value("billed_units") else "tokens"
    reader.ignore("not billed: it includes the vendor's template", "tokens" if billed == "billed_units" else "billed_units")
    meters: Counts = {"request": reader.count(f"{billed}.search_units"), "image": reader.count(f"{billed}.images")}
    tokens: Counts = {"input": reader.count(f"{billed}.input_tokens"), "output": reader.count(f"{billed}.output_tokens")}
    if not any(meters.values()) or any(count is not None for count in tokens.values()):
        # Embeddings and reranking have no output.
        embeds = tokens["input"] is not None and "embeddings" in reader.response
        meters |= tokens | ({"output": 0} if embeds else {})
    if reader.count(f"{billed}.classifications"):
        reader.mark_missing(f"{billed}.classifications")
    cached = reader.count("cached_tokens")
    if cached is not None and cached > (meters.get("input") or 0):
        reader.ignore("more than the billed input", "cached_tokens")
        cached = None
    return meters | {"cache_read": cached}


def read_ollama(reader: UsageReader) -> Counts:
    """Read Ollama's usage. It does not report a prompt from its cache, which is unknown and not zero."""
    reader.ignore(TIMING, *(f"{part}_duration" for part in ("total", "load", "prompt_eval", "eval")))
    return {"input": reader.count("prompt_eval_count"), "output": reader.count("eval_count")}
