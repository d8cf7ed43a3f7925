"""OpenAI's chat completions on the official SDK. Loaded on first use, because the SDK takes a second or two to import."""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import openai
import openai.resources.chat.completions  # Loaded lazily by the SDK otherwise: inside the deadline of the first call.
import openai.resources.models
from openai.types.chat import ChatCompletion

from webapp.domain.errors import Invalid
from webapp.domain.usage import Usage
from webapp.drivers.base import (
    CHECK_DEADLINE_S,
    SENTENCES,
    ChatReply,
    ChatRequest,
    CheckResult,
    Driver,
    DriverError,
    Endpoint,
    Trace,
    UpstreamModel,
)
from webapp.drivers.failures import Guard
from webapp.drivers.http import LIST_BYTES, client
from webapp.security.urlguard import OutboundPolicy

TOKEN_PARAMETERS = ("max_completion_tokens", "max_tokens")
MAX_MODELS = 5_000
_KEY = re.compile(r"[\x21-\x7e]{1,4096}")


class OpenAIDriver:
    """One endpoint that speaks OpenAI's protocol."""

    def __init__(self, endpoint: Endpoint, policy: OutboundPolicy):
        key = endpoint.api_key or ""
        if not _KEY.fullmatch(key):
            problem = "holds spaces or characters that cannot be sent" if key else "is missing"
            raise DriverError("config", f"The key of this provider {problem}: enter it again.")
        self._guard = Guard((key,))
        self._timeout_s = endpoint.timeout_s
        self._sdk = openai.OpenAI(
            # The key is only in the transport's headers: the SDK and its exceptions never hold it.
            api_key="unused",
            organization="",
            project="",
            base_url=_checked(endpoint.base_url, policy),
            http_client=client(policy, {"Authorization": f"Bearer {key}"}),
            max_retries=0,
        )

    def chat(self, request: ChatRequest) -> ChatReply:
        options = _options(request)

        def ask(trace: Trace, attempt: int) -> ChatReply:
            started = time.monotonic()
            completion = self._sdk.chat.completions.create(**options)
            reply = _reply(completion, trace)
            return replace(reply, latency_ms=round(1000 * (time.monotonic() - started)), attempts=attempt)

        return self._guard.retrying(ask, request.deadline_s)

    def list_models(self) -> tuple[UpstreamModel, ...]:
        def ask(trace: Trace) -> tuple[UpstreamModel, ...]:
            listed: object = self._sdk.models.list().data
            if not isinstance(listed, list):
                raise DriverError("invalid_response", trace=trace)
            names = (getattr(model, "id", None) for model in listed[:MAX_MODELS])
            return tuple(UpstreamModel(name) for name in names if isinstance(name, str) and 0 < len(name) <= 300)

        deadline = time.monotonic() + min(self._timeout_s, CHECK_DEADLINE_S)
        return self._guard.run(ask, deadline, LIST_BYTES)

    def check(self) -> CheckResult:
        started = time.monotonic()
        try:
            models = len(self.list_models())
        except DriverError as exc:
            return CheckResult(False, exc.detail, exc.kind, None, _since(started), exc.request_id)
        return CheckResult(True, f"Address and key work; the provider lists {models} models.", None, models, _since(started))

    def close(self) -> None:
        self._sdk.close()


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `driver_for` calls."""
    return OpenAIDriver(endpoint, policy)


def _checked(base_url: str | None, policy: OutboundPolicy) -> str:
    try:
        policy.check_url(base_url or "")
    except Invalid as exc:
        detail = exc.detail
    else:
        return base_url or ""
    raise DriverError("config", detail)


def _options(request: ChatRequest) -> dict[str, Any]:
    parameter = request.token_parameter or TOKEN_PARAMETERS[0]
    if parameter not in TOKEN_PARAMETERS:
        raise DriverError("config", f"The limit of output tokens must be named {' or '.join(TOKEN_PARAMETERS)} in the model's settings.")
    options: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
        parameter: request.max_output_tokens,
    }
    if request.temperature is not None:
        options["temperature"] = request.temperature
    if request.json_schema is not None:
        schema = {"name": request.schema_name, "schema": dict(request.json_schema), "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    return options


def _reply(completion: object, trace: Trace) -> ChatReply:
    """The answer, or the `DriverError` that says why there is none. The SDK checks nothing: anything may be of any type."""
    if not isinstance(completion, ChatCompletion) or not isinstance(cast(object, completion.choices), list):
        raise DriverError("invalid_response", trace=trace)
    usage = usage_of(completion.usage.to_dict() if completion.usage else None)
    if not completion.choices:
        raise DriverError("empty", trace=trace, usage=usage)
    choice = completion.choices[0]
    text = choice.message.content if isinstance(choice.message.content, str) else ""
    refused = choice.message.refusal or choice.finish_reason == "content_filter"
    kind = "refused" if refused else "truncated" if choice.finish_reason == "length" else "" if text.strip() else "empty"
    if kind:
        raise DriverError(kind, SENTENCES[kind], trace=trace, usage=usage)
    return ChatReply(
        text=text,
        finish=str(choice.finish_reason or "unknown")[:40],
        usage=usage,
        model_reported=completion.model[:300] if isinstance(cast(object, completion.model), str) else None,
        request_id=trace.request_id,
        http_status=trace.status or 0,
        latency_ms=0,
        attempts=1,
    )


def usage_of(reported: object) -> Usage | None:
    """Their usage in our meters: their totals include cache and reasoning, as ours do. None if the totals are not told."""
    if not isinstance(reported, Mapping):
        return None
    total = {"input": reported.get("prompt_tokens"), "output": reported.get("completion_tokens")}
    prompt, answer = reported.get("prompt_tokens_details"), reported.get("completion_tokens_details")
    parts = {
        "cache_read": _detail(prompt, "cached_tokens"),
        "cache_write": _detail(prompt, "cache_write_tokens"),
        "reasoning": _detail(answer, "reasoning_tokens"),
    }
    # Parts that contradict their totals are not believed; the totals still are.
    return _usage(total | parts) or _usage(total)


def _usage(quantities: Mapping[str, object]) -> Usage | None:
    try:
        return Usage.of(quantities)
    except Invalid:
        return None


def _detail(details: object, name: str) -> object:
    return (details.get(name) or 0) if isinstance(details, Mapping) else 0


def _since(started: float) -> int:
    return round(1000 * (time.monotonic() - started))
