"""Driver for OpenAI's chat completions, for all servers with that protocol.

Loaded on first use, because the SDK takes seconds to import.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import openai
import openai.resources.chat.completions  # The SDK would load it lazily, within the deadline of the first call.
import openai.resources.models

from webapp.drivers.core.base import ChatReply, ChatRequest, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import create_client
from webapp.drivers.core.vendor import (
    VendorDriver,
    allowed_base_url,
    build_reply,
    extra_headers,
    first_mapping,
    key_of,
    model_entries,
    read_json,
    text_or_unknown,
)
from webapp.security.urlguard import OutboundPolicy

TOKEN_PARAMETERS = ("max_completion_tokens", "max_tokens")
ERROR_KIND_BY_FINISH: Mapping[str, str] = {"length": "truncated", "content_filter": "refused", "error": "server_error"}
JSON_SCHEMA, JSON_OBJECT, PROMPT_ONLY = "json_schema", "json_object", "prompt"


class CompatibleDriver(VendorDriver):
    """Driver for one endpoint with OpenAI's protocol. Subclasses define the differences of their vendor."""

    token_parameter = "max_tokens"
    json_mode = JSON_SCHEMA
    needs_key = True

    def __init__(self, endpoint: Endpoint, policy: OutboundPolicy):
        super().__init__(endpoint)
        self._sdk = openai.OpenAI(
            # The key is only in the transport's headers: the SDK and its exceptions never hold it.
            api_key="unused",
            organization="",
            project="",
            base_url=allowed_base_url(endpoint, policy),
            http_client=create_client(policy, self.headers()),
            max_retries=0,
        )

    def headers(self) -> dict[str, str]:
        """Return the headers to send: those of the row, and the auth header with the key."""
        key = key_of(self.endpoint, required=self.needs_key)
        config = self.endpoint.config
        name, prefix = str(config.get("auth_header") or "Authorization"), config.get("auth_prefix")
        prefix = ("Bearer" if name.lower() == "authorization" else "") if prefix is None else str(prefix).strip()
        return extra_headers(self.endpoint) | ({name: f"{prefix} {key}".strip()} if key else {})

    def options(self, request: ChatRequest) -> dict[str, Any]:
        parameter = request.token_parameter or str(self.endpoint.config.get("token_parameter") or self.token_parameter)
        if parameter not in TOKEN_PARAMETERS:
            raise DriverError(
                "config", f"The limit of output tokens must be named {' or '.join(TOKEN_PARAMETERS)} in the model's settings."
            )
        options: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
            parameter: request.max_output_tokens,
        }
        if request.temperature is not None:
            options["temperature"] = request.temperature
        return options | self._response_format(request)

    def _response_format(self, request: ChatRequest) -> dict[str, Any]:
        mode = str(self.endpoint.config.get("json_mode") or self.json_mode)
        if request.json_schema is None or mode == PROMPT_ONLY:
            return {}
        if mode == JSON_OBJECT:
            return {"response_format": {"type": "json_object"}}
        schema = {"name": request.schema_name, "schema": dict(request.json_schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def send(self, options: dict[str, Any]) -> object:
        return self._sdk.chat.completions.with_raw_response.create(**options)

    def parse_reply(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        choices = document.get("choices")
        if not isinstance(choices, list):
            raise DriverError("invalid_response", trace=trace)
        usage = self.convert(document)
        if not choices:
            raise DriverError("empty", trace=trace, usage=usage)
        choice = first_mapping(choices)
        message = choice.get("message")
        if not isinstance(message, Mapping):
            raise DriverError("invalid_response", trace=trace, usage=usage)
        finish = text_or_unknown(choice.get("finish_reason"))
        kind = "refused" if message.get("refusal") else ERROR_KIND_BY_FINISH.get(finish)
        return build_reply(message.get("content"), finish, usage, trace, kind=kind)

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        document = read_json(self._sdk.models.with_raw_response.list, trace)
        return (UpstreamModel(model["id"]) for model in model_entries(document, trace))

    def close(self) -> None:
        self._sdk.close()
