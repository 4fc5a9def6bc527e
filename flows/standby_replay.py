"""The job `standby-replay`: after an outage, bring back what producers stored, reopen the lanes, and prove it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as runtime

from redrive.config import Config
from redrive.errors import HeldError
from redrive.standby.lanes import Lane
from redrive.standby.schema_ids import SchemaIds
from tasks.board import Board
from tasks.ending import refused
from tasks.live import Live, Words
from tasks.operations import Run, operation
from tasks.pace import Pace
from tasks.protection import governor_for, see_that_group_is_known
from tasks.standby_replay.drain import Draining, drain_lanes, tidy_up
from tasks.standby_replay.earlier import (
    Earlier,
    keep_evidence,
    keep_in_time,
    still_owed,
    unproved,
    unproved_topics,
    verify_all_earlier,
    worked,
)
from tasks.standby_replay.form import Replay
from tasks.standby_replay.plan import JOB, Plan, make_plan
from tasks.standby_replay.plan_report import headline, report_plan
from tasks.standby_replay.report import Ending, cancelled, finish, finish_early
from tasks.standby_replay.survey import check_schemas, look_at_retention, survey
from tasks.standby_replay.verify import verify_lanes


def _run_name() -> str:
    replay = Replay.model_validate(runtime.parameters["replay"])
    return f"{replay.mode} {', '.join(replay.topics) or replay.cluster or 'all'}"


@flow(name=JOB, flow_run_name=_run_name, persist_result=False)
def standby_replay(replay: Replay = Replay()) -> State[Any]:  # noqa: B008 (nothing changes it)
    """Bring back the events that producers put into the standby store while their Kafka cluster was away.

    Surveys the store, plans, and, with `mode: run`, replays each lane into Kafka, exactly once and in order, opens it
    again to its producers, and proves it by reading the topics back. It may be cancelled or killed at any time: the
    next run goes on where this one stood. A run that finds nothing to replay ends at once.

    Args:
        replay: What to replay, and how.
    """
    config = Config.load()
    clusters = [config.cluster(replay.cluster).name] if replay.cluster else sorted(config.clusters)
    # Also of clusters that only stand by: what was accepted for one comes back there, whichever is active now.
    resources = [f"{on}/{topic}" for topic in replay.topics for on in config.topic(topic).clusters if on in clusters]
    resources = resources or clusters
    parameters = replay.model_dump(mode="json")
    named = ", ".join(clusters)
    try:
        with operation(
            config, JOB, replay.mode, cluster=named, resources=resources, parameters=parameters, anew=True
        ) as run:
            plan = make_and_show_plan(run, config, replay, clusters)
            if replay.mode == "plan":
                return finish_early(run, "nothing to replay" if plan.is_empty else "planned", plan)
            left = unproved(run)
            if plan.is_empty and not any(earlier.is_of(plan.surveyed) for earlier in left):
                kept = unproved_topics(worked(run)).union(*(earlier.topics for earlier in left))
                if untidy := [lane for lane in plan.untidy if (lane.cluster, lane.topic) not in kept]:
                    tidy_up(config, untidy)
                return finish_early(run, "nothing to replay", plan)
            return carry_out(run, config, replay, plan, left)
    except HeldError as error:
        return refused(run, str(error))


def make_and_show_plan(run: Run, config: Config, replay: Replay, clusters: list[str]) -> Plan:
    """Survey, plan, and show the plan. Changes nothing but the report."""
    backlog = survey(config, clusters, replay.topics)
    waiting = [lane for lane in backlog if not lane.is_open]
    plan = make_plan(
        backlog,
        check_schemas(config, waiting) if waiting else SchemaIds(),
        rate=replay.rate,
        earlier=run.worked(),
        now=time.time_ns() // 1_000_000,
        retention=look_at_retention(config, sorted({(each.lane.cluster, each.lane.topic) for each in waiting})),
    )
    if not plan.is_empty:
        see_that_group_is_known(config, replay.protect, plan.topics)
        digest = run.keep_plan(plan.canonical())
        report_plan(run, plan, digest, replay.mode)
    get_run_logger().info("plan: %s", headline(plan))
    return plan


def carry_out(run: Run, config: Config, replay: Replay, plan: Plan, left: list[Earlier]) -> State[Any]:
    """Claim the topics, drain and reopen their lanes, verify, report."""
    log = get_run_logger()
    wanted = {topic for earlier in left if earlier.is_of(plan.surveyed) for topic in earlier.topics}
    topics, left_out = run.claim(sorted(wanted.union(plan.topics)), all_or_none=bool(replay.topics))
    for words in left_out:
        log.warning("%s", words)
    lanes = [lane for lane in plan.all_lanes if (lane.cluster, lane.topic) in topics]
    known, away = keep_evidence(run, config, left, lanes)
    before = partial(keep_in_time, run, config, left, away)
    left = [earlier for earlier in known if earlier.is_of(topic for topic in topics if topic[0] not in away)]

    backlog = plan.of_topics(topics)
    if not backlog and not left:
        return finish_early(run, "nothing to replay", plan)
    board = Board({waiting.lane: waiting.events for waiting in backlog})
    began = time.monotonic()
    with (
        governor_for(config, replay.rate, replay.protect, topics, patience=replay.patience) as governor,
        Live(run, board, governor, replay.rate, Words("lane", "open again")) as live,
    ):
        work = Draining(
            config, governor, board, operation=run.id, settle=replay.settle, patience=replay.patience, before=before
        )
        ends = drain_lanes(work, backlog, parallel=replay.lanes, on_cancel=lambda: cancelled(run, board))
    seconds = time.monotonic() - began
    log.info("%d of %d lanes are open again, after %.1f s", sum(end.how == "open" for end in ends), len(ends), seconds)

    silent: dict[str, str] = {}
    # First: what these have published is in the store until the lanes' topics are proved.
    of_earlier = verify_all_earlier(config, left, mode=replay.verify, away=silent)
    owed = still_owed(known, of_earlier)

    def tidy(lanes: Iterable[Lane]) -> None:
        work.tidy(lane for lane in lanes if (lane.cluster, lane.topic) not in owed)

    proofs = verify_lanes(config, ends, operation=run.id, mode=replay.verify, away=silent, on_proved=tidy)
    work.tidying.shutdown()
    ending = Ending(
        ends=ends,
        proofs=proofs,
        earlier=of_earlier,
        unverified="; ".join(silent.values()),
        drain_seconds=seconds,
        started_pace=str(Pace(rate=replay.rate)),
        changes=live.pace.changes,
        left_out=left_out,
        speeds=board.speeds(),
    )
    log.info("%s: %s", ending.word, ending.headline)
    return finish(run, ending)
