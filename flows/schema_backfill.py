"""The job `schema-backfill`: all events of a topic under another schema, in another topic, its consumers with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as runtime

from redrive.config import Config
from redrive.errors import (
    HeldError,
    LateGroupsError,
    OtherMigrationError,
    RedriveError,
    StalePlanError,
    StrandedGroupsError,
)
from redrive.migrations.ends import Ends
from redrive.migrations.plan import Plan
from redrive.migrations.unit import JOB
from redrive.pump.workers import Workers
from tasks.approval import RefusedByPersonError, approve, bind
from tasks.board import Board
from tasks.ending import refused
from tasks.live import Live, Words
from tasks.operations import operation
from tasks.protection import Protect, governor_for, see_that_group_is_known
from tasks.schema_backfill.catching_up import catch_up_and_hold
from tasks.schema_backfill.comparing import compare_topics, count_partitions, count_schemas, look_how_far
from tasks.schema_backfill.copying import Copying, End, copy_partitions
from tasks.schema_backfill.ending import Ending
from tasks.schema_backfill.form import SWITCHES, Backfill
from tasks.schema_backfill.in_place import Renewing, check_partitions, count_keys, renew_partitions
from tasks.schema_backfill.in_turns import follow_in_turns
from tasks.schema_backfill.moving_groups import look_at_groups, look_at_places, move
from tasks.schema_backfill.plan import approval_text, headline, report_plan, revert_text
from tasks.schema_backfill.report import cancelled, finish, finish_early, finish_moved, still_storing
from tasks.schema_backfill.so_far import Done
from tasks.schema_backfill.steps import (
    Backfilling,
    compare_schemas,
    look_at_topics,
    make_ready,
    try_migration,
    try_way_back,
)
from tasks.schema_backfill.switching import is_switched, look_at_alias, switch_producers, was_cut_off

IN_PLACE = "in place of {}"
"""What is held while a topic is migrated in place. Not the topic: a replay need not wait for that."""

BACK = "back to {}"
"""What is held while events go back to a topic, beside topics: no topic can be named so."""


def _run_name() -> str:
    asked = Backfill.model_validate(runtime.parameters["backfill"])
    return f"{asked.mode} {asked.goal} {asked.source} → {asked.target}"


@flow(name=JOB, flow_run_name=_run_name, persist_result=False)
def schema_backfill(backfill: Backfill) -> State[Any]:
    """Bring all events of a topic to another schema, into another topic, while producers and consumers go on.

    Tries the rules first. With `mode: run` each event is copied exactly once, to the same partition and in order, with
    its key, time and headers; then both topics are read anew and compared, and consumer groups can be moved to exactly
    the same place. Only `feed_back`, `switch_back` and `in_place` write to the source. It may be cancelled or killed at
    any time: a new run goes on.

    Args:
        backfill: What is to be brought to another schema, and how far.
    """
    config = Config.load()
    parameters = backfill.model_dump(mode="json")
    cluster = config.topic(backfill.source).cluster
    with (
        operation(config, JOB, backfill.mode, cluster=cluster, resources=[cluster], parameters=parameters) as run,
        Workers(config.jobs.worker_processes()) as workers,
    ):
        try:
            if backfill.goal in {"feed_back", "switch_back"}:
                work = Backfilling(config, run, (backfill.target, backfill.source), "down", workers)
            else:
                work = Backfilling(config, run, (backfill.source, backfill.target), "up", workers)
            if backfill.mode == "run":
                hold_topics(work, backfill)
            if backfill.goal == "revert":
                return take_back(work, backfill)
            see_that_group_is_known(config, backfill.protect, [(work.cluster, work.source)])
            plan = decide(work, backfill)
            digest = bind(run, plan.canonical(), run.known_plan if backfill.mode == "run" else None)
            report_plan(run, plan, digest, mode=backfill.mode, rate=backfill.rate)
            get_run_logger().info("plan: %s", headline(plan))
            if backfill.mode == "plan":
                return finish_early(run, plan)
            approved = ""
            if needs_approval(config, plan) or run.has_asked():
                approved = approve(run, digest, approval_text(plan, digest), four_eyes=config.backfills.four_eyes)
            return carry_out(work, backfill, plan, approved)
        except (HeldError, StalePlanError, OtherMigrationError, LateGroupsError, RefusedByPersonError) as error:
            run.finish("refused", evidence={"reason": str(error)})
            return refused(run, str(error))


def hold_topics(work: Backfilling, backfill: Backfill) -> None:
    """Hold what no other job may touch meanwhile.

    Raises:
        HeldError: another run holds some of it.
    """
    held = [work.target]
    if backfill.goal == "in_place":
        held = [IN_PLACE.format(backfill.source)]
    elif backfill.goal in SWITCHES:
        # The source itself is held once producers are about to leave it: see `tasks.schema_backfill.catching_up`.
        held = [backfill.target, BACK.format(backfill.source)]
    elif backfill.goal == "feed_back":
        # For days, maybe. Replays by that name must not wait so long, and need not once they publish to the target;
        # that stays so while this is held.
        work.run.claim([(work.cluster, BACK.format(backfill.source))], all_or_none=True)
        held = [] if is_switched(work) else held
    if held:
        work.run.claim([(work.cluster, topic) for topic in held], all_or_none=True)


def decide(work: Backfilling, backfill: Backfill) -> Plan:
    """Look at the topics and the groups, and try the migration."""
    look_at_topics(work, backfill.rules)
    work.groups, moves = [], []
    if backfill.goal == "cut_over":
        look_at_groups(work, work.source, backfill.groups)
        moves = look_at_places(work, work.source, work.target)
    if backfill.goal in SWITCHES:
        look_at_alias(work, backfill.may_lag)
    stock, back = None, None
    if backfill.goal == "in_place":
        stock, trial = count_keys(work, backfill.sample or None)
    else:
        trial, back = try_migration(work, backfill.sample or None), try_way_back(work)
    return Plan(
        goal=backfill.goal,
        migration=work.migration,
        topics=work.topics,
        standings=tuple(work.standings),
        trial=trial,
        back=back,
        differences=compare_schemas(work, trial),
        groups=tuple(work.groups),
        stock=stock,
        moves=tuple(moves),
    )


def needs_approval(config: Config, plan: Plan) -> bool:
    """Say whether a person has to approve a plan: moving anybody, or no way back, always, unless nobody ever has to."""
    settings = config.backfills
    moves = plan.goal == "cut_over" or plan.goal in SWITCHES or (plan.goal == "in_place" and plan.left > 0)
    return settings.needs_approval(plan.left) or (moves and settings.approval != "none")


def carry_out(work: Backfilling, backfill: Backfill, plan: Plan, approved: str) -> State[Any]:
    """Copy, compare, move groups or producers, report."""
    run = work.run
    make_ready(work, backfill.rules)
    plan = replace(plan, migration=work.migration)  # its schema has an id now
    board = Board({standing.unit: standing.left for standing in work.standings})
    # If a switch was, producers store: nothing that can wait is done before they need not any more.
    cut_off = backfill.goal in SWITCHES and was_cut_off(work, backfill.source)
    done = Done(storing=storing(backfill) if cut_off else "")
    protect = None if cut_off else backfill.protect
    with at_work(work, backfill, board, done, backfill.rate, protect) as copying:
        done.ends = bring(copying, backfill, on_cancel=lambda: cancelled(run, board, done.storing))
    with told_at_the_end(done):
        if not cut_off:
            compare(work, backfill, done)
        if backfill.goal == "cut_over" and all(end.how == "done" for end in done.ends):
            look_at_groups(work, work.source, [group.name for group in plan.groups])
            if plan.groups and done.is_well:
                done.moved = move(work, work.source, work.target)
        if backfill.goal in SWITCHES and done.is_well:
            switch_over(work, backfill, board, done, copying.governor.rate, protect)
        if cut_off and done.switched:
            compare(work, backfill, done)  # all: nothing was before
    ending = Ending.of(plan, done, approved, how=backfill.verify, rate=backfill.rate, speeds=board.speeds())
    get_run_logger().info("%s: %s", ending.word, ending.headline)
    return finish(run, ending)


@contextmanager
def told_at_the_end(done: Done) -> Iterator[None]:
    """Keep for the report what fails after the copy: what was copied stays, and a new run goes on."""
    try:
        yield
    except Exception as error:  # whatever it is: who publishes has to hear that it may be stored
        if not isinstance(error, RedriveError):
            if not done.storing:
                raise
            get_run_logger().exception("the switch was not ended")
        done.unverified = str(error) or type(error).__name__


@contextmanager
def at_work(  # noqa: PLR0917 (a part of a run: what is shared, what is asked, where it stands, how fast)
    work: Backfilling, backfill: Backfill, board: Board, done: Done, rate: float | None, protect: Protect | None
) -> Iterator[Copying]:
    """Make what partitions are copied by, at a pace that can be changed, before everybody's eyes."""
    began = time.monotonic()
    way, word = (Renewing, "migrated") if backfill.goal == "in_place" else (Copying, "copied")
    topics = [(work.cluster, work.source)]
    with (
        governor_for(work.config, rate, protect, topics, patience=backfill.patience) as governor,
        Live(work.run, board, governor, rate, Words("partition", word)) as live,
    ):
        ends = Ends(work.client, work.source, len(work.standings), follow=backfill.follow_for * 60)
        try:
            yield way(work, ends, governor, board, patience=backfill.patience, most_parked=backfill.most_parked)
        finally:
            done.changes += live.pace.changes
            done.copy_seconds += time.monotonic() - began


