"""Registry of the usage formats of vendors. `convert_usage` is the one conversion of a raw usage object to Modeldesk's meters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD, TIER_SYNONYMS
from webapp.domain.shared.errors import Invalid
from webapp.domain.usage import openai_formats as openai
from webapp.domain.usage import vendor_formats as vendors
from webapp.domain.usage.converted_usage import UNKNOWN_USAGE, ConvertedUsage, Meters, ResponseMetadata, build_usage
from webapp.domain.usage.usage_reader import UsageReader, amount_or_none, snake_name, text_or_none

# The vendors' words for service tiers. A word that is not listed has a price of its own that is not known.
VENDOR_TIERS: Mapping[str, str] = {
    **{tier: tier for tier in SERVICE_TIERS},
    **TIER_SYNONYMS,
    "provisioned_throughput": STANDARD,
    "on_demand_priority": "priority",
    "on_demand_flex": "flex",
}
XAI_TICKS = 10**10
OPENAI_TOTALS = ("prompt_tokens", "completion_tokens", "total_tokens")
GEMINI_TOTALS = ("prompt_token_count", "candidates_token_count", "total_token_count")
RESPONSES_TOTALS = ("input_tokens", "output_tokens", "seconds")


@dataclass(frozen=True, slots=True)
class UsageFormat:
    """One vendor's usage object: how to read its meters, how to recognize it, and where a response holds it."""

    read_meters: Callable[[UsageReader], Meters]
    totals: tuple[str, ...] = OPENAI_TOTALS
    containers: tuple[str, ...] = ("usage",)
    reported_cost: Callable[[UsageReader], Decimal | None] = field(default=lambda reader: None)
    tier: str = "service_tier"


def _openrouter_cost(reader: UsageReader) -> Decimal | None:
    cost = amount_or_none(reader.value("cost.total_cost") or reader.value("cost"))  # Perplexity's has parts.
    upstream = amount_or_none(reader.value("cost_details.upstream_inference_cost"))
    return cost + upstream if cost is not None and upstream is not None and reader.value("is_byok") is True else cost


def _xai_cost(reader: UsageReader) -> Decimal | None:
    ticks = amount_or_none(reader.value("cost_in_usd_ticks"))
    return None if ticks is None else ticks / XAI_TICKS


FORMATS: Mapping[str, UsageFormat] = {
    # Gateways with OpenAI's protocol report their cost in the same field as OpenRouter.
    "openai.chat": UsageFormat(openai.read_openrouter, reported_cost=_openrouter_cost),
    "openai.responses": UsageFormat(openai.read_responses, RESPONSES_TOTALS),
    "openai.embeddings": UsageFormat(openai.read_embeddings),
    "anthropic.messages": UsageFormat(vendors.read_anthropic, RESPONSES_TOTALS),
    "gemini": UsageFormat(vendors.read_gemini, GEMINI_TOTALS, ("usage_metadata",), tier="traffic_type"),
    "bedrock.converse": UsageFormat(vendors.read_bedrock, RESPONSES_TOTALS),
    "mistral": UsageFormat(openai.read_mistral),
    "cohere": UsageFormat(vendors.read_cohere, ("billed_units", "tokens"), ("usage", "meta")),
    "deepseek": UsageFormat(openai.read_chat),
    "groq": UsageFormat(openai.read_chat, containers=("usage", "x_groq.usage")),
    "openrouter": UsageFormat(openai.read_openrouter, reported_cost=_openrouter_cost),
    "xai": UsageFormat(openai.read_xai, (*OPENAI_TOTALS, *RESPONSES_TOTALS), reported_cost=_xai_cost),
    "ollama": UsageFormat(vendors.read_ollama, ("prompt_eval_count", "eval_count"), ()),
}


def convert_usage(format_name: str, document: object) -> ConvertedUsage:
    """Convert a vendor's usage object, or a whole response that contains it, from its raw JSON.

    Raises `Invalid` for a format that does not exist or an object that is nested too deeply. Unknown usage is not an error.
    """
    if format_name not in FORMATS:
        raise Invalid.field("format", f"must be one of {', '.join(FORMATS)}")
    if not isinstance(document, Mapping):
        return UNKNOWN_USAGE
    usage_format = FORMATS[format_name]
    raw, response = _locate_usage(usage_format, document)
    reader = UsageReader(raw, response)
    meters = usage_format.read_meters(reader)
    return build_usage(reader, meters, _read_metadata(usage_format, reader))


def convert_meters(quantities: Mapping[str, object], model: object = None) -> ConvertedUsage:
    """Convert quantities that are named by Modeldesk's meters, such as those at the response paths of a custom provider."""
    reader = UsageReader(quantities, {})
    meters = {meter: reader.count(meter) for meter in ("input", "output", *quantities)}
    return build_usage(reader, meters, ResponseMetadata(model=text_or_none(model)))


def _locate_usage(usage_format: UsageFormat, document: Mapping[str, object]) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Return the usage object and the response around it."""
    names = {snake_name(name): value for name, value in document.items()}
    for container in usage_format.containers:
        value: object = names
        for name in container.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            return value, document
    if not usage_format.containers:  # The response itself holds the counts, next to the message.
        return {name: value for name, value in document.items() if not isinstance(value, Mapping | list)}, document
    return (document, {}) if any(name in names for name in usage_format.totals) else ({}, document)


def _read_metadata(usage_format: UsageFormat, reader: UsageReader) -> ResponseMetadata:
    response = reader.response
    metrics = response.get("metrics")
    latency = metrics.get("latencyMs") if isinstance(metrics, Mapping) else None
    iterations = reader.peek("iterations")
    return ResponseMetadata(
        model=text_or_none(response.get("model") or response.get("model_version")),
        response_id=text_or_none(response.get("id") or response.get("response_id")),
        service_tier=_read_tier(usage_format, reader),
        reported_cost=usage_format.reported_cost(reader),
        latency_ms=latency if type(latency) is int else _read_latency(reader),
        attributes=_read_attributes(reader),
        iterations=len(iterations) if isinstance(iterations, list) and iterations else 1,
    )


def _read_latency(reader: UsageReader) -> int | None:
    """Return the duration of the call: Ollama's in nanoseconds, Groq's in seconds."""
    for name, per_ms in (("total_duration", Decimal(1_000_000)), ("total_time", Decimal("0.001"))):
        if (duration := amount_or_none(reader.peek(name))) is not None:
            return round(duration / per_ms)
    return None


def _read_tier(usage_format: UsageFormat, reader: UsageReader) -> str | None:
    word = reader.text(usage_format.tier) or reader.response.get("service_tier")
    if isinstance(word, Mapping):  # Bedrock's has a type.
        word = word.get("type")
    if not isinstance(word, str) or not word:
        return None
    tier = VENDOR_TIERS.get(word.lower())
    if tier is None and usage_format.tier == "traffic_type":
        return STANDARD  # Other traffic is an attribute.
    if tier is None:
        reader.missing.append(f"raw:{usage_format.tier}")
    return tier


def _read_attributes(reader: UsageReader) -> dict[str, str]:
    values = {"speed": reader.text("speed"), "region": reader.text("inference_geo"), "traffic": reader.text("traffic_type")}
    usual = {
        "speed": ("standard",),
        "region": ("global", "not_available"),
        "traffic": ("ON_DEMAND", "ON_DEMAND_PRIORITY", "ON_DEMAND_FLEX"),
    }
    return {name: value for name, value in values.items() if value and value not in usual[name]}
