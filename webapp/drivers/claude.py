"""Driver for Anthropic's Messages API, on the official SDK. Loaded on first use, because the SDK takes seconds to import."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import anthropic
import anthropic.resources.messages  # The SDK would load it lazily, within the deadline of the first call.
import anthropic.resources.models
from anthropic.types import Message

from webapp.domain.pricing.usage import Usage
from webapp.drivers.core.base import MAX_DEADLINE_S, ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import create_client
from webapp.drivers.core.vendor import (
    VendorDriver,
    allowed_base_url,
    as_mapping,
    build_reply,
    count_or_none,
    extra_headers,
    filter_texts,
    key_of,
    sum_or_none,
    usage_from,
)
from webapp.security.urlguard import OutboundPolicy

ERROR_KIND_BY_FINISH: Mapping[str, str] = {"max_tokens": "truncated", "model_context_window_exceeded": "too_large", "refusal": "refused"}
LIST_LIMIT = 1_000


class ClaudeDriver(VendorDriver):
    """Driver for one account at Anthropic, or for a server with the same protocol. The base URL has no `/v1`."""

    def __init__(self, endpoint: Endpoint, policy: OutboundPolicy):
        super().__init__(endpoint)
        headers = extra_headers(endpoint) | {"Authorization": f"Bearer {key_of(endpoint)}"}
        self._sdk = anthropic.Anthropic(
            api_key="unused",  # The key is only in the transport's headers.
            base_url=allowed_base_url(endpoint, policy),
            http_client=create_client(policy, headers),
            max_retries=0,
            timeout=MAX_DEADLINE_S,  # The transport stops earlier. Without a timeout, the SDK refuses long responses that are not streamed.
            open_telemetry=False,
        )

    def options(self, request: ChatRequest) -> dict[str, Any]:
        options: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_output_tokens,
            "system": request.system,
            "messages": [{"role": "user", "content": request.user}],
        }
        if request.json_schema is not None:
            options["output_config"] = {"format": {"type": "json_schema", "schema": dict(request.json_schema)}}
        if request.temperature is not None:
            # The SDK has no argument for it any more, but older models accept it.
            options["extra_body"] = {"temperature": request.temperature}
        return options

    def send(self, options: dict[str, Any]) -> object:
        return self._sdk.messages.create(**options)

    def parse_reply(self, response: object, trace: Trace) -> ChatReply:
        if not isinstance(response, Message) or not isinstance(cast(object, response.content), list):
            raise DriverError("invalid_response", trace=trace)
        usage = usage_of(as_mapping(response.usage))
        text = "".join(filter_texts(getattr(block, "text", None) for block in response.content if getattr(block, "type", None) == "text"))
        stop = str(response.stop_reason or "unknown")
        return build_reply(text, stop, usage, trace, kind=ERROR_KIND_BY_FINISH.get(stop), model=response.model)

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        data: object = self._sdk.models.list(limit=LIST_LIMIT).data
        if not isinstance(data, list):
            raise DriverError("invalid_response", trace=trace)
        return (_upstream_model(as_mapping(model)) for model in data if isinstance(getattr(model, "id", None), str))

    def close(self) -> None:
        self._sdk.close()


def _upstream_model(model: Mapping[str, Any]) -> UpstreamModel:
    label, lifecycle = model.get("display_name"), model.get("lifecycle")
    return UpstreamModel(
        model["id"],
        label if isinstance(label, str) else None,
        count_or_none(model.get("max_input_tokens")),
        count_or_none(model.get("max_tokens")),
        lifecycle if isinstance(lifecycle, str) else None,
    )


def usage_of(reported: Mapping[str, Any]) -> Usage | None:
    """Convert Anthropic's usage. Its input count excludes cache reads and writes; Modeldesk's includes them."""
    read, written = reported.get("cache_read_input_tokens"), reported.get("cache_creation_input_tokens")
    uncached = reported.get("input_tokens")
    total = {"input": sum_or_none(uncached, read, written) if uncached is not None else None, "output": reported.get("output_tokens")}
    written_1h = as_mapping(reported.get("cache_creation")).get("ephemeral_1h_input_tokens") or 0
    thinking = as_mapping(reported.get("output_tokens_details")).get("thinking_tokens") or 0
    return usage_from(total, {"cache_read": read or 0, "cache_write": written or 0, "cache_write_1h": written_1h, "reasoning": thinking})


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return ClaudeDriver(endpoint, policy)
