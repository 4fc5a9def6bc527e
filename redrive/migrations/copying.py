"""Copy one partition: through the pump, exactly once, each event as the migration makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redrive.columnar.librdkafka import usable
from redrive.migrations.source import TopicSource, copied
from redrive.migrations.unit import Unit
from redrive.pump.giving_back import give_back
from redrive.pump.governor import Governor
from redrive.pump.model import Transform
from redrive.pump.names import MIGRATION_HEADER, PARKING_TOPIC
from redrive.pump.parking import ensure_parking
from redrive.pump.pump import Outcome, Progress, Pump
from redrive.pump.readback import ClientConfig
from redrive.pump.sink import TransactionalSink

PREFETCH = 1


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What became of a unit's events in this operation.

    Attributes:
        next: how far the source has been copied, by all operations.
    """

    unit: Unit
    outcome: Outcome
    next: int


def copy(
    client_config: ClientConfig,
    unit: Unit,
    transform: Transform,
    *,
    migration: str,
    operation: str,
    first: int,
    until: Callable[[], int | None],
    total: int,
    rules: str | None = None,
    governor: Governor | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_copied: Callable[[int], None] = lambda _: None,
    on_refused: Callable[[int], None] = lambda _: None,
) -> UnitResult:
    """Copy what of a partition has not been copied yet; goes on where whichever run was last has left off.

    Args:
        client_config: the cluster.
        unit: which partition, and where to.
        transform: the migration.
        migration: its digest.
        operation: id of the operation.
        first: the offset to begin with, where nothing has been copied yet.
        until: says, whenever asked, the offset to stop before; None: follow what comes.
        total: how many events there are to copy, about.
        rules: see `redrive.migrations.source.Cursor`.
        governor: the pace, shared by all units of a run.
        on_progress: called about once a second.
        on_copied: see `redrive.migrations.source.TopicSource`.
        on_refused: see `Pump`.

    Raises:
        OtherMigrationError: another migration has begun to fill the target.
        StoppedError: the governor was stopped; the cursor is clean.
        TopicCutError: the source ends before what has been copied.
        FencedError: another run has taken this unit over.
        UnavailableError: Kafka or the registry does not answer; call again later.
    """
    governor = governor or Governor()
    usable()  # compiles its loops, which is better done before there is a transaction
    sink = TransactionalSink(client_config, unit.name, operation=operation, check=governor.check)
    try:
        cursor = sink.start()
        ensure_parking(client_config)
        pump = Pump(
            TopicSource(
                client_config, unit, migration=migration, first=first, until=until, rules=rules, on_copied=on_copied
            ),
            sink,
            parking_topic=PARKING_TOPIC,
            parking_headers=[(MIGRATION_HEADER, migration.encode())],
            operation=operation,
            transform=transform,
            governor=governor,
            prefetch=PREFETCH,
            positions=sink.positions,
            on_progress=on_progress,
            on_refused=on_refused,
            total=total,
        )
        outcome = pump.run(cursor)
        now = copied(outcome.cursor, unit, migration)
        return UnitResult(unit, outcome, first if now is None else now)
    finally:
        sink.close()
        give_back()  # the comparison comes next, in other processes
