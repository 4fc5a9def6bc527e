"""Steps of a backfill that look whether all is in the target: both topics are read anew, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from prefect import task
from prefect.futures import wait

from redrive.errors import PartitionsChangedError
from redrive.migrations.census import Count, take_census
from redrive.migrations.comparing import verify_partition
from redrive.migrations.copying import UnitResult
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, Compacts, parked_offsets
from redrive.pump.readback import end_offsets, partition_count
from redrive.pump.workers import Workers
from tasks.retrying import BRIEFLY, PATIENTLY
from tasks.schema_backfill.steps import Backfilling

How = Literal["full", "sample", "new"]
"""What is compared: each event with its value; each event, but of a sample only its value; what this run has copied."""

MANY_EVENTS = 50_000
"""Events from which on other processes are worth starting to compare them."""

SAMPLE_OF = 100
"""Of so many events, a sample has one."""


@task(task_run_name="count partitions of {work.source}", **BRIEFLY)
def count_partitions(work: Backfilling) -> None:
    """See that all partitions have been copied: what there is to compare, and where anybody may move to.

    Raises:
        PartitionsChangedError: the source has got more of them since the run began.
        UnavailableError: Kafka does not answer.
    """
    now, before = partition_count(work.client, work.source), len(work.standings)
    if now != before:
        raise PartitionsChangedError(work.source, before, now)


@task(
    name="compare",
    task_run_name="compare {unit}",
    description="Reads a partition of both topics anew, and compares them event by event.",
    **PATIENTLY,
)
def compare_partition(unit: str, copied: _Copied, work: Backfilling, how: How) -> Checked:
    """Compare one partition of both topics.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    result = copied.result
    return verify_partition(
        copied.workers,
        work.client,
        work.migration.spec,
        result.unit,
        result.next,
        parked=copied.parked,
        every=SAMPLE_OF if how == "sample" else 1,
        since=copied.since,
        compacts=Compacts(_compacted(work.topics.source.config), _compacted(work.topics.config)),
    )


def _new(result: UnitResult, began: int) -> tuple[int, int]:
    """Say where what this run has copied begins, in the source and in the target."""
    evidence = result.outcome.evidence.get(result.unit.target)
    start = evidence.start if evidence else ()
    at = result.unit.partition
    return (began, start[at] if at < len(start) else 0)


Places = Mapping[Unit, tuple[int, int]]
"""Unit → an offset of the source, and one of the target."""


@task(task_run_name="look how far {work.target} has been compared", **BRIEFLY)
def look_how_far(work: Backfilling, results: Sequence[UnitResult]) -> Places:
    """Say where what has been copied ends now, in both topics, while nobody copies: see `compare_topics`.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    ends = end_offsets(work.client, work.target)
    return {result.unit: (result.next, ends[result.unit.partition]) for result in results}


def compare_topics(
    work: Backfilling, results: Sequence[UnitResult], *, how: How, since: Places | None = None
) -> list[Checked]:
    """Compare both topics, partition by partition.

    Args:
        work: what the steps share.
        results: how far each partition has been copied.
        how: what is compared.
        since: only what has been copied since then; None: see ``how``.
    """
    digest = work.migration.digest
    parked = parked_offsets(work.client, work.cluster, work.source, work.target, migration=digest)
    if since is None:
        began = {standing.unit: standing.begin for standing in work.standings}
        since = {each.unit: _new(each, began[each.unit]) if how == "new" else (0, 0) for each in results}
    events = sum(each.next - since.get(each.unit, (0, 0))[0] for each in results)
    # Of their own: copying may go on meanwhile, in others.
    with Workers(work.config.jobs.worker_processes() if events >= MANY_EVENTS else 0) as workers:
        futures = []
        for each in results:
            offsets = parked.get(each.unit.partition, frozenset())
            copied = _Copied(each, offsets, since.get(each.unit, (0, 0)), workers)
            futures.append(compare_partition.submit(str(each.unit), copied, work, how))
        wait(futures)  # or else one that fails would take the processes away from the others
        return [future.result() for future in futures]


class _Copied:
    """Hides what came of a unit from Prefect, which would look at each parked offset."""

    def __init__(self, result: UnitResult, parked: frozenset[int], since: tuple[int, int], workers: Workers) -> None:
        self.result, self.parked, self.since, self.workers = result, parked, since, workers


def _compacted(config: dict[str, str]) -> bool:
    return "compact" in config.get("cleanup.policy", "")


@task(task_run_name="count schema ids in {work.target}", **PATIENTLY)
def count_schemas(work: Backfilling) -> Count:
    """Count the target's events by the schema that they are written with.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    return take_census(work.client, work.target).total
