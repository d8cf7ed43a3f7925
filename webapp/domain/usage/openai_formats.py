"""Usage of OpenAI's APIs and of the vendors that speak the protocol of chat completions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import product

from webapp.domain.pricing.usage import MAX_QUANTITY, Quantity
from webapp.domain.usage.converted_usage import Counts, Meters
from webapp.domain.usage.usage_reader import UsageReader

REMAINDER = "the remainder of its total"
INSIDE = "included in the output"
TIMING = "a timing"
CODE_CALL = "code_interpreter_call"
_TIMINGS = ("queue_time", "prompt_time", "completion_time", "total_time")


@dataclass(frozen=True, slots=True)
class ChatCounts:
    """The counts of a chat completion that decide whether a part is inside its total."""

    prompt: int
    completion: int
    cached: int
    reasoning: int

    def totals(self, extra: int | None, *, reasoning_is_extra: bool) -> Counts:
        """Return the inclusive totals. `extra` is what the vendor's own total exceeds its prompt and completion by, if it is known."""
        cached_extra = 0
        reasoning_extra = self.reasoning if reasoning_is_extra and extra != 0 else 0
        if extra is not None and extra > 0:
            cached_extra, reasoning_extra = next(self._explanations(extra), (cached_extra, reasoning_extra))
        return {"input": self.prompt + cached_extra, "output": self.completion + reasoning_extra}

    def _explanations(self, extra: int) -> Iterator[tuple[int, int]]:
        """Return the cached tokens and the reasoning outside of the totals that make up the extra tokens, reasoning alone first."""
        for cached_extra, reasoning_extra in product((0, self.cached), (0, self.reasoning)):
            fits = self.cached <= self.prompt + cached_extra and self.reasoning <= self.completion + reasoning_extra
            if fits and cached_extra + reasoning_extra == extra:
                yield cached_extra, reasoning_extra


def read_chat(reader: UsageReader, *, reasoning_is_extra: bool = False) -> Counts:
    """Read usage of chat completions. Totals include their parts, unless the vendor's own total shows that they do not."""
    prompt, completion = reader.count("prompt_tokens"), reader.count("completion_tokens")
    meters = _prompt_parts(reader, prompt) | _output_parts(reader, "completion_tokens_details")
    prediction = "completion_tokens_details.{}_prediction_tokens"
    reader.ignore(INSIDE, prediction.format("accepted"), prediction.format("rejected"))
    reader.ignore(TIMING, *_TIMINGS)
    total = reader.count("total_tokens")
    if prompt is None or completion is None:
        return meters | {"input": prompt, "output": completion}
    cached = (meters["cache_read"] or 0) + (meters["cache_write"] or 0)
    counts = ChatCounts(prompt, completion, cached, meters["reasoning"] or 0)
    extra = None if total is None else total - prompt - completion
    totals = counts.totals(extra, reasoning_is_extra=reasoning_is_extra)
    reader.require_total("total_tokens", sum(count or 0 for count in totals.values()))
    return meters | totals


def _prompt_parts(reader: UsageReader, prompt: int | None) -> Counts:
    nested = reader.count("prompt_tokens_details.cached_tokens")
    hit, miss = reader.count("prompt_cache_hit_tokens"), reader.count("prompt_cache_miss_tokens")
    cached = hit if nested is None else nested
    if None not in (hit, miss, prompt) and (hit or 0) + (miss or 0) != prompt:
        reader.contradictions.append("prompt_cache_miss_tokens")
        cached = nested
    return _input_parts(reader, "prompt_tokens_details") | {"cache_read": cached}


def _input_parts(reader: UsageReader, details: str) -> Counts:
    cached = f"{details}.cached_tokens_details"
    reader.ignore(REMAINDER, f"{details}.text_tokens", f"{cached}.text_tokens")
    return {
        "cache_read": reader.count(f"{details}.cached_tokens"),
        "cache_write": reader.count(f"{details}.cache_write_tokens"),
        "input_audio": reader.count(f"{details}.audio_tokens"),
        "input_image": reader.count(f"{details}.image_tokens"),
        "input_video": reader.count(f"{details}.video_tokens"),
        "cache_read_audio": reader.count(f"{cached}.audio_tokens"),
        "cache_read_image": reader.count(f"{cached}.image_tokens"),
        "cache_read_video": reader.count(f"{cached}.video_tokens"),
    }


def _output_parts(reader: UsageReader, details: str) -> Counts:
    reader.ignore(REMAINDER, f"{details}.text_tokens")
    return {
        "reasoning": reader.count(f"{details}.reasoning_tokens"),
        "output_audio": reader.count(f"{details}.audio_tokens"),
        "output_image": reader.count(f"{details}.image_tokens"),
        "output_video": reader.count(f"{details}.video_tokens"),
    }


def read_responses(reader: UsageReader) -> Meters:
    """Read usage of the Responses API, of images and of transcriptions. Totals include their parts."""
    if reader.text("type") == "duration":
        return {"second": _seconds(reader, "seconds")}
    totals = {"input": reader.count("input_tokens"), "output": reader.count("output_tokens")}
    inputs, outputs = (name if reader.peek(name) else f"{whole}_tokens_details" for whole in totals if (name := f"{whole}_token_details"))
    reader.require_total("total_tokens", sum(count or 0 for count in totals.values()))
    return totals | _input_parts(reader, inputs) | _output_parts(reader, outputs) | _count_calls(reader)


def _count_calls(reader: UsageReader) -> Counts:
    """Count the tool calls that are billed by themselves. Only the types of the output items and their containers are read.

    OpenAI bills code by the container that runs it, which several calls can use.
    """
    items = _output_items(reader)
    types = [item.get("type") for item in items]
    containers = {str(item.get("container_id")) for item in items if item.get("type") == CODE_CALL}
    return {"web_search": types.count("web_search_call"), "file_search": types.count("file_search_call"), "session": len(containers)}


def _output_items(reader: UsageReader) -> list[Mapping[str, object]]:
    output = reader.response.get("output")
    return [item for item in output if isinstance(item, Mapping)] if isinstance(output, list) else []


def _seconds(reader: UsageReader, path: str) -> Quantity | None:
    """Return a duration with up to three decimals. A finer one is missing, and not rounded."""
    value = reader.value(path)
    seconds = Decimal(str(value)) if isinstance(value, float) else value
    if not isinstance(seconds, Decimal) or seconds.is_nan() or not 0 <= seconds <= MAX_QUANTITY or seconds % 1 == 0:
        return reader.to_count(path, value)
    if seconds * 1_000 % 1:
        reader.mark_missing(path)
        return None
    return seconds


def read_embeddings(reader: UsageReader) -> Counts:
    return {"input": reader.count("prompt_tokens", "total_tokens"), "output": 0}


def read_mistral(reader: UsageReader) -> Meters:
    return {**read_chat(reader), "second": _seconds(reader, "prompt_audio_seconds")}


def read_xai(reader: UsageReader) -> Meters:
    """Read usage of xAI. Chat completions count reasoning in addition to the completion; responses include it.

    xAI bills code by the call.
    """
    reader.value("cost_in_usd_ticks")
    if reader.value("input_tokens") is not None:
        code_calls = [item for item in _output_items(reader) if item.get("type") == CODE_CALL]
        return {**read_responses(reader), "session": 0, "code_execution": len(code_calls)}
    return read_chat(reader, reasoning_is_extra=True)


def read_openrouter(reader: UsageReader) -> Counts:
    reader.ignore("a breakdown of the reported cost", "cost_details")
    reader.value("cost")
    return read_chat(reader) | {"web_search": reader.count("server_tool_use.web_search_requests")}
