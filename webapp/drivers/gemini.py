"""Google's Gemini on the official SDK. Loaded on first use: the SDK takes a second or two to import."""

from collections.abc import Iterable, Mapping
from typing import Any

from google import genai
from google.genai import types

from webapp.domain.pricing.usage import Usage
from webapp.drivers.core.base import ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import create_blocked_client, create_client
from webapp.drivers.core.vendor import (
    VendorDriver,
    allowed_base_url,
    build_reply,
    count_or_none,
    extra_headers,
    filter_texts,
    key_of,
    sum_or_none,
    usage_from,
)
from webapp.security.urlguard import OutboundPolicy

API_VERSION = "v1beta"
PAGE_SIZE = 1_000
ERROR_KIND_BY_FINISH: Mapping[str, str] = {
    "MAX_TOKENS": "truncated",
    "SAFETY": "refused",
    "RECITATION": "refused",
    "BLOCKLIST": "refused",
    "PROHIBITED_CONTENT": "refused",
    "SPII": "refused",
    "MALFORMED_RESPONSE": "invalid_response",
}


class GeminiDriver(VendorDriver):
    """One key of Google's AI Studio, never Vertex, whatever the environment says."""

    def __init__(self, endpoint: Endpoint, policy: OutboundPolicy):
        super().__init__(endpoint)
        # A header of that name is passed on by redirects to other hosts; none is followed here.
        headers = extra_headers(endpoint) | {"x-goog-api-key": key_of(endpoint)}
        self._sdk = genai.Client(
            api_key="unused",  # The key is only in the transport's headers.
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=allowed_base_url(endpoint, policy),
                api_version=API_VERSION,
                httpx_client=create_client(policy, headers),
                httpx_async_client=create_blocked_client(),
            ),
        )

    def options(self, request: ChatRequest) -> dict[str, Any]:
        config: dict[str, Any] = {
            "system_instruction": request.system,
            "max_output_tokens": request.max_output_tokens,
            "automatic_continuation": False,  # On by default, and without an end.
            "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
        }
        if request.temperature is not None:
            config["temperature"] = request.temperature
        if request.json_schema is not None:
            config |= {"response_mime_type": "application/json", "response_json_schema": dict(request.json_schema)}
        return {"model": request.model, "contents": request.user, "config": types.GenerateContentConfig(**config)}

    def send(self, options: dict[str, Any]) -> object:
        return self._sdk.models.generate_content(**options)

    def parse_reply(self, answer: object, trace: Trace) -> ChatReply:
        if not isinstance(answer, types.GenerateContentResponse):
            raise DriverError("invalid_response", trace=trace)
        usage = _reported_usage(answer.usage_metadata)
        if not answer.candidates:
            blocked = answer.prompt_feedback is not None and answer.prompt_feedback.block_reason is not None
            # An empty body, a list and an error with status 200 all arrive here as an answer without anything in it.
            silent = usage is None and answer.model_version is None and answer.response_id is None
            raise DriverError("refused" if blocked else "invalid_response" if silent else "empty", trace=trace, usage=usage)
        candidate = answer.candidates[0]
        parts = (candidate.content.parts if candidate.content else None) or []
        words = "".join(filter_texts(part.text for part in parts if not part.thought))
        finish = candidate.finish_reason.name if candidate.finish_reason else "unknown"
        kind = ERROR_KIND_BY_FINISH.get(finish)
        return build_reply(words, finish, usage, trace, kind=kind, model=answer.model_version)

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        return [_upstream_model(one) for one in self._sdk.models.list(config={"page_size": PAGE_SIZE}) if isinstance(one.name, str)]

    def close(self) -> None:
        self._sdk.close()


def _upstream_model(one: types.Model) -> UpstreamModel:
    name = (one.name or "").removeprefix("models/")
    return UpstreamModel(name, one.display_name, count_or_none(one.input_token_limit), count_or_none(one.output_token_limit))


def _reported_usage(reported: types.GenerateContentResponseUsageMetadata | None) -> Usage | None:
    """Their output leaves out the thoughts; ours counts them."""
    if reported is None:
        return None
    output = sum_or_none(reported.candidates_token_count, reported.thoughts_token_count)
    total: dict[str, object] = {"input": reported.prompt_token_count, "output": 0 if output is None else output}
    parts = {"cache_read": reported.cached_content_token_count or 0, "reasoning": reported.thoughts_token_count or 0}
    return usage_from(total, parts)


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `create_driver` calls."""
    return GeminiDriver(endpoint, policy)
