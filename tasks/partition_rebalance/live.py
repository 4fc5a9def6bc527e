"""What people see while partitions move: percent, bytes, time left, and what is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from prefect import get_run_logger
from prefect.client.orchestration import get_client

from redrive.partitions.outcome import Progress
from redrive.partitions.progress import Step
from tasks import artifacts
from tasks.live import LIVE, PROGRESS
from tasks.operations import Run
from tasks.pace import PaceControl
from tasks.partition_rebalance.pace import UNIT, MovesPace
from tasks.paused import was_paused
from tasks.pictures import curve
from tasks.words import cell, count, duration, number, size, table

EVERY = 1.0


class MovesLive:
    """Reports how far the moves are, at most once a second, and passes on what people set.

    Args:
        run, steer: of these moves.
        latency: says how long producers wait now, in words; empty if that is not known.
        stop: set when somebody has paused the run in Prefect's UI.

    Attributes:
        pace: the variable by which the run is steered.
        speeds: seconds → bytes copied a second.
    """

    def __init__(self, run: Run, steer: MovesPace, latency: Callable[[], str], stop: threading.Event) -> None:
        log = get_run_logger()
        self.pace = PaceControl(
            run.job, run.flow_run, steer, steer.rate, lambda pace: log.info("pace: %s", pace.told(UNIT))
        )
        self.speeds: list[tuple[float, float]] = [(0.0, 0.0)]
        self._run, self._steer, self._latency, self._log = run, steer, latency, log
        self._stop = stop
        self._began = time.monotonic()
        self._told = self._measured = float("-inf")
        self._copied = 0
        self._slowed, self._too_low = False, False
        self._client = get_client(sync_client=True)

    def __enter__(self) -> Self:
        client = self._client.__enter__()
        self.pace.begin(client)
        key, words = self._run.job, "looking at the cluster"
        self._progress = artifacts.create(
            client, self._run.flow_run, key=key + PROGRESS, kind="progress", data=0.0, description=words
        )
        self._live = artifacts.create(
            client, self._run.flow_run, key=key + LIVE, kind="markdown", data=words, description=words
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.pace.end(self._client)
        except Exception as failure:
            self._log.warning("the variable %s was left behind: %s", self.pace.name, failure)
        self._client.__exit__(kind, error, trace)

    def report(self, progress: Progress) -> None:
        """Show how far it is; a report that can't be made does not stop the moves."""
        now = time.monotonic()
        if now - self._told < EVERY and progress.steps.get(Step.DONE, 0) < progress.moves:
            return
        self._told = now
        if was_paused():
            self._stop.set()
        if now - self._measured >= EVERY:
            if self._measured > 0:
                speed = max(0, progress.copied - self._copied) / (now - self._measured)
                self.speeds.append((now - self._began, speed))
            self._measured, self._copied = now, progress.copied
        self._log_slowing(progress.slowed_by)
        self._log_too_low(progress.too_low)
        line, facts = moves_line(progress), _facts(progress)
        try:
            self.pace.look(self._client)
            artifacts.update(self._client, self._progress, percent_of(progress), line, facts)
            artifacts.update(self._client, self._live, self.text(progress, now - self._began), line)
        except Exception as error:
            self._log.warning("no live report: %s", error)

    def _log_slowing(self, slowed_by: str) -> None:
        # Once when it begins, once when it ends: what is between stands on the live page.
        if slowed_by and not self._slowed:
            self._log.info("throttle comes down to %s: %s", self._steer.told(), slowed_by)
        elif self._slowed and not slowed_by:
            self._log.info("throttle is at %s again", self._steer.told())
        self._slowed = bool(slowed_by)

    def _log_too_low(self, too_low: str) -> None:
        if too_low and not self._too_low:
            self._log.warning("the throttle is too low: %s", too_low)
        self._too_low = bool(too_low)

    def text(self, progress: Progress, seconds: float) -> str:
        """Write the live page, after so many seconds."""
        steps = [[step.value, number(progress.steps.get(step, 0))] for step in Step if progress.steps.get(step, 0)]
        facts = [
            ["copied", f"{size(progress.copied)} of {size(progress.to_copy)}"],
            ["speed", f"{size(progress.per_second)}/s" if progress.per_second else "–"],
            ["time left", duration(progress.seconds_left)],
            ["throttle", self._steer.told()],
            *([["produce latency, 99th percentile", latency]] if (latency := self._latency()) else []),
            ["so far", duration(seconds)],
        ]
        parts = [f"## {moves_line(progress)}"]
        if progress.waiting_for:
            parts.append(f"> **Nothing more begins:** {cell(progress.waiting_for)}")
        if progress.slowed_by:
            parts.append(f"> **Slowed down:** {cell(progress.slowed_by)}")
        if progress.too_low:
            parts.append(f"> **The throttle is too low:** {cell(progress.too_low)}")
        parts += [f"> {cell(words)}" for words in (self._steer.complaint, self.pace.complaint) if words]
        parts += [table(["", ""], facts, left=2), table(["moves", "how many"], steps)]
        parts.append(curve("Bytes copied a second", self.speeds, "a second", size))
        parts.append(
            f"To change the throttle or pause: variable `{self.pace.name}`, or `redrive pace {self._run.job}`."
        )
        return "\n\n".join(part for part in parts if part)


def percent_of(progress: Progress) -> float:
    """Say how much is done, of 100: by bytes, or by moves where there are none to copy."""
    if progress.to_copy:
        return min(100.0, 100 * progress.copied / progress.to_copy)
    return 100 * progress.steps.get(Step.DONE, 0) / progress.moves if progress.moves else 100.0


def moves_line(progress: Progress) -> str:
    """Say how far it is in one line."""
    done = progress.steps.get(Step.DONE, 0)
    line = (
        f"{number(done)} of {count(progress.moves, 'move')} done, {size(progress.copied)} of {size(progress.to_copy)}"
    )
    if progress.waiting_for:
        return f"{line}; waiting: {progress.waiting_for}"
    if progress.slowed_by:
        return f"{line}; slowed down: {progress.slowed_by}"
    return (
        line
        if progress.seconds_left is None or done == progress.moves
        else (f"{line}; {duration(progress.seconds_left)} left")
    )


def _facts(progress: Progress) -> dict[str, str]:
    return {
        "moves": str(progress.moves),
        "done": str(progress.steps.get(Step.DONE, 0)),
        "in_flight": str(progress.steps.get(Step.IN_FLIGHT, 0)),
        "copied": str(progress.copied),
        "to_copy": str(progress.to_copy),
    }
