"""The demo's parts that act: the producers' processes, what they report, and the counts at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redrive.errors import RedriveError

PRODUCERS = 3


@dataclass(frozen=True, slots=True)
class Told:
    """What all producers together have reported so far."""

    published: int = 0
    main: int = 0
    standby: int = 0
    dead_letter: int = 0
    failed: int = 0
    errors: int = 0
    running: int = 0

    @property
    def acknowledged(self) -> int:
        """Return how many events are safe."""
        return self.main + self.standby + self.dead_letter


class Producers:
    """The processes that publish the flights."""

    def __init__(self, folder: Path, rate: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._reports = [folder / f"producer-{share}.jsonl" for share in range(PRODUCERS)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "deployments.demo.producers", str(share), str(PRODUCERS), str(rate / PRODUCERS),
                 str(report)]
            )
            for share, report in enumerate(self._reports)
        ]  # fmt: skip

    def told(self) -> Told:
        """Return the newest counts.

        Raises:
            RedriveError: a producer has ended badly.
        """
        totals = dict.fromkeys(("published", "main", "standby", "dead_letter", "failed", "errors"), 0)
        for report in self._reports:
            for name, count in _last_counts(report).items():
                totals[name] = totals.get(name, 0) + count
        for process in self._processes:
            if process.poll() not in (None, 0):
                raise RedriveError(f"a producer of the demo has ended with exit code {process.returncode}")
        return Told(**totals, running=sum(process.poll() is None for process in self._processes))

    def rows(self) -> tuple[dict[str, list[int]], list[str]]:
        """Return, once all have ended, row numbers by the path of their receipt, and every error that a caller saw."""
        rows: dict[str, list[int]] = {}
        errors: list[str] = []
        for report in self._reports:
            end = json.loads(report.read_text().splitlines()[-1])
            for path, numbers in end["rows"].items():
                rows.setdefault(path, []).extend(numbers)
            errors += end["errors"]
        return rows, errors

    def stop(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextmanager
def publishing(folder: Path, rate: float) -> Iterator[Producers]:
    """Run the producers inside the block."""
    producers = Producers(folder, rate)
    try:
        yield producers
    finally:
        producers.stop()


def _last_counts(report: Path) -> dict[str, int]:
    try:
        lines = report.read_text().splitlines()
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        try:
            counts: dict[str, int] = json.loads(line)
        except json.JSONDecodeError:
            continue  # half a line: it is being written
        if "published" in counts:
            return counts
    return {}
