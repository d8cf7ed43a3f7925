"""The drivers against an independent mock server: @copilotkit/aimock implements the vendors' protocols on its own.

It does not support, and these tests do not cover, request ids of anthropic, cached and reasoning tokens, counts of ollama, and lists of
gemini.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import replace

import pytest

from webapp.config.settings import ROOT
from webapp.domain.incidents.answer_schema import RESPONSE_SCHEMA, SCHEMA_NAME, parse_recommendations
from webapp.domain.pricing.usage import Usage
from webapp.drivers import create_driver
from webapp.drivers.core.base import ChatRequest, DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy

pytestmark = pytest.mark.aimock
SERVER = ROOT / "node_modules/@copilotkit/aimock/dist/cli.js"
ANSWER = json.dumps({"recommendations": [{"type": "disk", "priority": "high", "title": "T", "description": "Full 漢字", "actions": ["A"]}]})
PATHS = {"openai": "/v1", "grok": "/v1", "custom": "/v1", "copilot": "", "claude": "", "gemini": "", "mistral": "", "ollama": ""}
LISTS = ("openai", "grok", "custom", "ollama", "claude", "mistral")
FIXTURES = [
    {"match": {"userMessage": "happy"}, "response": {"content": ANSWER, "usage": {"prompt_tokens": 120, "completion_tokens": 30}}},
    {"match": {"userMessage": "fenced"}, "response": {"content": f"```json\n{ANSWER}\n```"}},
    {"match": {"userMessage": "too long"}, "response": {"content": "cut of", "finishReason": "length"}},
    *(
        {"match": {"userMessage": f"status {status}"}, "response": {"error": {"message": "no", "type": "t"}, "status": status}}
        for status in (401, 403, 404, 500, 503, 529)
    ),
    {"match": {"userMessage": "status 429"}, "response": {"error": {"message": "slow", "type": "t"}, "status": 429, "retryAfter": 77}},
    {"match": {"userMessage": "slow"}, "response": {"content": ANSWER}, "chaos": {"latencyMs": 3000}},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    node = shutil.which("node")
    if node is None or not SERVER.exists():
        pytest.skip("node or @copilotkit/aimock is not installed (npm ci installs it)")
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "all.json").write_text(json.dumps({"fixtures": FIXTURES}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [node, str(SERVER), "-p", str(port), "-f", str(folder), "--log-level", "warn", "--strict"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(port, folder / "log", server)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _wait(port, log, server) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the mock server did not start: {log.read_text()[-500:]}")


@pytest.fixture(params=PATHS)
def driver(request, place):
    name = request.param
    endpoint = Endpoint("mock", name, f"http://{place}{PATHS[name]}", "sk-mock-0123456789", timeout_s=10.0)
    mock_driver = create_driver(endpoint, OutboundPolicy(frozenset({place})))
    yield mock_driver
    mock_driver.close()


def question(text: str, **more) -> ChatRequest:
    return ChatRequest("gpt-mock", "Be brief.", text, json_schema=RESPONSE_SCHEMA, schema_name=SCHEMA_NAME, deadline_s=10.0, **more)


def journal(place) -> list[dict]:
    with urllib.request.urlopen(f"http://{place}/__aimock/journal?limit=1", timeout=5) as response:
        document = json.load(response)
    return document if isinstance(document, list) else document["entries"]


def test_an_answer_arrives_whole_with_its_usage(driver, place):
    answer = driver.chat(question("happy"))
    assert parse_recommendations(answer.text)[0].description == "Full 漢字"
    if driver.endpoint.driver != "ollama":
        assert answer.usage == Usage(input=120, output=30)
    assert "sk-mock-0123456789" not in json.dumps(journal(place))  # The mock saw the key only in its header, where it is masked.


def test_a_fenced_answer_is_read(driver):
    assert parse_recommendations(driver.chat(question("fenced")).text)[0].type == "disk"


def test_an_answer_that_is_too_long_is_cut_off(driver):
    if driver.endpoint.driver == "ollama":
        pytest.skip("aimock always says stop for ollama")
    with pytest.raises(DriverError) as caught:
        driver.chat(question("too long"))
    assert caught.value.kind == "truncated"


KINDS = {401: "auth", 403: "permission", 404: "not_found", 429: "rate_limited", 500: "server_error", 503: "overloaded", 529: "overloaded"}


@pytest.mark.parametrize(("status", "kind"), KINDS.items())
def test_a_status_becomes_its_kind(driver, status, kind):
    with pytest.raises(DriverError) as caught:
        driver.chat(question(f"status {status}"))
    assert (caught.value.kind, caught.value.http_status) == (kind, status)
    if status == 429:
        assert caught.value.retry_after == 77


def test_a_slow_answer_is_not_waited_for(driver):
    started = time.monotonic()
    with pytest.raises(DriverError) as caught:
        driver.chat(replace(question("slow"), deadline_s=0.7))
    assert (caught.value.kind, time.monotonic() - started < 2.5) == ("timeout", True)


def test_models_are_listed_where_the_mock_lists_them(driver):
    if driver.endpoint.driver not in LISTS:
        pytest.skip(f"aimock lists no models for {driver.endpoint.driver}")
    check = driver.check()
    assert (check.ok, check.how) == (True, "listed"), check.detail
