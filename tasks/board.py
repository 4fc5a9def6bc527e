"""Where the lanes of a run stand: written by the threads that drain them, read by the one that reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from redrive.pump.pump import Progress
from redrive.standby.lanes import Lane
from redrive.standby.survey import LaneBacklog

LaneState = Literal["waiting", "draining", "no answer", "open", "stopped", "failed"]

_SAMPLES = 240


@dataclass(frozen=True, slots=True)
class LaneView:
    """Where one lane stands.

    Attributes:
        total: events that waited in it when the run began.
        progress: the pump's last word; None before its first.
        note: why it does not get on, if so.
    """

    lane: Lane
    total: int
    state: LaneState = "waiting"
    progress: Progress | None = None
    note: str = ""

    @property
    def read(self) -> int:
        """Events that came out of the store so far."""
        return self.progress.read if self.progress else 0


@dataclass(frozen=True, slots=True)
class Totals:
    """Where a whole run stands.

    Attributes:
        total: events that waited when it began.
        rate: events a second, of late.
        seconds_left: at this rate; None while nothing moves.
    """

    total: int
    read: int
    published: int
    skipped: int
    parked: int
    rate: float
    seconds_left: float | None

    @property
    def percent(self) -> float:
        """How much is done, of 100. Producers may still add to the backlog, so it is an estimate."""
        return min(100.0, 100 * self.read / self.total) if self.total else 0.0


class Board:
    """All lanes of a run. Thread-safe."""

    def __init__(self, backlog: Sequence[LaneBacklog]) -> None:
        self._lock = threading.Lock()
        self._lanes = {waiting.lane: LaneView(waiting.lane, waiting.events) for waiting in backlog}
        self._trouble_since: dict[Lane, float] = {}
        self._began = time.monotonic()
        self._samples: list[tuple[float, int]] = [(0.0, 0)]

    def draining(self, lane: Lane) -> None:
        """Hear that a lane is being worked at."""
        self._set(lane, state="draining", note="")

    def moved(self, lane: Lane, progress: Progress) -> None:
        """Hear how far a lane is."""
        with self._lock:
            view = self._lanes[lane]
            if progress.read > view.read:
                self._trouble_since.pop(lane, None)
            self._lanes[lane] = replace(view, state="draining", progress=progress, note=progress.held_by)

    def no_answer(self, lane: Lane, reason: str) -> None:
        """Hear that a system did not answer a lane."""
        with self._lock:
            self._trouble_since.setdefault(lane, time.monotonic())
        self._set(lane, state="no answer", note=reason)

    def ended(self, lane: Lane, state: LaneState, note: str = "") -> None:
        """Hear how a lane has ended."""
        self._set(lane, state=state, note=note)

    def trouble_seconds(self, lane: Lane) -> float:
        """Say for how long a lane has not got on because a system does not answer."""
        with self._lock:
            since = self._trouble_since.get(lane)
        return 0.0 if since is None else time.monotonic() - since

    def lanes(self) -> list[LaneView]:
        """Give all lanes, in order."""
        with self._lock:
            return list(self._lanes.values())

    def sample(self) -> None:
        """Note how far the whole run is, about once a second: what `speeds` and the time left come from."""
        read = sum(view.read for view in self.lanes())
        with self._lock:
            self._samples.append((time.monotonic() - self._began, read))
            if len(self._samples) > _SAMPLES:  # thin out: half as fine, twice as long
                self._samples = self._samples[::2]

    def speeds(self) -> list[tuple[float, float]]:
        """Give seconds since the beginning → events a second, over the whole run.

        Each is over three samples: transactions come in bursts, and it is not they that are of interest.
        """
        with self._lock:
            samples = [self._samples[0]] * 2 + self._samples
        return [(0.0, 0.0)] + [
            (at, (read - before) / (at - since))
            for (since, before), (at, read) in zip(samples, samples[3:], strict=False)
            if at > since
        ]

    def totals(self) -> Totals:
        """Sum up."""
        views = self.lanes()
        said = [view.progress for view in views if view.progress]
        total, read = sum(view.total for view in views), sum(progress.read for progress in said)
        with self._lock:
            (since, before), (at, now) = self._samples[max(0, len(self._samples) - 6)], self._samples[-1]
        rate = (now - before) / (at - since) if at > since else 0.0
        return Totals(
            total=total,
            read=read,
            published=sum(progress.published for progress in said),
            skipped=sum(progress.skipped for progress in said),
            parked=sum(progress.parked for progress in said),
            rate=rate,
            seconds_left=max(0, total - read) / rate if rate > 0 else None,
        )

    def _set(self, lane: Lane, *, state: LaneState, note: str) -> None:
        with self._lock:
            self._lanes[lane] = replace(self._lanes[lane], state=state, note=note)
