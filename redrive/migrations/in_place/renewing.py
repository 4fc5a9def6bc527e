"""Renew one partition: through the pump, each key's newest event published once under the new schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing

from redrive.errors import OvertakenError, RefusedError
from redrive.events import Event
from redrive.migrations.copying import UnitResult
from redrive.migrations.in_place.guard import Guard
from redrive.migrations.in_place.log import PartitionLog
from redrive.migrations.in_place.newest import windows
from redrive.migrations.in_place.source import Cursor, InPlaceSource, cursor_of
from redrive.migrations.unit import Unit
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.governor import Governor
from redrive.pump.limits import limits_of
from redrive.pump.model import Chunk, Rejected, Sink, Skipped, Transform, Transformed
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.pump import Outcome, Progress, Pump
from redrive.pump.readback import ClientConfig, end_offsets, start_offsets
from redrive.pump.sink import TransactionalSink

STAYS = "stays as it is: "
"""What the reasons of events begin with that can't be migrated."""

REFUSED = f"{STAYS}refused: "
"""What those reasons begin with if brokers refuse the migrated event."""


def renew(
    client_config: ClientConfig,
    unit: Unit,
    transform: Transform,
    *,
    again: Transform,
    target: int,
    operation: str,
    upto: int,
    total: int,
    governor: Governor | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_begin: Callable[[int], None] = lambda _: None,
    on_refused: Callable[[int], None] = lambda _: None,
) -> UnitResult:
    """Publish again, under the new schema, each key's newest event of a partition that has another one.

    What can't be migrated stays as it is, and is counted. So does what gets a newer event before its turn.

    Args:
        client_config: the cluster.
        unit: which partition; its source is its target.
        transform: the migration.
        again: likewise, for single events that have to be published again.
        target: id of the schema.
        operation: id of the operation.
        upto: the offset to stop before.
        total: how many offsets there are, about.
        governor: the pace, shared by all units of a run.
        on_progress: called about once a second.
        on_begin: called once, with how many events the operation has left as they are so far; those that were under way
            when it was cut off come again.
        on_refused: called with how many events brokers refuse, before they are left as they are; what it raises ends
            this.

    Raises:
        StoppedError: the governor was stopped; all up to the cursor is committed.
        FencedError: another run has taken this unit over.
        UnavailableError: Kafka or the registry does not answer, or the partition has to be read anew; call again later.
    """
    governor = governor or Governor()
    with _log(client_config, unit, governor) as log, _log(client_config, unit, governor) as events:
        within = limits_of(client_config, unit.source).deletions_ms / 2000  # half of it, for whatever comes after
        guard = Guard(log, unit, again, within)
        sink = TransactionalSink(client_config, unit.name, operation=operation, check=governor.check, guard=guard)
        try:
            cursor, first, since = _begin(client_config, sink, unit, operation)
            on_begin(count_reasons(_so_far(cursor, operation).skipped, STAYS))
            staying = _Staying(sink, guard, on_refused)
            outcome: Outcome | None = None
            ids = [target]
            for newest in windows(log, first, upto, guard.ours, ids, within=within):
                guard.newest = newest
                if outcome is None:
                    _mend(staying, guard.mend(since), cursor)
                pump = Pump(
                    InPlaceSource(events, unit, guard, target, ids),
                    staying,
                    parking_topic=PARKING_TOPIC,  # which gets nothing: see `_staying`
                    operation=operation,
                    transform=_staying(transform),
                    governor=governor,
                    on_progress=on_progress,
                    total=total,
                )
                outcome = pump.run(cursor)
                cursor = outcome.cursor or cursor
            return UnitResult(unit, outcome or _so_far(cursor, operation), upto)
        finally:
            sink.close()


def count_reasons(skipped: Mapping[str, int], prefix: str) -> int:
    """Count events whose reasons begin so."""
    return sum(count for reason, count in skipped.items() if reason.startswith(prefix))


def _begin(client_config: ClientConfig, sink: TransactionalSink, unit: Unit, operation: str) -> tuple[bytes, int, int]:
    """Take the unit over; give its cursor, where to begin, and since when something may have been given up."""
    saved = sink.start()
    before = cursor_of(saved)
    end = end_offsets(client_config, unit.source)[unit.partition]
    if before is not None and max(before[1].next, before[1].since) > end:
        before = None  # the topic was made anew since
    if before is not None and saved is not None and before[0] == operation:
        return saved, before[1].next, before[1].since
    first = start_offsets(client_config, unit.source)[unit.partition]
    # What is in a transaction of somebody's that is open yet is not known yet.
    known = end_offsets(client_config, unit.source, committed=True)[unit.partition]
    now = Cursor(first, known if before is None else before[1].since)
    cursor = Checkpoint(operation=operation, source=now.encode()).encode()
    sink.commit((), cursor)  # before anything is published: where to look for it
    return cursor, first, now.since


def _so_far(cursor: bytes, operation: str) -> Outcome:
    """Say what a unit has done that has nothing left to do."""
    now = Checkpoint.decode(cursor, operation)
    return Outcome(now.read, now.published, now.skipped, now.parked, now.size, now.seconds, now.topics, cursor, 0.0)


def _log(client_config: ClientConfig, unit: Unit, governor: Governor) -> closing[PartitionLog]:
    return closing(PartitionLog(client_config, unit.source, unit.partition, governor.check))


def _mend(sink: Sink, events: Sequence[Event], cursor: bytes) -> None:
    """Publish what stands before events of ours that were given up, as a run left them that has died."""
    while events:
        try:
            sink.commit(events, cursor)
            return
        except OvertakenError as error:
            now = (error.changed.get(index, event) for index, event in enumerate(events))
            events = [event for event in now if isinstance(event, Event)]


def _staying(transform: Transform) -> Transform:
    """Leave what can't be migrated where it is."""

    def transformed(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Sequence[Transformed]]]:
        for chunk, became in transform(chunks):
            yield (
                chunk,
                [Skipped(STAYS + each.reason) if isinstance(each, Rejected | Skipped) else each for each in became],
            )

    return transformed


class _Staying:
    """The sink; what brokers refuse is left where it is.

    But a newer event that an event of ours stands behind has to be last again: unmigrated, if it is refused migrated.
    """

    def __init__(self, sink: Sink, guard: Guard, on_refused: Callable[[int], None]) -> None:
        self._sink, self._guard, self._on_refused = sink, guard, on_refused

    def start(self) -> bytes | None:
        return self._sink.start()

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        try:
            self._sink.commit(events, cursor)
        except RefusedError as error:
            changed = {
                index: self._guard.unmigrated(events[index]) or Skipped(REFUSED + reason)
                for index, reason in error.refused.items()
            }
            self._on_refused(sum(isinstance(each, Skipped) for each in changed.values()))
            raise OvertakenError(changed) from None

    def close(self) -> None:
        self._sink.close()
