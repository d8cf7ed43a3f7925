"""Run all benchmarks, print one table and write bench/results.json (`make bench`)."""

import argparse
import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import building, costs, lookups, pages, serving, staleness, starting
from bench.harness import FULL, QUICK, Pace, Row
from bench.litellm_process import LiteLLM, installed
from bench.world import on_sqlite

RESULTS = Path(__file__).with_name("results.json")
GROUPS = ("lookups", "costs", "growth", "building", "batch", "pages", "starting", "serving", "staleness")
SIZE = 3_000


def main() -> int:
    arguments = _arguments()
    rows = []
    for row in _rows(set(arguments.only or GROUPS), QUICK if arguments.quick else FULL):
        rows.append(row)
        print(f"  {row.what}: {row.ours}", file=sys.stderr, flush=True)
    print(table(rows))
    result = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "quick": arguments.quick}
    RESULTS.write_text(json.dumps(result | {"rows": [asdict(row) for row in rows]}, indent=2) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: everything once, no figure to be trusted")
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="some groups of rows only")
    return parser.parse_args()


def _rows(groups: set[str], pace: Pace) -> Iterator[Row]:
    quick = pace is QUICK
    with contextlib.ExitStack() as stack:
        litellm = stack.enter_context(LiteLLM()) if groups & {"lookups", "costs"} and installed() else None
        if "lookups" in groups:
            yield from lookups.rows(pace, litellm)
        if "costs" in groups:
            yield from costs.rows(pace, litellm)
    if "growth" in groups:
        yield from lookups.growth_rows(pace)
    if groups & {"building", "batch", "pages", "starting", "serving", "staleness"}:
        yield from _rows_of_a_desk(groups, pace, quick=quick)


def _rows_of_a_desk(groups: set[str], pace: Pace, *, quick: bool) -> Iterator[Row]:
    with on_sqlite(SIZE) as instance:
        if "building" in groups:
            yield from building.rows(Pace(max(3, pace.rounds // 3), pace.seconds), SIZE, instance)
        if "batch" in groups:
            yield costs.batch_row(pace, instance)
        if "pages" in groups:
            yield from pages.rows(pace, instance, huge=not quick)
        if "starting" in groups:
            yield from starting.rows(instance)
        if "serving" in groups:
            yield from serving.rows(instance, rounds=1 if quick else 3, seconds=1 if quick else 5)
        if "staleness" in groups:
            yield staleness.row(instance, changes=5 if quick else 100)


def table(rows: list[Row]) -> str:
    """Format the rows as a table with aligned columns."""
    verdict = {True: "yes", False: "NO", None: "-"}
    cells = [("what", "ours", "peer", "ratio", "goal", "met?")]
    cells += [(row.what, row.ours, row.peer, "" if row.ratio is None else f"{row.ratio:.2f}", row.goal, verdict[row.met]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
