"""Driver for Mistral on the official SDK. Loaded on first use, because the SDK takes a second to import."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import mistralai.client.chat  # The SDK would load it lazily, within the deadline of the first call.
import mistralai.client.models_  # noqa: F401 - for the same reason
from mistralai.client import Mistral

from webapp.drivers.core.base import MAX_DEADLINE_S, ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import create_blocked_client, create_client
from webapp.drivers.core.vendor import (
    VendorDriver,
    allowed_base_url,
    as_mapping,
    build_reply,
    count_or_none,
    extra_headers,
    first_mapping,
    key_of,
    model_entries,
    read_json,
    text_or_unknown,
)
from webapp.security.urlguard import OutboundPolicy

ERROR_KIND_BY_FINISH: Mapping[str, str] = {"length": "truncated", "model_length": "truncated", "error": "server_error"}


class _SilentLogger(logging.Logger):
    """Replaces the SDK's debug log, which would contain prompts."""

    def __init__(self) -> None:
        super().__init__("mistral", logging.CRITICAL + 1)


class MistralDriver(VendorDriver):
    """Driver for one account at Mistral. The base URL has no `/v1`."""

    usage_format = "mistral"

    def __init__(self, endpoint: Endpoint, policy: OutboundPolicy):
        super().__init__(endpoint)
        headers = extra_headers(endpoint) | {"Authorization": f"Bearer {key_of(endpoint)}"}
        self._http = create_client(policy, headers)
        self._sdk = Mistral(
            api_key="unused",  # The key is only in the transport's headers.
            server_url=allowed_base_url(endpoint, policy),
            client=self._http,
            async_client=create_blocked_client(),
            timeout_ms=round(1000 * MAX_DEADLINE_S),  # The transport stops earlier.
            debug_logger=_SilentLogger(),
        )

    def options(self, request: ChatRequest) -> dict[str, Any]:
        options: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
            "max_tokens": request.max_output_tokens,
        }
        if request.temperature is not None:
            options["temperature"] = request.temperature
        if request.json_schema is not None:
            schema = {"name": request.schema_name, "schema_definition": dict(request.json_schema), "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        return options

    def send(self, options: dict[str, Any]) -> object:
        return self._sdk.chat.complete(**options)

    def parse_reply(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        choices = document.get("choices")
        if not isinstance(choices, list):
            raise DriverError("invalid_response", trace=trace)
        usage = self.convert(document)
        if not choices:
            raise DriverError("empty", trace=trace, usage=usage)
        choice = first_mapping(choices)
        finish = text_or_unknown(choice.get("finish_reason"))
        content = as_mapping(choice.get("message")).get("content")
        return build_reply(content, finish, usage, trace, kind=ERROR_KIND_BY_FINISH.get(finish))

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        return (_upstream_model(model) for model in model_entries(read_json(self._sdk.models.list, trace), trace))

    def close(self) -> None:
        self._http.close()


def _upstream_model(entry: Mapping[str, Any]) -> UpstreamModel:
    label, retired = entry.get("name"), entry.get("deprecation")
    lifecycle = "deprecated" if retired else None
    return UpstreamModel(
        entry["id"], label if isinstance(label, str) else None, count_or_none(entry.get("max_context_length")), None, lifecycle
    )


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return MistralDriver(endpoint, policy)
