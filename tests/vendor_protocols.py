"""Each vendor's wire protocol (a completion, an error, a model list, an unusable response) and what drivers must read from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fake_provider import ANSWER, KEY, MODELS, completion

from webapp.domain.pricing.usage import Usage

Json = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """The wire protocol of one driver. `finishes` has the vendor's codes for a complete response, a truncated one and a refusal."""

    driver: str
    prefix: str  # Path prefix of the base URL.
    chat_path: str
    list_path: str
    complete: Callable[..., Json]
    empty: Json
    models: Json | list
    usage: Usage | None
    key_header: tuple[str, str] = ("authorization", f"Bearer {KEY}")
    system: Callable[[Json], str] = lambda body: body["messages"][0]["content"]
    limit: Callable[[Json], int] = lambda body: body["max_tokens"]
    schema: Callable[[Json], object] = lambda body: body["response_format"]["json_schema"]["schema"]
    finishes: Mapping[str, str] = field(default_factory=lambda: {"whole": "stop", "cut": "length", "refused": "content_filter"})
    config: Mapping[str, Any] = field(default_factory=dict)
    invalid_key: tuple[int, Json] = (401, {"error": {"message": "Invalid key", "type": "invalid_request_error"}})
    error: Callable[[str], Json] = lambda message: {"error": {"message": message, "type": "t", "code": None, "param": None}}
    listed: tuple[str, ...] = ("m-1", "m-2")


def _openai(text: object = ANSWER, finish: str = "stop") -> Json:
    return completion(text, finish_reason=finish)


def _claude(text: object = ANSWER, finish: str = "end_turn") -> Json:
    usage = {
        "input_tokens": 30,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 10,
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 15},
    }
    content = [{"type": "text", "text": text}] if text else []
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-resolved",
        "content": content,
        "stop_reason": finish,
        "usage": usage,
    }


def _gemini(text: object = ANSWER, finish: str = "STOP") -> Json:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 25,
        "thoughtsTokenCount": 15,
        "totalTokenCount": 140,
    }
    parts = [{"text": "thinking aloud", "thought": True}, {"text": text}] if text else []
    candidates = [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}]
    return {"candidates": candidates, "usageMetadata": usage, "modelVersion": "m-resolved", "responseId": "r"}


def _ollama(text: object = ANSWER, finish: str = "stop") -> Json:
    return {
        "model": "m-resolved",
        "created_at": "2026-11-21T00:00:00Z",
        "message": {"role": "assistant", "content": text or ""},
        "done": True,
        "done_reason": finish,
        "prompt_eval_count": 100,
        "eval_count": 40,
    }


def _grok(text: object = ANSWER, finish: str = "stop") -> Json:
    body = completion(text, finish_reason=finish)
    body["usage"]["completion_tokens"] = 25  # Plus 15 reasoning tokens, which are reported separately.
    return body


FULL = Usage(input=100, cache_read=60, cache_write=10, output=40, reasoning=15)
OPENAI_EMPTY = completion() | {"choices": []}
MISTRAL_MODEL = {"object": "model", "created": 1, "owned_by": "x", "type": "base", "capabilities": {}}
TEMPLATE = {
    "model": "{{model}}",
    "prompt": "{{system}}\n\n{{user}}",
    "limit": "{{max_tokens}}",
    "heat": "{{temperature}}",
    "schema": "{{schema}}",
}
PATHS = {
    "text": "out.0.text",
    "finish": "out.0.why",
    "input": "used.in",
    "output": "used.out",
    "cache_read": "used.cached",
    "model": "name",
}


def _own(text: object = ANSWER, finish: str = "stop") -> Json:
    return {"name": "m-resolved", "out": [{"text": text, "why": finish}], "used": {"in": 100, "out": 40, "cached": 60}}


