"""Driver for APIs with OpenAI's protocol, or nearly so. Rows configure headers, parameter names, a request template and response paths."""

from collections.abc import Mapping
from typing import Any

from webapp.domain.catalog.driver_config import fill_template, value_at
from webapp.domain.usage.formats import convert_meters
from webapp.drivers.core.base import ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace
from webapp.drivers.core.openai_compatible import JSON_OBJECT, CompatibleDriver
from webapp.drivers.core.vendor import build_reply
from webapp.security.urlguard import OutboundPolicy

CHAT_PATH = "/chat/completions"
USAGE_METERS = ("input", "output", "cache_read", "cache_write", "reasoning")
ERROR_KIND_BY_FINISH: Mapping[str, str] = {
    "length": "truncated",
    "max_tokens": "truncated",
    "content_filter": "refused",
    "refusal": "refused",
}


class CustomDriver(CompatibleDriver):
    """Without a template, sends OpenAI's requests with the changes in the row. Servers without a key are allowed."""

    json_mode = JSON_OBJECT  # Most servers support it. A row can choose json_schema or prompt.
    needs_key = False

    def options(self, request: ChatRequest) -> dict[str, Any]:
        template = self.endpoint.config.get("request_template")
        if not template:
            return super().options(request)
        values = {
            "model": request.model,
            "system": request.system,
            "user": request.user,
            "max_tokens": request.max_output_tokens,
            "temperature": request.temperature,
            "schema": dict(request.json_schema) if request.json_schema is not None else None,
        }
        return {"body": fill_template(template, values)}

    def send(self, options: dict[str, Any]) -> object:
        if "body" not in options:
            return super().send(options)
        path = str(self.endpoint.config.get("path") or CHAT_PATH)
        return self._sdk.post(path, body=options["body"], cast_to=object)

    def parse_reply(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        paths = self.endpoint.config.get("response_paths")
        if not self.endpoint.config.get("request_template"):
            return super().parse_reply(document, trace)
        if not isinstance(paths, Mapping):
            raise DriverError("invalid_response", trace=trace)
        values = {part: value_at(document, str(path)) for part, path in paths.items()}
        usage = self.redacted(convert_meters({meter: values.get(meter) for meter in USAGE_METERS}, values.get("model")))
        if values.get("text") is None:
            raise DriverError("invalid_response", trace=trace, usage=usage)
        finish = str(values.get("finish") or "unknown")
        return build_reply(values["text"], finish, usage, trace, kind=ERROR_KIND_BY_FINISH.get(finish))


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return CustomDriver(endpoint, policy)
