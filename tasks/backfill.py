"""Steps of a backfill: look at both topics, try the migration, copy, compare, move consumer groups."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait

from redrive.config import Config
from redrive.errors import (
    ConfigError,
    OtherMigrationError,
    PartitionsChangedError,
    StalePlanError,
    UnknownTopicError,
)
from redrive.migrations import shadow as shadows
from redrive.migrations.batches import transform
from redrive.migrations.census import Count, take_census
from redrive.migrations.comparing import verify_partition
from redrive.migrations.compatibility import Finding
from redrive.migrations.copying import UnitResult, copy
from redrive.migrations.ends import Ends
from redrive.migrations.groups import Group, Groups
from redrive.migrations.in_place import stock as in_place
from redrive.migrations.migration import Migration, prepare
from redrive.migrations.migrator import Direction
from redrive.migrations.moving import GroupMove, move_groups, preview
from redrive.migrations.shadow import Shadow
from redrive.migrations.survey import Standing, copied_so_far, survey
from redrive.migrations.trial import Back, Trial, try_back, try_out
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, Compacts, parked_offsets
from redrive.migrations.way_back import see_that_rules_are_the_same
from redrive.pump.governor import Governor
from redrive.pump.model import Chunk, Rejected, Transform, Transformed
from redrive.pump.pump import Progress
from redrive.pump.readback import end_offsets, partition_count
from redrive.pump.workers import Workers
from tasks.board import Board
from tasks.operations import Run
from tasks.retrying import BRIEFLY, PATIENTLY
from tasks.side_by_side import MANY, Hidden, UnitEnd, Work, unit_end, work_at
from tasks.words import count, number

How = Literal["full", "sample", "new"]
"""What is compared: each event with its value; each event, but of a sample only its value; what this run has copied."""

MANY_EVENTS = 50_000
"""Events from which on other processes are worth starting to compare them."""

SAMPLE_OF = 100
"""Of so many events, a sample has one."""


class Backfilling:
    """What the steps of one run share. Not one of the types that Prefect looks into when it is handed to a task.

    Attributes:
        migration: what is done to events; its schema may not be registered yet.
        topics: both of them, as they were when they were looked at.
        standings: how far each partition is.
        groups: consumer groups that are to be moved, as they stand.
    """

    migration: Migration
    topics: Shadow
    standings: list[Standing]
    groups: list[Group]

    def __init__(self, config: Config, run: Run, way: tuple[str, str], direction: Direction, workers: Workers) -> None:
        self.config, self.run, self.workers = config, run, workers
        (self.source, self.target), self.direction = way, direction
        self.cluster = config.topic(self.source).cluster
        self.client = config.cluster(self.cluster).client_config()


@task(task_run_name="look at {work.source} and {work.target}", **BRIEFLY)
def look_at_topics(work: Backfilling, rules: str | None) -> None:
    """Find out what there is, and make the migration ready. Changes nothing.

    Args:
        work: what the steps share.
        rules: the file of rules, relative to the settings' folder.

    Raises:
        ConfigError: the topics can't be source and target of a backfill.
        RulesError: the file of rules has mistakes.
        SchemaError: the target's schema can't be used.
        OtherMigrationError: the target was begun to be filled by another migration.
        UnavailableError: Kafka or the registry does not answer.
    """
    _look(work, rules)


def _look(work: Backfilling, rules: str | None) -> None:
    config = work.config
    if work.source == work.target:
        work.topics, work.standings = in_place.look(config, work.source)
    else:
        work.topics = shadows.look(config, work.source, work.target)
    path = None if rules is None else config.rule_file(rules)
    work.migration = prepare(config, work.source, work.target, rules=path, direction=work.direction)
    if work.source == work.target:
        return
    if work.direction == "down":
        see_that_rules_are_the_same(work.client, work.cluster, work.migration)
    try:
        work.standings = survey(work.client, work.cluster, work.source, work.target, work.migration.digest)
    except OtherMigrationError as error:
        raise OtherMigrationError(error.source, error.target, back=work.direction == "down") from error


@task(task_run_name="make {work.target} ready", **BRIEFLY)
def make_ready(work: Backfilling, rules: str | None) -> None:
    """Create the target and register its schema, if they are not there, and look how far the copying is.

    Raises:
        StalePlanError: what the plan was made from has changed meanwhile.
        SchemaError: the registry does not take the target's schema.
        UnavailableError: Kafka or the registry does not answer.
    """
    config, planned, settings = work.config, work.migration.digest, work.topics.config
    _look(work, rules)
    if work.migration.digest != planned:
        raise StalePlanError("the rules, or the target's schema, have changed since the plan was made")
    if work.topics.config != settings:
        raise StalePlanError(f"the settings of {work.target} were {settings}, and are {work.topics.config}")
    shadows.create(config, work.topics)
    path = None if rules is None else config.rule_file(rules)
    work.migration = prepare(config, work.source, work.target, rules=path, direction=work.direction, register=True)


@task(task_run_name="look at consumer groups of {topic}", **BRIEFLY)
def look_at_groups(work: Backfilling, topic: str, names: Sequence[str]) -> None:
    """Find the consumer groups that have a place on a topic: those of these names, or all.

    Raises:
        ConfigError: one that is named has none.
        UnavailableError: Kafka does not answer.
    """
    work.groups = Groups(work.client).on(topic, names)
    if unknown := set(names) - {group.name for group in work.groups}:
        raise ConfigError("groups", f"{', '.join(sorted(unknown))}: no such consumer group has a place on {topic}")


@task(task_run_name="look where groups would be placed in {there}", **BRIEFLY)
def look_at_places(work: Backfilling, here: str, there: str) -> list[GroupMove]:
    """Say where consumer groups would be placed as of now, and why they would not be; none, if ``there`` is not there.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    try:
        ways = [copied_so_far(work.client, work.cluster, *way) for way in ((here, there), (there, here))]
        return preview(work.client, work.groups, work.cluster, here, there, *ways)
    except UnknownTopicError:
        return []


