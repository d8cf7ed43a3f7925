"""Driver for Google's Gemini on the official SDK. Loaded on first use, because the SDK takes a second or two to import."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from google import genai
from google.genai import types

from webapp.drivers.core.base import ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace, UpstreamModel
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
    """Driver for one key of Google's AI Studio. It never uses Vertex, whatever the environment says."""

    usage_format = "gemini"

    def __init__(self, endpoint: Endpoint, policy: OutboundPolicy):
        super().__init__(endpoint)
        # Redirects would pass this header on to other hosts, but none is followed here.
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
            "automatic_continuation": False,  # On by default, and unlimited.
            "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
        }
        if request.temperature is not None:
            config["temperature"] = request.temperature
        if request.json_schema is not None:
            config |= {"response_mime_type": "application/json", "response_json_schema": dict(request.json_schema)}
        return {"model": request.model, "contents": request.user, "config": types.GenerateContentConfig(**config)}

    def send(self, options: dict[str, Any]) -> object:
        return self._sdk.models.generate_content(**options)

    def parse_reply(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        usage = self.convert(document)
        candidates = document.get("candidates")
        if not candidates or not isinstance(candidates, list):
            blocked = as_mapping(document.get("promptFeedback")).get("blockReason")
            # A response without any of these is not one of Gemini's.
            is_empty = usage.usage is None and document.get("modelVersion") is None and document.get("responseId") is None
            raise DriverError("refused" if blocked else "invalid_response" if is_empty else "empty", trace=trace, usage=usage)
        candidate = first_mapping(candidates)
        parts = as_mapping(candidate.get("content")).get("parts")
        texts = [part for part in parts if not as_mapping(part).get("thought")] if isinstance(parts, list) else []
        finish = text_or_unknown(candidate.get("finishReason"))
        return build_reply(texts, finish, usage, trace, kind=ERROR_KIND_BY_FINISH.get(finish))

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        config = types.ListModelsConfig(page_size=PAGE_SIZE)
        while True:
            document = read_json(partial(self._sdk.models.list, config=config), trace)
            # An empty list of Gemini's is an object without fields.
            yield from map(_upstream_model, model_entries(document or [], trace, "name"))
            token = as_mapping(document).get("nextPageToken")
            if not token or not isinstance(token, str):
                return
            config = types.ListModelsConfig(page_size=PAGE_SIZE, page_token=token)

    def close(self) -> None:
        self._sdk.close()


def _upstream_model(model: Mapping[str, Any]) -> UpstreamModel:
    label = model.get("displayName")
    return UpstreamModel(
        model["name"].removeprefix("models/"),
        label if isinstance(label, str) else None,
        count_or_none(model.get("inputTokenLimit")),
        count_or_none(model.get("outputTokenLimit")),
    )


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return GeminiDriver(endpoint, policy)
