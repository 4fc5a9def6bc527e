"""Steps of a backfill in place: count a topic's keys, publish their newest events again, check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prefect import get_run_logger, task

from redrive.migrations import comparing
from redrive.migrations.batches import transform
from redrive.migrations.census import Count
from redrive.migrations.copying import UnitResult
from redrive.migrations.in_place.renewing import REFUSED, count_reasons, renew
from redrive.migrations.in_place.stock import Stock, take_stock
from redrive.migrations.survey import Standing
from redrive.migrations.trial import Trial
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked
from redrive.pump.model import Chunk, Rejected, Transform, Transformed
from tasks.retrying import PATIENTLY, UNIT_BY_UNIT
from tasks.schema_backfill.comparing import SAMPLE_OF, How
from tasks.schema_backfill.copying import Copying, End
from tasks.schema_backfill.steps import Backfilling
from tasks.side_by_side import Hidden, unit_end, work_at
from tasks.words import count


@task(task_run_name="count keys of {work.source}, and try the migration", **PATIENTLY)
def count_keys(work: Backfilling, sample: int | None) -> tuple[Stock, Trial]:
    """Count the topic's keys by the schema of their newest events, and try the migration on those. Writes nothing.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    migration = work.migration
    tried = transform(work.workers, migration.spec)
    stock, trial = take_stock(work.client, work.standings, tried, target=migration.recipe.target, sample=sample)
    get_run_logger().info("%s, counted and tried in %.1f s", count(stock.live, "live key"), trial.seconds)
    return stock, trial


class Renewing(Copying):
    """What the tasks share that renew partitions."""

    fate = "would have to stay unmigrated"

    def transform(self, unit: Unit) -> Transform:
        """Make what migrates a unit's events, as long as not too many of all units can't be migrated."""

        def transformed(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Sequence[Transformed]]]:
            for chunk, became in self.migrate(chunks):
                self.count(unit, sum(isinstance(each, Rejected) for each in became))
                yield chunk, became

        return transformed


@task(
    name="renew partition",
    task_run_name="renew {unit}",
    description="Publishes the newest events of a partition's keys again, under the new schema.",
    **UNIT_BY_UNIT,
)
def renew_partition(unit: str, standing: Hidden[Standing], work: Copying) -> UnitResult:
    """Renew one partition.

    Raises:
        RedriveError: see `redrive.migrations.in_place.renewing.renew`.
    """
    of, at = standing.of.unit, standing.of
    shared = work.backfilling
    with work.at(of):
        return renew(
            shared.client,
            of,
            work.transform(of),
            again=work.migrate,
            target=shared.migration.recipe.target,
            operation=shared.run.id,
            upto=work.ends.of(of.partition) or 0,
            total=at.left,
            governor=work.governor,
            on_progress=partial(work.board.moved, of),
            on_begin=partial(work.begin, of),
            on_refused=partial(work.count, of),
        )


def renew_partitions(work: Copying, *, parallel: int, on_cancel: Callable[[], None]) -> list[End]:
    """Renew all partitions, so many at a time, and say how each has ended; see `tasks.side_by_side.work_at`."""
    standings = work.backfilling.standings
    parameters = {
        standing.unit: {"unit": str(standing.unit), "standing": Hidden(standing), "work": work}
        for standing in standings
    }
    ends = work_at(work, renew_partition, parameters, parallel=parallel, on_cancel=on_cancel)
    return [unit_end(standing.unit, ends[standing.unit]) for standing in standings]


@task(
    name="check",
    task_run_name="check {unit}",
    description="Reads a partition anew: what was published again is compared with what it was made of, and keys are "
    "counted by schema.",
    **PATIENTLY,
)
def check_partition(
    unit: str, standing: Hidden[Standing], work: Backfilling, how: How, refused: int
) -> tuple[Checked, Stock]:
    """Check one partition.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    return comparing.check_partition(
        work.workers,
        work.client,
        work.migration.spec,
        standing.of,
        operation=work.run.id,
        target=work.migration.recipe.target,
        every=SAMPLE_OF if how == "sample" else 1,
        refused=refused,
    )


def check_partitions(work: Backfilling, results: Sequence[UnitResult], *, how: How) -> tuple[list[Checked], Count]:
    """Check partition by partition; also counts the topic's keys by the schema of their newest events."""
    lows = {standing.unit: standing.first for standing in work.standings}
    futures = []
    for result in results:
        renewed = Hidden(Standing(result.unit, lows[result.unit], None, result.next))
        refused = count_reasons(result.outcome.skipped, REFUSED)
        futures.append(check_partition.submit(str(result.unit), renewed, work, how, refused))
    found = [future.result() for future in futures]
    total = sum((stock for _, stock in found), Stock())
    return [checked for checked, _ in found], Count(dict(total.ids), total.unframed, total.deleted)
