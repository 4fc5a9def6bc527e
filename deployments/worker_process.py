"""A worker's process: started, started again when it has ended, and stopped with all that it has started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import psutil

from deployments import cancelling
from deployments.local.process import CLOCK_STEP, Launch, how_it_ended, spawn

STOP_PATIENCE = 40.0  # a run that is cancelled has 30 s to end
ASKING = 10.0
"""Seconds in which Prefect is asked to cancel runs; the rest are told by a signal, as they need their time to end."""
PAUSE = 5.0
"""Seconds from the end of a worker to the start of the next one; doubled when that ends soon, too."""
LONGEST_PAUSE = 60.0


class Worker:
    """A worker that runs. As a context manager it is stopped at the end of the block.

    Attributes:
        identity: its process.
        log: what it and its runs print.
    """

    def __init__(self, launch: Launch, log: Path) -> None:
        self._launch, self.log = launch, log
        self._former: dict[int, float] = {}  # worker that has ended → when that was found out, seconds since 1970
        self._cancelled: dict[psutil.Process, UUID] = {}  # process of a run that Prefect was asked to cancel → the run
        self._pause, self._again_at = 0.0, float("inf")
        self._start()

    def _start(self) -> None:
        self.identity = spawn(self._launch, self.log)
        self._started = time.monotonic()

    def look_after(self, report: Callable[[str], None]) -> None:
        """Start the worker again if it has ended, after a pause; to be called about once a second.

        Prefect's gives up when its server, or the server's database, has not answered for a minute or two. Its runs go
        on, and end by themselves.

        Args:
            report: told when it has ended.
        """
        if self.identity.process() is not None:
            return
        now = time.monotonic()
        if self.identity.pid not in self._former:
            self._former[self.identity.pid] = time.time()
            self._pause = PAUSE if now - self._started > LONGEST_PAUSE else min(2 * self._pause or PAUSE, LONGEST_PAUSE)
            self._again_at = now + self._pause
            report(
                f"the worker {how_it_ended(self.identity)}; the next one starts in {self._pause:g} s; see {self.log}"
            )
        elif now >= self._again_at:
            self._start()

    def end_runs(self) -> None:
        """Cancel the runs under way, and those that are started meanwhile, and wait for their end.

        To be called before `stop` where runs must have time to end: a worker that is told to end kills its runs.
        Prefect has the worker tell them to end, so they are *Cancelled* there, too. Those that can't be ended so are
        told by a signal, and are *Crashed* there: if Prefect does not answer, or their worker has died. Only runs are
        told; what they have started is theirs to end.
        """
        deadline, asking = time.monotonic() + STOP_PATIENCE, time.monotonic() + ASKING
        told: set[psutil.Process] = set()
        prefect = True
        while (left := self._runs()) and time.monotonic() < deadline:
            runs = {each for each, parent in left.items() if parent not in {one.pid for one in left}}
            for each in runs - told:
                ask = prefect and time.monotonic() < asking and left[each] == self.identity.pid
                run = _run_of(each) if ask else None
                if run is not None and (prefect := cancelling.cancel(run)):
                    self._cancelled[each] = run
                else:
                    send(each, signal.SIGTERM)
            told |= runs
            psutil.wait_procs(list(left), timeout=0.2)
        self._tell_ended()

    def stop(self) -> None:
        """End the worker, and the runs it has under way, at once if `end_runs` has not done so."""
        _end(self._family())
        self._tell_ended()

    def kill(self) -> None:
        """End the worker and its runs by SIGKILL, all at once."""
        family = self._family()
        for each in family:
            send(each, signal.SIGKILL)
        if self._cancelled:
            psutil.wait_procs(family, timeout=10)
            self._tell_ended()

    def _tell_ended(self) -> None:
        """Tell Prefect of those that are being cancelled and have ended: it waits for that."""
        for each in [each for each in self._cancelled if not _is_alive(each)]:
            cancelling.has_ended(self._cancelled.pop(each))

    def _runs(self) -> dict[psutil.Process, int]:
        """Give the runs, and what they have started, each with its parent."""
        found = {}
        for each in self._family():
            with suppress(psutil.NoSuchProcess):
                if each.pid != self.identity.pid and each.status() != psutil.STATUS_ZOMBIE:
                    found[each] = each.ppid()
        return found

    def _family(self) -> list[psutil.Process]:
        """Give the worker and its runs, also those that those before it have left; these are of their sessions."""
        process = self.identity.process()
        family = [process, *process.children(recursive=True)] if process else []
        former = dict(self._former)
        if process is None:
            former.setdefault(self.identity.pid, time.time())
        return family + [each for each in psutil.process_iter() if former and _is_left(each, former)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _end(family: list[psutil.Process]) -> None:
    for each in family:
        send(each, signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=STOP_PATIENCE)
    for each in left:
        send(each, signal.SIGKILL)
    psutil.wait_procs(left, timeout=10)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _run_of(process: psutil.Process) -> UUID | None:
    """Give the flow run that a process is, by what Prefect has put into its environment; None if it is none."""
    try:
        return UUID(process.environ()["PREFECT__FLOW_RUN_ID"])
    except (KeyError, ValueError, OSError, psutil.Error):
        return None


def _is_left(process: psutil.Process, former: Mapping[int, float]) -> bool:
    """Say whether a process is of the session of a worker that has ended, and older than that: the number of a session
    that nobody is left in may be given to somebody else's."""
    try:
        ended = former.get(os.getsid(process.pid))
        return ended is not None and process.create_time() <= ended + CLOCK_STEP
    except (OSError, psutil.Error):  # it has just ended, or is somebody else's
        return False


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
