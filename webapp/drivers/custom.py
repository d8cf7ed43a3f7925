"""Any API that speaks OpenAI's protocol, or nearly so, by rows alone: headers, names of parameters, a request template, answer paths."""

from collections.abc import Mapping
from typing import Any

from webapp.domain.catalog.driver_config import fill_template, value_at
from webapp.drivers.core.base import ChatReply, ChatRequest, Driver, DriverError, Endpoint, Trace
from webapp.drivers.core.openai_compatible import JSON_OBJECT, CompatibleDriver
from webapp.drivers.core.vendor import build_reply, usage_from
from webapp.security.urlguard import OutboundPolicy

CHAT_PATH = "/chat/completions"
USAGE_PARTS = ("cache_read", "cache_write", "reasoning")
ERROR_KIND_BY_FINISH: Mapping[str, str] = {
    "length": "truncated",
    "max_tokens": "truncated",
    "content_filter": "refused",
    "refusal": "refused",
}


class CustomDriver(CompatibleDriver):
    """Without a template it is asked like OpenAI, with what the row says otherwise; keyless servers are allowed."""

    json_mode = JSON_OBJECT  # What most servers understand; a row may say json_schema or prompt.
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

    def parse_reply(self, answer: object, trace: Trace) -> ChatReply:
        paths = self.endpoint.config.get("response_paths")
        if not self.endpoint.config.get("request_template"):
            return super().parse_reply(answer, trace)
        if not isinstance(answer, Mapping) or not isinstance(paths, Mapping):
            raise DriverError("invalid_response", trace=trace)
        told = {part: value_at(answer, str(path)) for part, path in paths.items()}
        usage = usage_from(
            {"input": told.get("input"), "output": told.get("output")},
            {part: told[part] for part in USAGE_PARTS if told.get(part) is not None},
        )
        if told.get("text") is None:
            raise DriverError("invalid_response", trace=trace, usage=usage)
        finish = str(told.get("finish") or "unknown")
        return build_reply(told["text"], finish, usage, trace, kind=ERROR_KIND_BY_FINISH.get(finish), model=told.get("model"))


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `create_driver` calls."""
    return CustomDriver(endpoint, policy)
