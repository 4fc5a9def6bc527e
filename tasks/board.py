"""Where the units of a run stand, lanes or partitions: written by the threads at work, read by the one that reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from redrive.pump.pump import Progress

UnitState = Literal["waiting", "at work", "no answer", "done", "stopped", "failed"]

_SAMPLES = 240


@dataclass(frozen=True, slots=True)
class UnitView:
    """Where one unit stands.

    Attributes:
        unit: which one; its text is its name.
        total: events that waited in it when the run began, or that it has read and those that wait still.
        progress: the pump's last word; None before its first.
        note: why it does not get on, if so.
    """

    unit: object
    total: int
    state: UnitState = "waiting"
    progress: Progress | None = None
    note: str = ""

    @property
    def read(self) -> int:
        """Events that came out of its source so far."""
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
    """All units of a run, with the events that wait in each. Thread-safe."""

    def __init__(self, totals: Mapping[Any, int]) -> None:
        self._lock = threading.Lock()
        self._units = {unit: UnitView(unit, total) for unit, total in totals.items()}
        self._trouble_since: dict[object, float] = {}
        self._trouble_last: dict[object, float] = {}
        self._began = time.monotonic()
        self._samples: list[tuple[float, int]] = [(0.0, 0)]

    def working(self, unit: object) -> None:
        """Hear that a unit is being worked at."""
        self._set(unit, state="at work", note="")

    def moved(self, unit: object, progress: Progress) -> None:
        """Hear how far a unit is."""
        with self._lock:
            view = self._units[unit]
            if progress.read > view.read:
                self._trouble_since.pop(unit, None)
            self._units[unit] = replace(view, state="at work", progress=progress, note=progress.held_by)

    def waits(self, unit: object, events: int) -> None:
        """Hear how many events wait in a unit still, about: its source may get more while the run works."""
        with self._lock:
            view = self._units[unit]
            self._units[unit] = replace(view, total=view.read + events)

    def idle(self, unit: object, answered_at: float | None) -> None:
        """Hear that nothing waits in a unit, by what its system was asked at that time, by `time.monotonic`.

        So what it was in trouble by is over, though it has nothing to show it by.
        """
        with self._lock:
            if answered_at is not None and answered_at > self._trouble_last.get(unit, answered_at):
                self._trouble_since.pop(unit, None)

    def no_answer(self, unit: object, reason: str) -> None:
        """Hear that a system did not answer a unit."""
        with self._lock:
            now = time.monotonic()
            self._trouble_since.setdefault(unit, now)
            self._trouble_last[unit] = now
        self._set(unit, state="no answer", note=reason)

    def ended(self, unit: object, state: UnitState, note: str = "") -> None:
        """Hear how a unit has ended; it may begin again, if there is more for it."""
        if state == "done":
            with self._lock:
                self._trouble_since.pop(unit, None)
        self._set(unit, state=state, note=note)

    def parked(self, unit: object) -> int:
        """Say how many of a unit's events were parked so far."""
        with self._lock:
            progress = self._units[unit].progress
        return progress.parked if progress else 0

    def trouble_seconds(self, unit: object) -> float:
        """Say for how long a unit has not got on because a system does not answer."""
        with self._lock:
            since = self._trouble_since.get(unit)
        return 0.0 if since is None else time.monotonic() - since

    def units(self) -> list[UnitView]:
        """Give all units, in order."""
        with self._lock:
            return list(self._units.values())

    def sample(self) -> None:
        """Note how far the whole run is, about once a second: what `speeds` and the time left come from."""
        read = sum(view.read for view in self.units())
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
        views = self.units()
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

    def _set(self, unit: object, *, state: UnitState, note: str) -> None:
        with self._lock:
            self._units[unit] = replace(self._units[unit], state=state, note=note)
