"""A fake provider on loopback that speaks OpenAI's protocol, or fails in the ways that a test requests."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from webapp.drivers.core.base import ChatRequest

KEY = "sk-CANARY-0123456789abcdef0123456789abcdef"
ASK = ChatRequest(model="gpt-x", system="Be brief.", user="What is wrong?", deadline_s=5.0)
ANSWER = '{"recommendations": [{"type": "disk", "priority": "high", "title": "T 漢字 🚒", "description": "D", "actions": ["A"]}]}'


def completion(text=ANSWER, **choice):
    message = {"role": "assistant", "content": text} | choice.pop("message", {})
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 15},
    }
    choices = [{"index": 0, "finish_reason": "stop", "message": message} | choice]
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m-resolved", "choices": choices, "usage": usage}


MODELS = {"object": "list", "data": [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in ("m-1", "m-2")]}


def reply(status=200, body=None, *, headers=None, length=None):
    """Return a handler that sends a response in one piece. `length` overrides Content-Length with a false value."""
    data = body if isinstance(body, bytes) else json.dumps(completion() if body is None else body).encode()

    def answer(handler):
        handler.send_response(status)
        defaults = {"Content-Type": "application/json", "Content-Length": length or len(data), "x-request-id": "req-7"}
        for name, value in (defaults | (headers or {})).items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = length is not None

    return answer


def error(status, message="it failed", *, headers=None, **extra):
    return reply(status, {"error": {"message": message, "type": "t", "param": None, "code": None} | extra}, headers=headers)


def after(seconds, answer):
    def slowly(handler):
        time.sleep(seconds)
        answer(handler)

    return slowly


def drip(handler):
    """Send the headers one byte at a time, so that no single read waits long."""
    handler.close_connection = True
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Padding: " + b"x" * 100:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.1)


def drip_body(handler):
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def endless(handler):
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
    for _ in range(1_000):
        handler.wfile.write(b" " * 10_000)


def hang_up(handler):
    handler.close_connection = True


class Upstream:
    """A fake provider's server. It sends `answers` in order and repeats the last one. `requests` records what it received."""

    def __init__(self, host="127.0.0.1"):
        self.requests: list[tuple[str, str, dict[str, str], dict]] = []
        self.accepted = 0
        self.answers: list[Callable] = [reply()]
        self._server = _Server((host, 0), _Handler)
        self._server.upstream = self
        self.host, self.port = self._server.server_address[:2]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def place(self):
        return f"{self.host}:{self.port}"

    @property
    def base_url(self):
        return f"http://{self.place}/v1"

    def says(self, *answers):
        self.answers = list(answers)
        return self

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def get_request(self):
        self.upstream.accepted += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        """Ignore errors: the clients of these tests hang up on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = self.server.upstream
        headers = {name.lower(): value for name, value in self.headers.items()}
        upstream.requests.append((self.command, self.path, headers, json.loads(body) if body else {}))
        self.wfile = _Flushing(self.wfile)
        upstream.answers[min(len(upstream.requests), len(upstream.answers)) - 1](self)

    do_GET = do_POST  # noqa: N815 - http.server requires this name


class _Flushing:
    def __init__(self, inner):
        self._inner = inner

    def write(self, data):
        self._inner.write(data)
        self._inner.flush()

    def __getattr__(self, name):
        return getattr(self._inner, name)
