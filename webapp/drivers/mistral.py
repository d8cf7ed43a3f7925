"""Driver for Mistral on the official SDK. Loaded on first use, because the SDK takes a second to import."""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import mistralai.client.chat  # The SDK would load it lazily, within the deadline of the first call.
import mistralai.client.models_  # noqa: F401 - for the same reason
from mistralai.client import Mistral
from mistralai.client.errors import ResponseValidationError
from mistralai.client.models import ChatCompletionResponse

from webapp.domain.pricing.usage import Usage
from webapp.drivers.core.base import MAX_DEADLINE_S, ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import create_blocked_client, create_client
from webapp.drivers.core.openai_compatible import usage_of
from webapp.drivers.core.vendor import (
    VendorDriver,
    allowed_base_url,
    as_mapping,
    build_reply,
    count_or_none,
    extra_headers,
    filter_texts,
    key_of,
)
from webapp.security.urlguard import OutboundPolicy

ERROR_KIND_BY_FINISH: Mapping[str, str] = {"length": "truncated", "model_length": "truncated", "error": "server_error"}


class _SilentLogger(logging.Logger):
    """Replaces the SDK's debug log, which would contain prompts."""

    def __init__(self) -> None:
        super().__init__("mistral", logging.CRITICAL + 1)


class MistralDriver(VendorDriver):
    """Driver for one account at Mistral. The base URL has no `/v1`."""

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

    def parse_reply(self, response: object, trace: Trace) -> ChatReply:
        if not isinstance(response, ChatCompletionResponse):
            raise DriverError("invalid_response", trace=trace)
        usage = _reported_usage(as_mapping(response.usage))
        if not response.choices:
            raise DriverError("empty", trace=trace, usage=usage)
        choice = response.choices[0]
        finish = str(choice.finish_reason or "unknown")
        text = _content_text(choice.message.content if choice.message else None)
        return build_reply(text, finish, usage, trace, kind=ERROR_KIND_BY_FINISH.get(finish), model=response.model)

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        try:
            data: list[Any] = [as_mapping(entry) for entry in self._sdk.models.list().data or []]
        except ResponseValidationError as error:
            # Other servers with this protocol list fewer fields of each model than the SDK requires.
            data = _parse_model_list(error.body)
        if not data and trace.status != 200:
            raise DriverError("invalid_response", trace=trace)
        return (_upstream_model(entry) for entry in data if isinstance(entry, Mapping) and isinstance(entry.get("id"), str))

    def close(self) -> None:
        self._http.close()


def _parse_model_list(body: str) -> list[Any]:
    document = json.loads(body)
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, list):
        raise DriverError("invalid_response")
    return data


def _upstream_model(entry: Mapping[str, Any]) -> UpstreamModel:
    label, retired = entry.get("name"), entry.get("deprecation")
    lifecycle = "deprecated" if retired else None
    return UpstreamModel(
        entry["id"], label if isinstance(label, str) else None, count_or_none(entry.get("max_context_length")), None, lifecycle
    )


def _content_text(content: object) -> str:
    """Return the text of a content: it is text, or a list of chunks, some of which are text."""
    if isinstance(content, list):
        return "".join(filter_texts(getattr(chunk, "text", None) for chunk in content))
    return content if isinstance(content, str) else ""


def _reported_usage(reported: Mapping[str, Any]) -> Usage | None:
    return usage_of(reported) if reported else None


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return MistralDriver(endpoint, policy)
