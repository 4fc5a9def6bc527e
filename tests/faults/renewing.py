"""A program under test: one life of a migration in place, of one partition, that kills itself at a chosen call."""

from __future__ import annotations

from pathlib import Path

import msgspec

from redrive.migrations.in_place import guard, log, renewing
from redrive.pump import pump, sink
from tests.faults.fuses import Fuse, fused_sink, fused_transactions
from tests.faults.processes import enter
from tests.stack.migrations.keyed import Topic
from tests.stack.migrations.lab import Lab


class Job(msgspec.Struct):
    """What to do, and where to die.

    Attributes:
        point: such as ``before holds:2``; empty for none. See `tests.faults.fuses`.
    """

    bootstrap: str
    topic: str
    operation: str
    log: str
    point: str = ""


def main(job: Job) -> None:
    enter(Path(job.log))
    fuse = Fuse(job.point)
    sink.Transactions = fused_transactions(fuse)  # type: ignore[misc]
    renewing.TransactionalSink = fused_sink(fuse, 10.0)  # type: ignore[misc]
    guard.Guard.holds = fuse.wrap("holds", guard.Guard.holds)  # type: ignore[method-assign]
    log._BATCH, pump._FIRST_BYTES, pump._LEAST_BYTES = 20, 1_000, 1_000  # many transactions
    topic = Topic(Lab({"bootstrap.servers": job.bootstrap}, job.topic, job.topic))
    result = topic.renew(job.operation)
    print(f"published {result.outcome.published} again", flush=True)
