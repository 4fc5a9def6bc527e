"""``make bench``: start a stack, measure, print a table and write build/bench.json. Exit code 1 if a goal is missed."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Row
from deployments.local.stack import Stack

OUT = Path("build/bench.json")
ALL = (
    "publish", "gateway", "replay", "pile", "correct", "backfill", "columns", "planner", "memory", "moves", "generate",
)  # fmt: skip


def main() -> int:
    """Run all benchmarks, or those whose module is named on the command line."""
    wanted = sys.argv[1:] or ALL
    console = Console()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="redrive-bench-") as folder, Stack(folder, "free", prefect=False) as stack:
        os.environ.update(stack.environment())
        for name in wanted:
            console.print(f"measuring {name} …")
            module = __import__(f"bench.{name}", fromlist=["rows"])
            rows += module.rows(Path(folder) / "bench")
    table = Table("what", "ours", "peer", "ratio", "goal", "holds")
    for row in rows:
        table.add_row(
            row.name, f"{row.ours:,.0f}", f"{row.peer:,.0f}", f"{row.ratio:.2f}", row.goal, "yes" if row.holds else "NO"
        )
    console.print(table)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([row.as_json() for row in rows], indent=1))
    console.print(f"written to {OUT}")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
