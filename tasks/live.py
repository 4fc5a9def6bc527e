"""What people see while a run works, and how they steer it: one thread that reports and listens, once a second."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client

from redrive.pump.governor import Governor
from tasks import artifacts
from tasks.board import Board, Totals, UnitView
from tasks.operations import Run
from tasks.pace import Pace, PaceControl
from tasks.paused import PAUSED, was_paused
from tasks.pictures import curve
from tasks.words import count, duration, number, table

PROGRESS, LIVE = "-progress", "-live"
"""How the keys of a job's artifacts end that show how far its runs are: percent and a line, and all there is to say."""
EVERY = 1.0
"""Seconds between two reports."""

MOST_ROWS = 60
_ORDER = ("no answer", "failed", "at work", "stopped", "waiting", "done")


@dataclass(frozen=True, slots=True)
class Words:
    """What a job calls its units.

    Attributes:
        unit: one of them, such as ``lane``.
        done: what one is that is done, such as ``open again``.
        event: what it moves, such as ``event``.
    """

    unit: str
    done: str
    event: str = "event"

    def told(self, pace: Pace) -> str:
        """Say a pace, in events a second, or whatever it moves."""
        return pace.told(f"{self.event}s/s")


class Live:
    """Reports a run while it works, and passes on to its governor what people set, as long as the block runs.

    That Prefect does not answer for a while does not disturb the work.
    """

    def __init__(self, run: Run, board: Board, governor: Governor, rate: float | None, words: Words) -> None:
        self._words = words
        self._run, self._board, self._governor = run, board, governor
        self._log = get_run_logger()
        self.pace = PaceControl(run.job, run.flow_run, governor, rate, self._pace_changed)
        self._done = threading.Event()
        # In the flow's context: Prefect keeps there which API it speaks to.
        work = partial(copy_context().run, self._work)
        self._thread = threading.Thread(target=work, name="live report", daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        with get_client(sync_client=True) as client:
            self.pace.begin(client)
            totals = self._board.totals()
            line = progress_line(totals, self.pace.pace, "", self._words)
            run, facts, text = self._run.flow_run, self._facts(totals), self._text(totals)
            self._progress = artifacts.create(
                client, run, key=self._run.job + PROGRESS, kind="progress", data=0.0, description=line, facts=facts
            )
            self._live = artifacts.create(
                client, run, key=self._run.job + LIVE, kind="markdown", data=text, description=line
            )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._done.wait(EVERY):
                self._tick(client, percent=None)
            self._tick(client, percent=None if self._governor.stopped else 100.0)
            try:
                self.pace.end(client)
            except Exception as error:
                self._log.warning("the variable %s was left behind: %s", self.pace.name, error)

    def _tick(self, client: SyncPrefectClient, percent: float | None) -> None:
        if self._run.lost.is_set():
            self._governor.stop("another run has taken over what this one held")
        elif was_paused():
            self._governor.stop(PAUSED)
        self._board.sample()
        totals = self._board.totals()
        try:
            if not self._done.is_set():
                self.pace.look(client)
            line = progress_line(totals, self.pace.pace, self._governor.held_by, self._words)
            percent = min(99.9, totals.percent) if percent is None else percent
            artifacts.update(client, self._progress, percent, line, self._facts(totals))
            artifacts.update(client, self._live, self._text(totals), line)
        except Exception as error:  # a report that is late must not stop the work
            self._log.warning("no live report: %s", error)

    def _text(self, totals: Totals) -> str:
        things = f"{self._words.event}s"
        return live_text(
            self._board.units(),
            totals,
            self._words,
            job=self._run.job,
            pace=self.pace,
            held_by=self._governor.held_by,
            seconds=time.monotonic() - self._began,
            picture=curve(f"{things.capitalize()} a second, since the run began", self._board.speeds(), f"{things}/s"),
        )

    def _facts(self, totals: Totals) -> dict[str, str]:
        left = "" if totals.seconds_left is None else f"{totals.seconds_left:.1f}"
        return {
            "read": str(totals.read), "total": str(totals.total), "rate": f"{totals.rate:.1f}", "seconds_left": left,
            "pace": self._words.told(self.pace.pace),
        }  # fmt: skip

    def _pace_changed(self, pace: Pace) -> None:
        self._log.info("the pace is now: %s", self._words.told(pace))
        self._run.note("pace", pace.model_dump())


def progress_line(totals: Totals, pace: Pace, held_by: str, words: Words) -> str:
    """Say in one line how far a run is."""
    line = f"{number(totals.read)} of {count(totals.total, words.event)} · {number(totals.rate)} {words.event}s/s"
    if held_by:
        return f"{line} · held: {held_by}"
    left = "" if totals.seconds_left is None else f" · {duration(totals.seconds_left)} left"
    return f"{line}{left} · {words.told(pace)}"


def live_text(
    units: list[UnitView],
    totals: Totals,
    words: Words,
    *,
    job: str,
    pace: PaceControl,
    held_by: str,
    seconds: float,
    picture: str,
) -> str:
    """Write how far a run is, as Markdown."""
    shown = sorted(units, key=lambda view: _ORDER.index(view.state))[:MOST_ROWS] if len(units) > MOST_ROWS else units
    done = sum(view.state == "done" for view in units)
    parts = [
        f"## {number(totals.read)} of {count(totals.total, words.event)} ({totals.percent:.0f} %)",
        f"**{number(totals.rate)} {words.event}s/s**, {_left(totals)} left; {duration(seconds)} so far; "
        f"{done} of {count(len(units), words.unit)} {words.done}.",
        f"Pace: **{words.told(pace.pace)}**. To change it, set the variable `{pace.name}`, "
        f'such as `{{"rate": 500}}` or `{{"paused": true}}`, or use `redrive pace {job}`.',
    ]
    if held_by:
        parts.append(f"> **Held:** {held_by}")
    if pace.complaint:
        parts.append(f"> **Not followed:** {pace.complaint}")
    if picture:
        parts.append(picture)
    parts.append(
        table(
            [words.unit, "state", "read", "of", "published", "skipped", "parked", f"{words.event}s/s", "left"],
            [_row(view, words) for view in shown],
            left=2,
        )
    )
    if len(shown) < len(units):
        parts.append(f"… and {len(units) - len(shown)} more {words.unit}s.")
    troubles = [f"- **{view.unit}**: {view.note}" for view in shown if view.note and view.note != held_by]
    if troubles:
        parts.append("\n".join(troubles))
    return "\n\n".join(parts)


def _left(totals: Totals) -> str:
    return "unknown time" if totals.seconds_left is None else duration(totals.seconds_left)


def _row(view: UnitView, words: Words) -> list[object]:
    progress = view.progress
    state = words.done if view.state == "done" else view.state
    if progress is None:
        return [view.unit, state, 0, view.total, 0, 0, 0, "", ""]
    moving = view.state == "at work"
    left = (
        duration(progress.seconds_left).replace(" ", "\u00a0") if moving and progress.seconds_left is not None else ""
    )
    return [
        view.unit, state, progress.read, view.total, progress.published, progress.skipped, progress.parked,
        number(progress.rate) if moving else "", left,
    ]  # fmt: skip
