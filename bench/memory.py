"""Memory of a replay: ten times the backlog must not take more of it. Each replay is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.measure import Row, compare
from bench.platform import Bench
from redrive.standby.drain import drain

SMALL, LARGE = 200_000, 2_000_000


def rows(folder: Path) -> list[Row]:
    """Return the row about memory."""
    return [
        compare(
            f"peak memory of a replay of {LARGE:,} events beside one of {SMALL:,} (MB)",
            lambda: peak(folder, LARGE),
            lambda: peak(folder, SMALL),
            at_most=1.2,
            runs=1,
        )
    ]


def peak(folder: Path, events: int) -> float:
    """Replay a backlog of this many events in a new process; return its peak resident memory in MB."""
    bench = Bench(folder)
    bench.fill(events)
    run = subprocess.run(
        [sys.executable, "-m", "bench.memory", str(bench.settings), bench.topic],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout.split()[-1])


def _replay(settings: str, topic: str) -> None:
    from redrive.config import Config
    from redrive.standby.lanes import Lane

    config = Config.load(settings)
    for number in range(6):
        drain(config, Lane("local", topic, number), operation="memory")
    print(_peak())


def _peak() -> float:
    """Return this process's peak resident memory in MB. Linux alone tells it of a program, not of who started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    _replay(sys.argv[1], sys.argv[2])
