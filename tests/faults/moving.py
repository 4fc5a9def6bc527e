"""An execution as a process of its own, that kills itself at a chosen call: see `tests.faults.fuses`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from redrive.config import Cluster, ClusterConfig
from redrive.ledger import Debts, Ledger
from redrive.partitions import execution as execution_module
from redrive.partitions import following
from redrive.partitions.execution import Execution
from redrive.partitions.layout import Move
from redrive.partitions.strain import Strain
from redrive.partitions.waves import Limits
from redrive.partitions.writer import PartitionWriter
from tests.faults.fuses import Fuse
from tests.faults.processes import enter

CALLS = [
    *((PartitionWriter, call) for call in ("reassign", "cancel", "configure", "elect_preferred")),
    *((Debts, call) for call in ("owe", "settle")),
]


class Job(msgspec.Struct):
    """What to do, and where to die.

    Attributes:
        way: ``run`` or ``roll_back``.
        point: such as ``after reassign:2``; empty for none.
        strained: with a throttle that follows a limit, which is exceeded now and again.
        log: the file that its output goes to; the last line of a run that came to its end is its evidence.
    """

    bootstrap: str
    ledger: str
    log: str
    operation: str
    moves: list[Move]
    rate: int
    way: str = "run"
    point: str = ""
    strained: bool = False


class Flickers:
    """A gauge whose limit is exceeded every other time."""

    def __init__(self) -> None:
        self._over = False

    def read(self) -> Strain:
        self._over = not self._over
        return Strain(2.0 if self._over else 0.1, "flickers")


def main(job: Job) -> None:
    enter(Path(job.log))
    fuse = Fuse(job.point)
    for kind, call in CALLS:
        setattr(kind, call, fuse.wrap(call, getattr(kind, call)))
    execution_module.SAMPLE, following.EVERY, following.SLOWEST = 0.3, 0.2, job.rate // 4
    cluster = Cluster("local", ClusterConfig(bootstrap=job.bootstrap), Path())
    given: dict[str, Any] = {"cluster": "local", "resources": ["local"], "who": "anna", "parameters": {}}
    with Ledger.open(job.ledger) as ledger, PartitionWriter(cluster) as writer:
        operation = ledger.begin("partition-rebalance", "run", operation_id=job.operation, **given)
        execution = Execution(
            writer,
            ledger.debts,
            operation,
            rate=job.rate,
            limits=Limits(2, patience=60, poll=0.1),
            gauges=[Flickers()] if job.strained else [],
        )
        result = execution.run(job.moves) if job.way == "run" else execution.roll_back(job.moves)
    print(msgspec.json.encode({"proved": result.proved, **result.evidence()}).decode(), flush=True)
