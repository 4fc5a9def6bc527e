"""Memory of jobs: ten times as much to do must not take more of it. Each run is a process of its own, with its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.backfill import Bench as Backfill
from bench.correct import Clinic, correction
from bench.measure import Row, compare
from bench.platform import Bench
from redrive.standby.drain import drain

SMALL, LARGE = 200_000, 2_000_000
FEW, MANY = 50_000, 500_000


def rows(folder: Path) -> list[Row]:
    """Return the rows about memory."""
    return [
        compare(
            f"peak memory of a replay of {LARGE:,} events beside one of {SMALL:,} (MB)",
            lambda: _of_replay(folder, LARGE),
            lambda: _of_replay(folder, SMALL),
            at_most=1.2,
            runs=1,
        ),
        compare(
            f"peak memory of a correction of {MANY:,} letters beside one of {FEW:,}, its processes together (MB)",
            lambda: _of_correction(folder, MANY),
            lambda: _of_correction(folder, FEW),
            at_most=1.5,
            runs=1,
        ),
        compare(
            f"peak memory of a backfill of {LARGE:,} events beside one of {SMALL:,}, its processes together (MB)",
            lambda: _of_backfill(folder, LARGE),
            lambda: _of_backfill(folder, SMALL),
            at_most=1.5,
            runs=1,
        ),
    ]


def _of_replay(folder: Path, events: int) -> float:
    """Replay a backlog of this many events in a new process; return its peak resident memory in MB."""
    bench = Bench(folder)
    bench.fill(events)
    return _run("replay", str(bench.settings), bench.topic)


def _of_correction(folder: Path, letters: int) -> float:
    """Correct this many letters in a new process; return the sum of its and its children's peaks in MB."""
    clinic = Clinic(folder)
    clinic.fill(letters)
    return _run("correct", str(folder), clinic.name)


def _of_backfill(folder: Path, events: int) -> float:
    """Copy and compare this many events in a new process; return the sum of its and its children's peaks in MB."""
    bench = Backfill(folder, events)
    bench.fill()
    return _run("backfill", str(folder), bench.name, str(events))


def _run(*what: str) -> float:
    run = subprocess.run([sys.executable, "-m", "bench.memory", *what], capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def _replay(settings: str, topic: str) -> None:
    from redrive.config import Config
    from redrive.standby.lanes import Lane

    config = Config.load(settings)
    for number in range(6):
        drain(config, Lane("local", topic, number), operation="memory")
    print(peak("self"))


def _correct(folder: str, name: str) -> None:
    def tell() -> None:
        print(sum(map(peak, ["self", *children()])))

    correction(Clinic(Path(folder), name), tell)


def _backfill(folder: str, name: str, events: str) -> None:
    def tell() -> None:
        print(sum(map(peak, ["self", *children()])))

    Backfill(Path(folder), int(events), name).ours(compared=True, at_the_end=tell)


def children() -> list[str]:
    """Return this process's children."""
    return [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def peak(process: str) -> float:
    """Return a process's peak resident memory in MB. Linux alone tells it of a program, not of who started it."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"replay": _replay, "correct": _correct, "backfill": _backfill}
    jobs[sys.argv[1]](*sys.argv[2:])
