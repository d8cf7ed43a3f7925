"""Driver for OpenAI's chat completions, for all servers with that protocol.

Loaded on first use, because the SDK takes seconds to import.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import openai
import openai.resources.chat.completions  # The SDK would load it lazily, within the deadline of the first call.
import openai.resources.models
from openai.types.chat import ChatCompletion

from webapp.domain.pricing.usage import Usage
from webapp.drivers.core.base import ChatReply, ChatRequest, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import create_client
from webapp.drivers.core.vendor import VendorDriver, allowed_base_url, build_reply, extra_headers, key_of, usage_from
from webapp.security.urlguard import OutboundPolicy

TOKEN_PARAMETERS = ("max_completion_tokens", "max_tokens")
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
        return self._sdk.chat.completions.create(**options)

    def parse_reply(self, response: object, trace: Trace) -> ChatReply:
        """Parse a completion. The SDK validates nothing, so any value can be of any type."""
        if not isinstance(response, ChatCompletion) or not isinstance(cast(object, response.choices), list):
            raise DriverError("invalid_response", trace=trace)
        usage = self.usage(response.usage.to_dict() if response.usage else None)
        if not response.choices:
            raise DriverError("empty", trace=trace, usage=usage)
        choice = response.choices[0]
        refused = choice.message.refusal or choice.finish_reason == "content_filter"
        kind = "refused" if refused else "truncated" if choice.finish_reason == "length" else None
        return build_reply(choice.message.content, str(choice.finish_reason or "unknown"), usage, trace, kind=kind, model=response.model)

    def usage(self, reported: object) -> Usage | None:
        """Convert the reported usage to Modeldesk's meters."""
        return usage_of(reported)

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        data: object = self._sdk.models.list().data
        if not isinstance(data, list):
            raise DriverError("invalid_response", trace=trace)
        return (UpstreamModel(name) for model in data if isinstance(name := getattr(model, "id", None), str))

    def close(self) -> None:
        self._sdk.close()


def usage_of(reported: object) -> Usage | None:
    """Convert OpenAI's usage. Its totals include cache and reasoning, as Modeldesk's do."""
    if not isinstance(reported, Mapping):
        return None
    total = {"input": reported.get("prompt_tokens"), "output": reported.get("completion_tokens")}
    return usage_from(total, usage_parts(reported))


def usage_parts(reported: Mapping[str, Any]) -> dict[str, object]:
    """Return the parts of the totals: cache and reasoning."""
    prompt, completion = reported.get("prompt_tokens_details"), reported.get("completion_tokens_details")
    return {
        "cache_read": _token_detail(prompt, "cached_tokens"),
        "cache_write": _token_detail(prompt, "cache_write_tokens"),
        "reasoning": _token_detail(completion, "reasoning_tokens"),
    }


def _token_detail(details: object, name: str) -> object:
    return (details.get(name) or 0) if isinstance(details, Mapping) else 0
