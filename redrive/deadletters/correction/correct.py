"""Correct the letters of one partition: through the pump, exactly once, each to where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redrive.config import Config
from redrive.deadletters.correction.batch import Unit
from redrive.deadletters.correction.order_guard import OrderGuard, Policy
from redrive.deadletters.correction.source import LetterSource
from redrive.deadletters.fate import Fate
from redrive.deadletters.judging.finding import see_that_names_stand
from redrive.deadletters.judging.judge import Judging
from redrive.deadletters.judging.targets import Targets
from redrive.errors import OvertakenError, StalePlanError
from redrive.events import Event
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.governor import Governor
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.parking import ensure_parking
from redrive.pump.pump import Outcome, Progress, Pump
from redrive.pump.sink import TransactionalSink

PREFETCH = 1
CHUNK_BYTES = 4 << 20  # letters are small and have many headers: in Python they take ten times their bytes, or more


class _LookingSink:
    """The sink, before which the order guard looks again."""

    def __init__(self, sink: TransactionalSink, source: LetterSource) -> None:
        self._sink, self._source = sink, source
        self.start, self.close = sink.start, sink.close

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        if late := self._source.overtaken_meanwhile(events):
            raise OvertakenError(late, aborted=False)
        self._sink.commit(events, cursor)


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What became of a unit's letters; totals and evidence are those of the whole operation."""

    unit: Unit
    outcome: Outcome


def correct(
    config: Config,
    unit: Unit,
    judge: Judging,
    guard: OrderGuard,
    policy: Policy,
    *,
    operation: str,
    targets: Targets,
    seen: bytes | None,
    record_fates: Callable[[Sequence[Fate]], object],
    governor: Governor | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> UnitResult:
    """Correct a unit's letters; goes on where an earlier attempt of the same operation has left off.

    Args:
        config: the platform.
        unit: which letters.
        judge: says what becomes of each.
        guard: says which are overtaken.
        policy: what becomes of those.
        operation: its id.
        targets: where letters can go, by the plan.
        seen: the unit's checkpoint when the plan was made. Whatever another operation has done to these letters since
            then is not in the plan.
        record_fates: records what stays where it is.
        governor: the pace, shared by all units of a run.
        on_progress: called about once a second.

    Raises:
        StalePlanError: another operation has worked at this unit since the plan was made, or producers of a main topic
            were switched to another one.
        StoppedError: the governor was stopped; the cursor is clean.
        FencedError: another run has taken this unit over.
        UnavailableError: Kafka, the registry or the ledger does not answer; call again later.
    """
    client = config.cluster(unit.cluster).client_config()
    governor = governor or Governor()
    sink = TransactionalSink(client, unit.name, operation=operation, check=governor.check)
    try:
        cursor = sink.start()
        if cursor is not None and cursor != seen and (of := Checkpoint.of_any(cursor).operation) != operation:
            raise StalePlanError(f"operation {of} has worked at {unit} meanwhile")
        see_that_names_stand(client, targets)
        ensure_parking(client)
        source = LetterSource(
            client, unit, judge, guard, policy,
            operation=operation, record_fates=record_fates, share=lambda: governor.share(1.0),
        )  # fmt: skip
        pump = Pump(
            source,
            _LookingSink(sink, source),
            parking_topic=PARKING_TOPIC,
            operation=operation,
            governor=governor,
            chunk_bytes=CHUNK_BYTES,
            prefetch=PREFETCH,
            positions=sink.positions,
            on_progress=on_progress,
            total=len(unit.offsets),
        )
        return UnitResult(unit, pump.run(cursor))
    finally:
        sink.close()
