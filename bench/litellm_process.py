"""LiteLLM in a separate process and environment, to keep its 58 packages out of the project's. It times itself, round by round."""

import json
import subprocess
from pathlib import Path
from types import TracebackType

from bench.harness import Subject

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".bench-venv" / "bin" / "python"


class LiteLLM:
    """Client of the LiteLLM process, over pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [PYTHON, "-m", "bench.litellm_peer"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def subject(self, name: str) -> Subject:
        return lambda count: self._ask(name, count)

    def _ask(self, name: str, count: int) -> float:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([name, count]) + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))

    def __enter__(self) -> "LiteLLM":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


def installed() -> bool:
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", "import litellm"], capture_output=True, check=False).returncode == 0