def compare(work: Backfilling, backfill: Backfill, done: Done) -> None:
    """Compare both topics; or, in place, look at what was published again."""
    began = time.monotonic()
    if backfill.goal == "in_place":
        done.checked, done.schemas = check_partitions(work, done.results, how=backfill.verify)
    else:
        count_partitions(work)
        done.checked, done.schemas = compare_topics(work, done.results, how=backfill.verify), count_schemas(work)
        count_partitions(work)  # comparing takes its time, and then others may move
    done.compare_seconds += time.monotonic() - began


def storing(backfill: Backfill) -> str:
    """Say what producers do after a switch that was begun and not ended."""
    return still_storing(backfill.source, backfill.target, backfill.goal, backfill.rules)


def switch_over(  # noqa: PLR0917 (as `at_work`)
    work: Backfilling, backfill: Backfill, board: Board, done: Done, rate: float | None, protect: Protect | None
) -> None:
    """Copy what has come while the topics were copied and compared, then take producers over."""

    def on_cancel() -> None:
        cancelled(work.run, board, done.storing)

    since = look_how_far(work, done.results)
    with at_work(work, backfill, board, done, rate, protect) as copying:
        done.went_on(catch_up_and_hold(copying, backfill.source, parallel=backfill.partitions, on_cancel=on_cancel))
    if not done.is_well:
        return
    look_at_alias(work, backfill.may_lag)  # before anybody stores: hours may have passed since the plan
    done.storing = storing(backfill)
    try:
        done.switched, ends = switch_producers(
            work,
            backfill.rules,
            board,
            rate=copying.governor.rate,
            parallel=backfill.partitions,
            patience=backfill.patience,
            most_parked=backfill.most_parked,
            may_lag=backfill.may_lag,
            on_cancel=on_cancel,
        )
    except StrandedGroupsError:
        done.storing = ""  # it was not begun
        raise
    done.storing = ""
    done.went_on(ends)
    if done.checked:  # what has come since, also while producers were taken over
        began = time.monotonic()
        done.compared(compare_topics(work, done.results, how=backfill.verify, since=since))
        done.compare_seconds += time.monotonic() - began


