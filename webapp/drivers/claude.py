"""Driver for Anthropic's Messages API, on the official SDK. Loaded on first use, because the SDK takes seconds to import."""

from collections.abc import Iterable, Mapping
from typing import Any

import anthropic
import anthropic.resources.messages  # The SDK would load it lazily, within the deadline of the first call.
import anthropic.resources.models

from webapp.drivers.core.base import MAX_DEADLINE_S, ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import create_client
from webapp.drivers.core.vendor import (
    VendorDriver,
    allowed_base_url,
    build_reply,
    count_or_none,
    extra_headers,
    key_of,
    model_entries,
    read_json,
    text_or_unknown,
)
from webapp.security.urlguard import OutboundPolicy

ERROR_KIND_BY_FINISH: Mapping[str, str] = {"max_tokens": "truncated", "model_context_window_exceeded": "too_large", "refusal": "refused"}
LIST_LIMIT = 1_000


class ClaudeDriver(VendorDriver):
    """Driver for one account at Anthropic, or for a server with the same protocol. The base URL has no `/v1`."""

    usage_format = "anthropic.messages"

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
        return self._sdk.messages.with_raw_response.create(**options)

    def parse_reply(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        content = document.get("content")
        if not isinstance(content, list):
            raise DriverError("invalid_response", trace=trace)
        finish = text_or_unknown(document.get("stop_reason"))
        kind = ERROR_KIND_BY_FINISH.get(finish)
        return build_reply(content, finish, self.convert(document), trace, kind=kind)

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        document = read_json(lambda: self._sdk.models.with_raw_response.list(limit=LIST_LIMIT), trace)
        return (_upstream_model(model) for model in model_entries(document, trace))

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


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return ClaudeDriver(endpoint, policy)
