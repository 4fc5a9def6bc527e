"""What people see while a run works, and how they steer it: one thread that reports and listens, once a second."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Self

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client

from redrive.pump.governor import Governor
from tasks import artifacts
from tasks.board import Board, LaneView, Totals
from tasks.operations import Run
from tasks.pace import Pace, PaceControl
from tasks.pictures import curve
from tasks.words import count, duration, number, table

PROGRESS_KEY = "standby-replay-progress"
LIVE_KEY = "standby-replay-lanes"
EVERY = 1.0
"""Seconds between two reports."""

MOST_ROWS = 60
_ORDER = ("no answer", "failed", "draining", "stopped", "waiting", "open")


class Live:
    """Reports a run while it works, and passes on to its governor what people set, as long as the block runs.

    That Prefect does not answer for a while does not disturb the work.
    """

    def __init__(self, run: Run, board: Board, governor: Governor, rate: float | None) -> None:
        self._run, self._board, self._governor = run, board, governor
        self._log = get_run_logger()
        self.pace = PaceControl(run.job, run.id, governor, rate, self._pace_changed)
        self._done = threading.Event()
        # In the flow's context: Prefect keeps there which API it speaks to.
        work = partial(copy_context().run, self._work)
        self._thread = threading.Thread(target=work, name="live report", daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        with get_client(sync_client=True) as client:
            self.pace.begin(client)
            totals = self._board.totals()
            line = progress_line(totals, self.pace.pace, "")
            run, facts, text = self._run.id, self._facts(totals), self._text(totals)
            self._progress = artifacts.create(
                client, run, key=PROGRESS_KEY, kind="progress", data=0.0, description=line, facts=facts
            )
            self._lanes = artifacts.create(client, run, key=LIVE_KEY, kind="markdown", data=text, description=line)
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
        self._board.sample()
        totals = self._board.totals()
        try:
            if not self._done.is_set():
                self.pace.look(client)
            line = progress_line(totals, self.pace.pace, self._governor.held_by)
            percent = min(99.9, totals.percent) if percent is None else percent
            artifacts.update(client, self._progress, percent, line, self._facts(totals))
            artifacts.update(client, self._lanes, self._text(totals), line)
        except Exception as error:  # a report that is late must not stop the work
            self._log.warning("no live report: %s", error)

    def _text(self, totals: Totals) -> str:
        return live_text(
            self._board.lanes(),
            totals,
            pace=self.pace,
            held_by=self._governor.held_by,
            seconds=time.monotonic() - self._began,
            picture=curve("Events a second, since the run began", self._board.speeds(), "events/s"),
        )

    def _facts(self, totals: Totals) -> dict[str, str]:
        left = "" if totals.seconds_left is None else f"{totals.seconds_left:.1f}"
        return {
            "read": str(totals.read), "total": str(totals.total), "rate": f"{totals.rate:.1f}", "seconds_left": left,
            "pace": str(self.pace.pace),
        }  # fmt: skip

    def _pace_changed(self, pace: Pace) -> None:
        self._log.info("the pace is now: %s", pace)
        self._run.note("pace", pace.model_dump())


def progress_line(totals: Totals, pace: Pace, held_by: str) -> str:
    """Say in one line how far a run is."""
    line = f"{number(totals.read)} of {count(totals.total, 'event')} · {number(totals.rate)} events/s"
    if held_by:
        return f"{line} · held: {held_by}"
    left = "" if totals.seconds_left is None else f" · {duration(totals.seconds_left)} left"
    return f"{line}{left} · {pace}"


def live_text(
    lanes: list[LaneView], totals: Totals, *, pace: PaceControl, held_by: str, seconds: float, picture: str
) -> str:
    """Write how far a run is, as Markdown."""
    shown = sorted(lanes, key=lambda view: _ORDER.index(view.state))[:MOST_ROWS] if len(lanes) > MOST_ROWS else lanes
    opened = sum(view.state == "open" for view in lanes)
    parts = [
        f"## {number(totals.read)} of {count(totals.total, 'event')} ({totals.percent:.0f} %)",
        f"**{number(totals.rate)} events/s**, {_left(totals)} left; {duration(seconds)} so far; "
        f"{opened} of {count(len(lanes), 'lane')} open again.",
        f"Pace: **{pace.pace}**. To change it, set the variable `{pace.name}`, "
        f'such as `{{"rate": 500}}` or `{{"paused": true}}`, or use `redrive pace standby-replay`.',
    ]
    if held_by:
        parts.append(f"> **Held:** {held_by}")
    if pace.complaint:
        parts.append(f"> **Not followed:** {pace.complaint}")
    if picture:
        parts.append(picture)
    parts.append(
        table(
            ["lane", "state", "read", "of", "published", "skipped", "parked", "events/s", "left"],
            [_row(view) for view in shown],
            left=2,
        )
    )
    if len(shown) < len(lanes):
        parts.append(f"… and {len(lanes) - len(shown)} more lanes.")
    troubles = [f"- **{view.lane}**: {view.note}" for view in shown if view.note and view.note != held_by]
    if troubles:
        parts.append("\n".join(troubles))
    return "\n\n".join(parts)


def _left(totals: Totals) -> str:
    return "unknown time" if totals.seconds_left is None else duration(totals.seconds_left)


def _row(view: LaneView) -> list[object]:
    progress = view.progress
    if progress is None:
        return [view.lane, view.state, 0, view.total, 0, 0, 0, "", ""]
    moving = view.state == "draining"
    left = (
        duration(progress.seconds_left).replace(" ", "\u00a0") if moving and progress.seconds_left is not None else ""
    )
    return [
        view.lane, view.state, progress.read, view.total, progress.published, progress.skipped, progress.parked,
        number(progress.rate) if moving else "", left,
    ]  # fmt: skip
