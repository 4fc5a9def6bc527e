"""A program under test: a producer that publishes without end, until it is told to stop, or killed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from redrive.config import Config
from redrive.dispatch import DispatchSettings
from redrive.errors import BackPressureError, RedriveError, UnavailableError
from redrive.producer import EventProducer
from redrive.producing import outlets
from redrive.receipts import Receipt
from redrive.standby.writer import SystemClock
from tests.faults.fuses import Fuse, fused_main_path, fused_store
from tests.faults.journal import Journal, fingerprint
from tests.faults.processes import enter

NAME = "soak"
TRACE = b"kept"


@dataclass(frozen=True)
class Producing:
    """What one life of a producer is to do.

    Attributes:
        life: its name, such as ``a.2``: the journal's, and the beginning of its events' ids.
        folder: where its journal and log go, and where the file ``stop`` ends it.
        config: the settings file.
        topic: where to.
        keys: keys, each drawn as often as the other.
        rate: events a second.
        seed: of sizes, keys and values.
        large: share of events that are too large for one item of DynamoDB.
        clock: seconds after the start → milliseconds by which the wall clock is wrong from then on.
        fuse: crash point; empty: none.
    """

    life: str
    folder: Path
    config: Path
    topic: str
    keys: tuple[str, ...]
    rate: float
    seed: str
    settings: DispatchSettings
    large: float = 0.0
    clock: tuple[tuple[float, int], ...] = ()
    fuse: str = ""


class WrongClock(SystemClock):
    """A clock that is set while the program runs."""

    def __init__(self, changes: tuple[tuple[float, int], ...]) -> None:
        self._changes = [(time.monotonic() + at, by) for at, by in changes]

    def now_ms(self) -> int:
        past = [by for at, by in self._changes if at <= time.monotonic()]
        return super().now_ms() + (past[-1] if past else 0)


def produce(job: Producing) -> None:
    """Run one life."""
    enter(job.folder / f"{job.life}.log")
    journal = Journal(job.folder / f"{job.life}.journal")
    fuse = Fuse(job.fuse, lambda point: journal.write("crash", point))
    outlets.DynamoStore = fused_store(fuse)  # type: ignore[misc, attr-defined]
    outlets.KafkaMainPath = fused_main_path(fuse)  # type: ignore[misc, attr-defined]
    outlets.SystemClock = lambda: WrongClock(job.clock)  # type: ignore[misc, assignment, attr-defined]
    producer = _connect(job, journal)
    if producer is None:
        return
    _publish(job, journal, producer)
    left = producer.flush(job.settings.publish_timeout + 30)
    if left:
        journal.write("unexpected", f"flush leaves {left} events after the publish timeout: {producer.why_waiting}")
    producer.close(1)
    journal.write("end", producer.counts, dict(fuse.passed))


def _connect(job: Producing, journal: Journal) -> EventProducer | None:
    """Start, as soon as the registry answers."""
    config = Config.load(job.config)
    while not _is_told_to_stop(job):
        try:
            return EventProducer(NAME, config, topics=[job.topic], settings=job.settings)
        except UnavailableError as error:
            journal.write("waiting", error)
    return None


def _publish(job: Producing, journal: Journal, producer: EventProducer) -> None:
    chance = random.Random(job.seed)

    def heard(receipt: Receipt) -> None:
        try:
            journal.write("acknowledged", receipt.event_id, receipt.result(0).path)
        except RedriveError as error:
            journal.write("failed", receipt.event_id, error)

    started, number = time.monotonic(), 0
    while not _is_told_to_stop(job):
        for _ in range(5):
            number += 1
            identity, key = f"{job.life}-{number}", chance.choice(job.keys)
            size = 600_000 if chance.random() < job.large else int(chance.paretovariate(1.2) * 60) % 5_000
            payload = chance.randbytes(size)
            value = {"sequence": number, "payload": payload}
            journal.write("publish", identity, key, fingerprint(payload), number)
            try:
                receipt = producer.publish(job.topic, key, value, event_id=identity, headers=[("trace", TRACE)])
            except (BackPressureError, UnavailableError) as error:
                journal.write("refused", identity, error)
            else:
                receipt.add_done_callback(heard)
        ahead = number / job.rate - (time.monotonic() - started)
        time.sleep(max(0.0, ahead))


def _is_told_to_stop(job: Producing) -> bool:
    return (job.folder / "stop").exists()
