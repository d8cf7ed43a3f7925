"""Driver for Ollama on the official SDK. Ollama usually runs on this server, which the operator must allow. Loaded on first use."""

from collections.abc import Iterable, Mapping
from typing import Any

from ollama import Client

from webapp.drivers.core.base import ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.http import quiet_loggers
from webapp.drivers.core.http_old import HttpxTransport
from webapp.drivers.core.vendor import (
    VendorDriver,
    allowed_base_url,
    build_reply,
    extra_headers,
    key_of,
    model_entries,
    read_json,
    text_or_unknown,
)
from webapp.security.urlguard import OutboundPolicy

MAX_CONTEXT = 131_072  # Ollama reserves memory for all of it, so a model's own limit can be too much.


class OllamaDriver(VendorDriver):
    """Driver for one Ollama server. A key is needed only behind a gateway."""

    usage_format = "ollama"

    def __init__(self, endpoint: Endpoint, policy: OutboundPolicy):
        super().__init__(endpoint)
        quiet_loggers()
        key = key_of(endpoint, required=False)
        headers = extra_headers(endpoint) | ({"Authorization": f"Bearer {key}"} if key else {})
        self._sdk = Client(
            host=allowed_base_url(endpoint, policy),
            transport=HttpxTransport(policy, headers),
            timeout=None,
            trust_env=False,
            follow_redirects=False,
        )

    def options(self, request: ChatRequest) -> dict[str, Any]:
        tuning: dict[str, Any] = {"num_predict": request.max_output_tokens}
        if request.temperature is not None:
            tuning["temperature"] = request.temperature
        if request.context_window:  # Ollama's default is small, and it truncates longer requests silently.
            tuning["num_ctx"] = min(request.context_window, MAX_CONTEXT)
        messages = [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}]
        options: dict[str, Any] = {"model": request.model, "messages": messages, "options": tuning}
        return options | ({"format": dict(request.json_schema)} if request.json_schema is not None else {})

    def send(self, options: dict[str, Any]) -> object:
        return self._sdk.chat(**options)

    def parse_reply(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        message = document.get("message")
        if not isinstance(message, Mapping):
            raise DriverError("invalid_response", trace=trace)
        finish = text_or_unknown(document.get("done_reason"))
        kind = "truncated" if finish == "length" else None
        return build_reply(message.get("content"), finish, self.convert(document), trace, kind=kind)

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        document = read_json(self._sdk.list, trace)
        return (UpstreamModel(model["model"]) for model in model_entries(document, trace, "model"))

    def close(self) -> None:
        self._sdk.close()  # type: ignore[no-untyped-call] # The SDK does not annotate it.


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return OllamaDriver(endpoint, policy)
