"""Steps of a backfill before anything is written: look at both topics, try the migration; then make it ready."""

from __future__ import annotations

from prefect import get_run_logger, task

from redrive.config import Config
from redrive.errors import OtherMigrationError, StalePlanError
from redrive.migrations import shadow as shadows
from redrive.migrations.batches import transform
from redrive.migrations.compatibility import Finding
from redrive.migrations.groups import Group
from redrive.migrations.in_place import stock as in_place
from redrive.migrations.migration import Migration, prepare
from redrive.migrations.migrator import Direction
from redrive.migrations.shadow import Shadow
from redrive.migrations.survey import Standing, survey
from redrive.migrations.trial import Back, Trial, try_back, try_out
from redrive.migrations.way_back import see_that_rules_are_the_same
from redrive.pump.workers import Workers
from tasks.operations import Run
from tasks.retrying import BRIEFLY, PATIENTLY
from tasks.words import count


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
