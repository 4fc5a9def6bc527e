"""A program under test: replays every lane that is not open, over and over, until it is told to stop, or killed."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import redrive.pump.sink
import redrive.standby.drain
from redrive.config import Config
from redrive.errors import FencedError, UnavailableError
from redrive.standby.drain import drain
from redrive.standby.lanes import Lane
from redrive.standby.survey import LaneBacklog, survey
from redrive.standby.tidying import tidy
from tests.faults.fuses import Fuse, fused_sink, fused_store, fused_transactions
from tests.faults.journal import Journal
from tests.faults.processes import enter

THREADS = 6


@dataclass(frozen=True)
class Replaying:
    """What one life of a replayer is to do.

    Attributes:
        life: its name, such as ``r.1``.
        folder: where its journal and log go; the file ``finish`` ends it once all lanes are open.
        config: the settings file.
        settle: seconds that events in doubt are left alone.
        transaction_timeout: seconds after which brokers abort what it left open.
        fuse: crash point; empty: none.
    """

    life: str
    folder: Path
    config: Path
    settle: float
    transaction_timeout: float = 10.0
    fuse: str = ""


def replay(job: Replaying) -> None:
    """Run one life."""
    enter(job.folder / f"{job.life}.log")
    journal = Journal(job.folder / f"{job.life}.journal")
    fuse = Fuse(job.fuse, lambda point: journal.write("crash", point))
    parts = redrive.standby.drain
    redrive.pump.sink.Transactions = fused_transactions(fuse)  # type: ignore[misc, attr-defined]
    parts.TransactionalSink = fused_sink(fuse, job.transaction_timeout)  # type: ignore[misc, attr-defined]
    parts.look_up = fuse.wrap("look_up", parts.look_up)  # type: ignore[attr-defined]
    Replayer(job, journal, fuse).run()
    journal.write("end", dict(fuse.passed))


class Replayer:
    def __init__(self, job: Replaying, journal: Journal, fuse: Fuse) -> None:
        self._job = job
        self._journal = journal
        self._config = Config.load(job.config)
        standby = self._config.standby
        self._store = fused_store(fuse)(standby.table, standby.region, standby.endpoint)
        self._not_before: dict[Lane, float] = {}
        self._busy: set[Lane] = set()
        self._lock = threading.Lock()
        self._chance = random.Random(job.life)

    def run(self) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            while True:
                finish = (self._job.folder / "finish").exists()
                try:
                    backlog = survey(self._store, "local", threads=4)
                except UnavailableError as error:
                    self._journal.write("unavailable", error)
                    continue
                untidy = [waiting.lane for waiting in backlog if waiting.untidy]
                if finish and all(lane.is_open for lane in backlog) and not self._busy and not untidy:
                    return
                for waiting in backlog:
                    if self._may_start(waiting):
                        pool.submit(self._drain, waiting.lane)
                for lane in untidy if not self._busy else ():
                    self._tidy(lane)
                time.sleep(0.3)

    def _tidy(self, lane: Lane) -> None:
        """Do as a run does that finds nothing else to do."""
        try:
            tidy(self._store, lane)
        except UnavailableError as error:
            self._journal.write("unavailable", error)

    def _may_start(self, waiting: LaneBacklog) -> bool:
        with self._lock:
            lane = waiting.lane
            if waiting.is_open or lane in self._busy or time.monotonic() < self._not_before.get(lane, 0):
                return False
            self._busy.add(lane)
            return True

    def _drain(self, lane: Lane) -> None:
        pause = 0.1
        try:
            result = drain(self._config, lane, operation="soak", settle=self._job.settle, skew=0.2, store=self._store)
            outcome = result.outcome
            self._journal.write("drained", lane, result.epochs, outcome.read, outcome.published, outcome.skipped)
            if outcome.parked or not outcome.balanced:
                self._journal.write("unexpected", f"{lane}: parked {outcome.parked}, read {outcome.read}, {outcome}")
        except FencedError as error:
            # Two replayers that start again at once would fence each other for ever.
            pause = self._chance.uniform(1, 5)
            self._journal.write("fenced", error)
        except UnavailableError as error:
            self._journal.write("unavailable", error)
        except Exception as error:
            logging.exception("draining %s", lane)
            self._journal.write("unexpected", lane, type(error).__name__, repr(str(error)))
        finally:
            with self._lock:
                self._not_before[lane] = time.monotonic() + pause
                self._busy.discard(lane)