@task(task_run_name="try the migration", **PATIENTLY)
def try_migration(work: Backfilling, sample: int | None) -> Trial:
    """Say what the migration makes of events, without writing anything.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    trial = try_out(work.client, work.standings, transform(work.workers, work.migration.spec), sample=sample)
    get_run_logger().info("tried on %s in %.1f s", count(trial.events, "event"), trial.seconds)
    return trial


@task(task_run_name="try the way back", **PATIENTLY)
def try_way_back(work: Backfilling) -> Back | None:
    """Say what taking events up and down again would lose; None: there is no way back.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    if work.direction == "down" or not work.migration.has_way_back:
        return None
    return try_back(work.client, work.standings, work.migration)


@task(task_run_name="compare schemas", **BRIEFLY)
def compare_schemas(work: Backfilling, trial: Trial) -> dict[int, list[Finding]]:
    """Say where the schemas of the events that were tried differ from the target's.

    Raises:
        UnavailableError: the registry does not answer.
    """
    return work.migration.differences(sorted(each for each in trial.schemas if each is not None))


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
    retries=MANY,
    retry_delay_seconds=[1, 2, 3, 5],
    cache_policy=NO_CACHE,
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


@task(task_run_name="move consumer groups to {there}", **BRIEFLY)
def move(work: Backfilling, here: str, there: str) -> list[GroupMove]:
    """Move consumer groups from one of the topics to the other.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    copied = copied_so_far(work.client, work.cluster, here, there)
    returned = copied_so_far(work.client, work.cluster, there, here)
    run, moves = work.run, []

    def moved_before(group: str) -> dict[int, tuple[int, int]] | None:
        entry = run.ledger.latest(_moved_to(there, group), work.cluster)
        if entry is None:
            return None
        return {int(partition): (at, place) for partition, (at, place) in entry.body["places"].items()}

    for each in move_groups(work.client, work.groups, work.cluster, here, there, copied, returned, moved_before):
        if not each.reason:  # at once: a run that dies here must not set it back when it is run again
            places = {str(partition): list(place) for partition, place in each.places.items()}
            run.note(_moved_to(there, each.group), {"from": here, "places": places})
        moves.append(each)
    return moves


def _moved_to(topic: str, group: str) -> str:
    """Give the journal's word for: this group was moved to this topic."""
    return f"moved to {topic}: {group}"
