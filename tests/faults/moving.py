"""An execution as a process of its own, that kills itself at a chosen call: see `tests.faults.fuses`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from redrive.config import Cluster, ClusterConfig
from redrive.ledger import Debts, Ledger
from redrive.partitions import execution as execution_module
from redrive.partitions.execution import Execution
from redrive.partitions.layout import Move
from redrive.partitions.waves import Limits
from redrive.partitions.writer import PartitionWriter
from tests.faults.fuses import Fuse

CALLS = [
    *((PartitionWriter, call) for call in ("reassign", "cancel", "configure", "elect_preferred")),
    *((Debts, call) for call in ("owe", "settle")),
]


class Job(msgspec.Struct):
    """What to do, and where to die.

    Attributes:
        way: ``run`` or ``roll_back``.
        point: such as ``after reassign:2``; empty for none.
    """

    bootstrap: str
    ledger: str
    operation: str
    moves: list[tuple[str, int, tuple[int, ...], tuple[int, ...], int]]
    rate: int
    way: str = "run"
    point: str = ""


def main(job: Job) -> None:
    fuse = Fuse(job.point)
    for kind, call in CALLS:
        setattr(kind, call, fuse.wrap(call, getattr(kind, call)))
    execution_module.SAMPLE = 0.3
    moves = [Move(*each) for each in job.moves]
    cluster = Cluster("local", ClusterConfig(bootstrap=job.bootstrap), Path())
    given: dict[str, Any] = {"cluster": "local", "resources": ["local"], "who": "anna", "parameters": {}}
    with Ledger.open(job.ledger) as ledger, PartitionWriter(cluster) as writer:
        operation = ledger.begin("partition-rebalance", "run", operation_id=job.operation, **given)
        execution = Execution(writer, ledger.debts, operation, rate=job.rate, limits=Limits(2, patience=60, poll=0.1))
        result = execution.run(moves) if job.way == "run" else execution.roll_back(moves)
    print(msgspec.json.encode({"proved": result.proved, **result.evidence()}).decode(), flush=True)


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1].encode(), type=Job))
