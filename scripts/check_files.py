"""Check files before a commit: none is too large, and every text file ends with a newline."""

import sys
from pathlib import Path

MAX_BYTES = 512_000
VENDORED = ("static/vendor/", "tests/browser/vendor/", "tests/data/", "docs/screenshots/")


def problem(path: Path) -> str | None:
    if path.as_posix().startswith(VENDORED):
        return None
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        return f"{path}: {len(data):,} bytes, at most {MAX_BYTES:,} are allowed"
    if data and b"\0" not in data and not data.endswith(b"\n"):
        return f"{path}: no line break at the end"
    return None


if __name__ == "__main__":
    problems = [line for name in sys.argv[1:] if (line := problem(Path(name)))]
    print(*problems, sep="\n", end="\n" if problems else "")
    sys.exit(1 if problems else 0)