def bring(copying: Copying, backfill: Backfill, *, on_cancel: Callable[[], None]) -> list[End]:
    """Copy all partitions, or renew them; in turns, if there are more to follow than are copied at the same time."""
    parallel = backfill.partitions
    if backfill.goal == "in_place":
        return renew_partitions(copying, parallel=parallel, on_cancel=on_cancel)
    if backfill.follow_for and len(copying.backfilling.standings) > parallel:
        return follow_in_turns(copying, backfill.follow_for * 60, parallel=parallel, on_cancel=on_cancel)
    return copy_partitions(copying, parallel=parallel, on_cancel=on_cancel)


def take_back(work: Backfilling, backfill: Backfill) -> State[Any]:
    """Move consumer groups back to the source, after approval if the settings ask for that."""
    run, settings = work.run, work.config.backfills
    look_at_groups(work, work.target, backfill.groups)
    names = sorted(group.name for group in work.groups)
    plan = {"goal": "revert", "from": f"{work.cluster}/{work.target}", "to": work.source, "groups": names}
    digest = bind(run, plan, run.known_plan if backfill.mode == "run" else None)
    ways = work.source, work.target
    if backfill.mode == "plan":
        moves = look_at_places(work, work.target, work.source)
        return finish_moved(run, moves, *ways, groups=work.groups, mode="plan")
    if settings.approval != "none":
        approve(run, digest, revert_text(work.groups, work.source, digest), four_eyes=settings.four_eyes)
    moves = move(work, work.target, work.source)
    return finish_moved(run, moves, *ways, groups=work.groups, mode="run")
