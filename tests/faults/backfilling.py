"""A program under test: one life of a backfill, by the library, that kills itself at a chosen call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from redrive.columnar import writing
from redrive.columnar.events import EventColumns
from redrive.config import Config
from redrive.migrations import copying, shadow
from redrive.migrations.batches import transform
from redrive.migrations.columns.coverage import FEWEST
from redrive.migrations.copying import UnitResult, copy
from redrive.migrations.ends import Ends
from redrive.migrations.migration import prepare
from redrive.migrations.survey import Standing, survey
from redrive.pump import partition_reading, pump, sink
from redrive.pump.workers import Workers
from tests.faults.fuses import Fuse, fused_sink, fused_transactions
from tests.faults.processes import enter

CALLS = {"create": 1, "survey": 1, "start": 2, "begin": 14, "commit": 12, "transaction": 14, "end": 1}
"""Calls of a backfill of two partitions, and a sensible highest N of each; see `tests.faults.fuses`."""


class Job(msgspec.Struct):
    """What to do, and where to die.

    Attributes:
        settings: the platform's file.
        point: such as ``after commit:2``; empty for none.
        follow: seconds for which it copies what comes.
        rules: whether events are migrated by rules; else many go at once, by columns.
    """

    settings: str
    source: str
    target: str
    operation: str
    log: str
    point: str = ""
    follow: float = 0.0
    rules: bool = True


def main(job: Job) -> None:
    enter(Path(job.log))
    fuse = Fuse(job.point)
    sink.Transactions = fused_transactions(fuse)  # type: ignore[misc]
    copying.TransactionalSink = fused_sink(fuse, 10.0)  # type: ignore[misc]
    # Many transactions, of as many events as columns are for.
    partition_reading.BATCH, pump._FIRST_BYTES, pump._LEAST_BYTES = 20 if job.rules else FEWEST, 1_000, 1_000
    at_once = counted()
    config = Config.load(job.settings)
    rules = config.rule_file("rules.yaml") if job.rules else None
    topics = shadow.look(config, job.source, job.target)
    migration = prepare(config, job.source, job.target, rules=rules, register=True)
    with fuse.around("create"):
        shadow.create(config, topics)
    client = config.cluster("one").client_config()
    with fuse.around("survey"):
        standings = survey(client, "one", job.source, job.target, migration.digest)
    ends = Ends(client, job.source, len(standings), follow=job.follow)

    def at(standing: Standing) -> UnitResult:
        part = standing.unit.partition
        return copy(
            client, standing.unit, transform(Workers(0), migration.spec), migration=migration.digest,
            operation=job.operation, first=standing.first, until=lambda: ends.of(part), total=standing.left,
        )  # fmt: skip

    with ThreadPoolExecutor(len(standings)) as threads:
        results = list(threads.map(at, standings))
    with fuse.around("end"):
        print(f"copied up to {[result.next for result in results]}; {sum(at_once)} events by columns", flush=True)
        if not job.rules and any(standing.left > FEWEST for standing in standings):
            assert at_once, "columns were to be used"


def counted() -> list[int]:
    """Take note of how many events are produced by columns."""
    produced: list[int] = []
    produce = writing.produce

    def produce_and_count(producer: Producer, events: EventColumns, first: int, **more: Any) -> tuple[int, int]:
        produced.append(len(events) - first)
        return produce(producer, events, first, **more)

    writing.produce = produce_and_count
    return produced
