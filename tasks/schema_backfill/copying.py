"""The step of a backfill that copies: partition by partition, at the pace of the run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prefect import task

from redrive.migrations.batches import transform
from redrive.migrations.copying import UnitResult, copy
from redrive.migrations.ends import Ends
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit
from redrive.pump.governor import Governor
from redrive.pump.model import Chunk, Rejected, Transform, Transformed
from redrive.pump.pump import Progress
from tasks.board import Board
from tasks.retrying import UNIT_BY_UNIT
from tasks.schema_backfill.steps import Backfilling
from tasks.side_by_side import Hidden, UnitEnd, Work, unit_end, work_at
from tasks.words import count, number

End = UnitEnd[Unit, UnitResult]


class Copying(Work):
    """What the tasks share that copy partitions.

    Args:
        most_parked: so many events may be parked, over all partitions; at one more the run stops, and does not park it.

    Attributes:
        fate: what would become of one more.
        migrate: what migrates events; counts nothing.
    """

    fate = "would have to be parked"

    def __init__(
        self,
        backfilling: Backfilling,
        ends: Ends,
        governor: Governor,
        board: Board,
        *,
        patience: float,
        most_parked: int,
    ) -> None:
        super().__init__(governor, board, patience=patience)
        self.backfilling, self.ends = backfilling, ends
        self.migrate = transform(backfilling.workers, backfilling.migration.spec)
        self._most_parked = most_parked
        units = [standing.unit for standing in backfilling.standings]
        self._parked = Counter({unit: board.parked(unit) for unit in units})  # by an earlier part of this run
        self._counting = threading.Lock()
        self._copied_to: dict[Unit, int] = {}

    def transform(self, unit: Unit) -> Transform:
        """Make what migrates a unit's events, as long as not too many of all units have to be parked."""

        def transformed(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Sequence[Transformed]]]:
            self.begin(unit, self.board.parked(unit))
            for chunk, became in self.migrate(chunks):
                self.count(unit, sum(isinstance(each, Rejected) for each in became))
                yield chunk, became

        return transformed

    def copied_to(self, unit: Unit, offset: int) -> None:
        """Hear how far a unit has been copied."""
        self._copied_to[unit] = offset

    def moved(self, unit: Unit, progress: Progress) -> None:
        """Hear what has become of a unit's events so far; what has come meanwhile is still to be copied."""
        self.board.moved(unit, progress)
        end, at = self.ends.latest(unit.partition), self._copied_to.get(unit)
        if end is not None and at is not None:
            self.board.waits(unit, max(0, end - at))
            if at >= end:
                self.board.idle(unit, self.ends.answered_at)

    def begin(self, unit: Unit, parked: int) -> None:
        """Hear, at each try, how many of a unit's events were parked so far: what was under way comes again."""
        with self._counting:
            self._parked[unit] = parked

    def count(self, unit: Unit, rejected: int) -> None:
        """Count events that have to be parked, by the rules or because brokers refuse them.

        Raises:
            StoppedError: they are too many.
        """
        if not rejected:
            return
        with self._counting:
            self._parked[unit] += rejected
            parked = self._parked.total()
        if parked > self._most_parked:
            self.governor.stop(
                f"{count(parked, 'event')} {self.fate}, and at most {number(self._most_parked)} may be: "
                "mend the rules, or allow more"
            )
            self.governor.check()


@task(
    name="copy partition",
    task_run_name="copy {unit}",
    description="Copies one partition. A retry goes on from the cursor that is in Kafka.",
    **UNIT_BY_UNIT,
)
def copy_partition(unit: str, standing: Hidden[Standing], work: Copying) -> UnitResult:
    """Copy one partition.

    Raises:
        RedriveError: see `redrive.migrations.copying.copy`.
    """
    of, at = standing.of.unit, standing.of
    shared = work.backfilling
    with work.at(of):
        return copy(
            shared.client,
            of,
            work.transform(of),
            migration=shared.migration.digest,
            rules=shared.migration.up,
            operation=shared.run.id,
            first=at.first,
            until=partial(work.ends.of, of.partition),
            total=at.left,
            governor=work.governor,
            on_progress=partial(work.moved, of),
            on_copied=partial(work.copied_to, of),
            on_refused=partial(work.count, of),
        )


def copy_partitions(
    work: Copying, standings: Sequence[Standing] = (), *, parallel: int, on_cancel: Callable[[], None]
) -> list[End]:
    """Copy partitions, so many at a time, and say how each has ended; see `tasks.side_by_side.work_at`.

    Args:
        work: what the steps share.
        standings: these partitions; none: all.
        parallel: how many at a time.
        on_cancel: see `tasks.side_by_side.work_at`.
    """
    standings = standings or work.backfilling.standings
    parameters = {
        standing.unit: {"unit": str(standing.unit), "standing": Hidden(standing), "work": work}
        for standing in standings
    }
    ends = work_at(work, copy_partition, parameters, parallel=parallel, on_cancel=on_cancel)
    return [unit_end(standing.unit, ends[standing.unit]) for standing in standings]
