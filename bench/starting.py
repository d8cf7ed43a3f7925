"""Benchmarks of the start: seconds to the first response of one worker, its imports and its memory."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.harness import Row, within
from bench.litellm_process import ROOT
from bench.servers import modeldesk, wait_for
from bench.world import REF, Desk, environment_of

SDKS = ("openai", "anthropic", "google.genai", "mistralai", "ollama", "litellm", "genai_prices", "boto3", "tiktoken")
STARTS = 3


def rows(instance: Desk) -> Iterator[Row]:
    starts = [_start(instance) for _ in range(STARTS)]
    yield within("start of one worker to first answer", statistics.median(seconds for seconds, _ in starts), 1.5)
    yield within("resident memory of one worker, 3,000 models", statistics.median(memory for _, memory in starts), 120, unit="MB")
    imported = _imported(instance)
    yield Row("SDKs imported at start", ", ".join(imported) or "none", goal="none", met=not imported)


def _start(instance: Desk) -> tuple[float, float]:
    """Return the seconds from the process start to the first response, and the megabytes after 100 more."""
    start = time.perf_counter()
    with modeldesk(environment_of(instance.settings), workers=1) as server:
        wait_for(f"{server.url}/api/v1/models/{REF}", instance.token)
        seconds = time.perf_counter() - start
        for _ in range(100):
            wait_for(f"{server.url}/api/v1/models/{REF}", instance.token)
        (worker,) = server.workers()
        return seconds, worker.memory_info().rss / 1_000_000


def _imported(instance: Desk) -> list[str]:
    script = "import json, sys, wsgi; wsgi.app.test_client().get('/healthz'); print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment_of(instance.settings), capture_output=True, text=True, check=True
    )
    modules = set(json.loads(run.stdout.splitlines()[-1]))
    return [name for name in SDKS if name in modules]
