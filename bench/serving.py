"""Benchmarks over HTTP: two endpoints, alternating with a bare Flask view that returns the same bytes on gunicorn."""

import contextlib
import json
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.costs import METERS
from bench.harness import Row, skipped
from bench.servers import Server, gunicorn, modeldesk, wait_for
from bench.world import REF, Desk, environment_of

CONNECTIONS = 8
GET = f"/api/v1/models/{REF}"
POST = "/api/v1/cost"


@dataclass(frozen=True, slots=True)
class Load:
    """A wrk load for one server."""

    server: Server
    path: str
    script: Path

    def run(self, seconds: int) -> tuple[float, float]:
        """Return requests per second, and CPU seconds of the workers per 1,000 requests."""
        before = self.server.cpu_seconds()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(self.script), self.server.url + self.path]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent = self.server.cpu_seconds() - before
        assert "Non-2xx" not in report, report
        requests = _figure(r"([0-9]+) requests in", report)
        return _figure(r"Requests/sec:\s+([0-9.]+)", report), 1_000 * spent / requests


def _figure(pattern: str, report: str) -> float:
    match = re.search(pattern, report)
    assert match, report
    return float(match[1])


def rows(instance: Desk, *, rounds: int, seconds: int) -> Iterator[Row]:
    goals = {f"GET {GET}": 3.0, f"POST {POST}": 2.0}
    if not shutil.which("wrk"):
        for what, minimum in goals.items():
            yield skipped(what, "wrk not installed", f">= {minimum:.0%} of bare")
        return
    request_body = json.dumps({"model": REF, "usage": METERS})
    with modeldesk(environment_of(instance.settings)) as ours, contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for path, body in ((GET, None), (POST, request_body)):
            what = f"{'POST' if body else 'GET'} {path}"
            script = _script(folder, instance.token, body)
            response = _answer(ours, path, instance.token, body)
            with _bare(folder, response) as bare:
                loads = {"ours": Load(ours, path, script), "bare": Load(bare, "/", script)}
                yield from _compared(what, _measured(loads, rounds, seconds), goals[what])


def _measured(loads: Mapping[str, Load], rounds: int, seconds: int) -> dict[str, tuple[float, float]]:
    for load in loads.values():
        load.run(1)
    results = [{name: load.run(seconds) for name, load in loads.items()} for _ in range(rounds)]
    return {
        name: (statistics.median(result[name][0] for result in results), statistics.median(result[name][1] for result in results))
        for name in loads
    }


def _compared(what: str, results: dict[str, tuple[float, float]], minimum: float) -> Iterator[Row]:
    (rate, cpu), (bare_rate, bare_cpu) = results["ours"], results["bare"]
    goal = f">= {minimum:.0%} of bare"
    yield Row(f"{what}, requests/s", f"{rate:,.0f}", f"{bare_rate:,.0f} bare Flask", rate / bare_rate, goal, rate / bare_rate >= minimum)
    share = bare_cpu / cpu
    yield Row(f"{what}, CPU s per 1,000", f"{cpu:.3f}", f"{bare_cpu:.3f} bare Flask", share, goal, share >= minimum)


def _script(folder: Path, token: str, body: str | None) -> Path:
    """Write the request as a wrk script."""
    lines = [f'wrk.headers["Authorization"] = "Bearer {token}"']
    if body is not None:
        lines += ['wrk.method = "POST"', f"wrk.body = {json.dumps(body)}", 'wrk.headers["Content-Type"] = "application/json"']
    path = folder / ("post.lua" if body else "get.lua")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _answer(server: Server, path: str, token: str, body: str | None) -> bytes:
    wait_for(server.url + GET, token)
    return wait_for(server.url + path, token, body=body)


@contextlib.contextmanager
def _bare(folder: Path, response: bytes) -> Iterator[Server]:
    body = folder / "body.json"
    body.write_bytes(response)
    with gunicorn("bench.bare:app", {"BENCH_BODY": str(body), "PYTHONPATH": "."}) as server:
        assert wait_for(server.url + "/") == response
        yield server