DIALECTS = {
    dialect.driver if not dialect.config.get("request_template") else "custom-template": dialect
    for dialect in (
        Dialect(
            "openai",
            "/v1",
            "/v1/chat/completions",
            "/v1/models",
            _openai,
            OPENAI_EMPTY,
            MODELS,
            FULL,
            limit=lambda body: body["max_completion_tokens"],
        ),
        Dialect(
            "grok",
            "/v1",
            "/v1/chat/completions",
            "/v1/models",
            _grok,
            OPENAI_EMPTY,
            MODELS,
            FULL,
            limit=lambda body: body["max_completion_tokens"],
            invalid_key=(400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xx***yy"}),
            error=lambda message: {"code": "it failed", "error": message},
        ),
        Dialect(
            "copilot",
            "",
            "/chat/completions",
            "/models",
            _openai,
            OPENAI_EMPTY,
            [{"id": name, "name": name.upper(), "limits": {"max_input_tokens": 1000, "max_output_tokens": 100}} for name in ("m-1", "m-2")],
            FULL,
        ),
        Dialect(
            "custom",
            "/v1",
            "/v1/chat/completions",
            "/v1/models",
            _openai,
            OPENAI_EMPTY,
            MODELS,
            FULL,
            key_header=("x-api-key", f"Token {KEY}"),
            config={"auth_header": "X-Api-Key", "auth_prefix": "Token", "json_mode": "json_schema"},
        ),
        Dialect(
            "custom",
            "/own",
            "/own/ask",
            "/own/models",
            _own,
            {"name": "m", "out": []},
            MODELS,
            Usage(input=100, cache_read=60, output=40),
            key_header=("authorization", KEY),
            system=lambda body: body["prompt"].split("\n\n")[0],
            limit=lambda body: body["limit"],
            schema=lambda body: body["schema"],
            config={"auth_prefix": "", "path": "/ask", "request_template": TEMPLATE, "response_paths": PATHS},
        ),
        Dialect(
            "claude",
            "",
            "/v1/messages",
            "/v1/models",
            _claude,
            _claude(""),
            {
                "data": [
                    {
                        "type": "model",
                        "id": name,
                        "display_name": name.upper(),
                        "created_at": "2026-01-01T00:00:00Z",
                        "max_input_tokens": 1000,
                        "max_tokens": 100,
                        "lifecycle": "active",
                    }
                    for name in ("m-1", "m-2")
                ],
                "has_more": False,
                "first_id": None,
                "last_id": None,
            },
            FULL,
            system=lambda body: body["system"],
            schema=lambda body: body["output_config"]["format"]["schema"],
            finishes={"whole": "end_turn", "cut": "max_tokens", "refused": "refusal"},
            error=lambda message: {"type": "error", "error": {"type": "t", "message": message}},
        ),
        Dialect(
            "gemini",
            "",
            "/v1beta/models/gpt-x:generateContent",
            "/v1beta/models",
            _gemini,
            {"usageMetadata": {"promptTokenCount": 1}, "modelVersion": "m", "responseId": "r"},
            {
                "models": [
                    {"name": f"models/{name}", "displayName": name.upper(), "inputTokenLimit": 1000, "outputTokenLimit": 100}
                    for name in ("m-1", "m-2")
                ]
            },
            Usage(input=100, cache_read=60, output=40, reasoning=15),
            key_header=("x-goog-api-key", KEY),
            system=lambda body: body["systemInstruction"]["parts"][0]["text"],
            limit=lambda body: body["generationConfig"]["maxOutputTokens"],
            schema=lambda body: body["generationConfig"]["responseJsonSchema"],
            finishes={"whole": "STOP", "cut": "MAX_TOKENS", "refused": "SAFETY"},
            invalid_key=(
                400,
                {
                    "error": {
                        "code": 400,
                        "message": "API key not valid.",
                        "status": "INVALID_ARGUMENT",
                        "details": [{"reason": "API_KEY_INVALID"}, {"detail": f"DebugInfo {KEY}"}],
                    }
                },
            ),
            error=lambda message: {"error": {"code": 500, "message": message, "status": "INTERNAL"}},
        ),
        Dialect(
            "mistral",
            "",
            "/v1/chat/completions",
            "/v1/models",
            _openai,
            OPENAI_EMPTY,
            {
                "object": "list",
                "data": [{"id": name, "name": name.upper(), "max_context_length": 1000} | MISTRAL_MODEL for name in ("m-1", "m-2")],
            },
            FULL,
            finishes={"whole": "stop", "cut": "length", "refused": ""},
            invalid_key=(401, {"detail": "Unauthorized"}),
            error=lambda message: {"object": "error", "message": message, "type": "t", "code": 1},
        ),
        Dialect(
            "ollama",
            "",
            "/api/chat",
            "/api/tags",
            _ollama,
            _ollama(""),
            {"models": [{"model": name, "name": name} for name in ("m-1", "m-2")]},
            Usage(input=100, output=40),
            limit=lambda body: body["options"]["num_predict"],
            schema=lambda body: body["format"],
            finishes={"whole": "stop", "cut": "length", "refused": ""},
            error=lambda message: {"error": message},
        ),
    )
}
