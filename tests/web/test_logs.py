"""Logs: JSON lines with the request id, an optional access log, and no secrets."""

import json
import logging
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

import pytest
from environment import SECRET_KEY, api_for, running, settings_for
from serving import serving

from webapp.config.sqlite_driver import LIBRARY, is_wal_safe
from webapp.extensions.database_file import journal_mode
from webapp.extensions.engine import journal_reason
from webapp.observability import logs
from webapp.observability.logs import JsonFormatter
from webapp.security.redaction import log_redactor

CANARY = "sk-CANARY-77f3a1c2d4e5b6a7"


@contextmanager
def written():
    """Collect the parsed log lines that would go to standard error."""
    lines: list[dict] = []

    class Keeps(logging.Handler):
        def emit(self, record):
            lines.append(json.loads(self.format(record)))

    handler = Keeps()
    handler.setFormatter(JsonFormatter(log_redactor(SECRET_KEY)))
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def server_log(templates, tmp_path_factory) -> str:
    """Return the log of a server that tries to log every secret."""
    folder = tmp_path_factory.mktemp("talkative")
    database = folder / "desk.sqlite3"
    database.write_bytes(templates[True].read_bytes())
    settings = settings_for(f"sqlite:///{database}", folder)
    with serving(settings, folder, workers=1, application="web.secret_logging_app:app", CANARY=CANARY) as served:
        assert (get(served.port, "/talk"), get(served.port, f"/raise?key={CANARY}&x=y")) == (404, 500)
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/healthz"):
            return served.log.read_text()


def test_t20_the_log_of_a_served_desk_is_lines_of_json_without_what_was_said_to_it(server_log):
    lines = [json.loads(line) for line in server_log.splitlines() if not line.startswith("Modeldesk serves on")]
    messages = {(line["logger"], line["message"]) for line in lines}
    for name in ("webapp.services.runs.connection_tests", "a.library", "_granian"):
        assert {
            (name, "answered to ***"),
            (name, "asked <url>"),
            (name, "could not answer /runs?…"),
            (name, "%d words are no number, and Bearer %s is told"),
            (name, "our own secret is ***"),
        } <= messages
    assert {line["error"] for line in lines if line["message"] == "it failed"} == {"RuntimeError"}
    assert ("webapp.server.adapter", "a request failed outside of the error handlers: RuntimeError") in messages
    assert [secret for secret in (CANARY, SECRET_KEY) if secret in server_log] == []


def test_a_start_says_which_sqlite_runs_in_which_journal_mode_and_why(server_log):
    mode = journal_mode(wal=True)
    assert f"{LIBRARY}: journal mode {mode}, because {journal_reason(mode)}" in server_log


def test_t24_a_served_desk_that_is_locked_says_so_in_its_log(templates, tmp_path):
    database = tmp_path / "desk.sqlite3"
    database.write_bytes(templates[True].read_bytes())
    with serving(replace(settings_for(f"sqlite:///{database}", tmp_path), encryption_keys=None), tmp_path, workers=1) as served:
        lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    assert [line["message"].partition(":")[0] for line in lines if line["logger"] == "webapp.start"] == ["keys are locked"]


@pytest.mark.parametrize(
    ("version", "is_safe"),
    [((3, 40, 1), False), ((3, 51, 2), False), ((3, 51, 3), True), ((3, 52, 0), False), ((3, 52, 1), False), ((3, 53, 0), True)],
)
def test_wal_is_used_only_with_a_version_of_sqlite_in_which_it_is_safe(version, is_safe):
    assert is_wal_safe(version) is is_safe


def test_each_line_of_a_request_has_its_number(client):
    with written() as lines:
        responses = [client.post("/login", data=form(client)) for _ in range(2)]
    request_ids = [line["request_id"] for line in lines if "was refused" in line["message"]]
    assert request_ids == [response.headers["X-Request-Id"] for response in responses]
    assert len(set(request_ids)) == 2


def form(client) -> dict[str, str]:
    token = client.get("/login").text.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    return {"csrf_token": token, "email": "ann@example.com", "password": "not hers, by far"}


def test_t20_a_line_for_each_request_names_its_place_and_nothing_that_was_sent(settings):
    secret = "hunter2-hunter2-hunter2"
    for app in running(replace(settings, access_log=True)):
        api = api_for(app, "registry:read")
        with written() as lines:
            responses = [
                api.get("/models/openai/gpt-4o"),
                api.post("/cost", {"model": "openai/gpt-4o", "usage": {"input": 1}}),
                api.get(f"/models?q={secret}"),
                app.test_client().get(f"/setup/{secret}"),
                app.test_client().get(f"/{secret}?x={secret}"),
                app.test_client().post("/login", data={"email": secret}, headers={"User-Agent": secret}),
            ]
        request_lines = [line for line in lines if line["message"] == "request"]
        assert [(line["method"], line["route"], line["status"]) for line in request_lines] == [
            ("GET", "/api/v1/models/<path:ref>", 200),
            ("POST", "/api/v1/cost", 200),
            ("GET", "/api/v1/models", 200),
            ("GET", "/setup/<secret>", responses[3].status_code),
            ("GET", "no such address", 404),
            ("POST", "/login", 400),
        ]
        assert [line["request_id"] for line in request_lines] == [response.headers["X-Request-Id"] for response in responses]
        assert all(0 <= line["ms"] < 60_000 and line["level"] == "info" for line in request_lines)
        assert secret not in json.dumps(lines)


def test_no_line_is_written_for_a_request_unless_that_is_asked_for(client):
    with written() as lines:
        client.get("/login")
    assert lines == []


def test_configuring_twice_writes_each_line_once():
    for _ in range(2):
        logs.configure(log_redactor())
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler.formatter, JsonFormatter)]
    assert len(handlers) == 1
