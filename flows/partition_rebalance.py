"""The job `partition-rebalance`: put partitions where they should be, while the cluster is in use, and prove it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as runtime

from redrive.config import Config
from redrive.errors import (
    GoalError,
    HeldError,
    RefusedByClusterError,
    StalePlanError,
    ThrottleTooLowError,
    UnavailableError,
)
from redrive.partitions.cautions import cautions, losing, of_health, of_unknown_size
from redrive.partitions.planner import Goal, Plan
from redrive.partitions.planner.goal import Mode
from redrive.partitions.rebalancing import BACK, JOB, moves_of, record
from redrive.partitions.settling import SETTINGS
from redrive.partitions.waves import Limits
from tasks.approval import RefusedByPersonError, approve
from tasks.ending import refused
from tasks.operations import Run, operation
from tasks.partition_rebalance.form import Rebalance
from tasks.partition_rebalance.limits import StrainLimits
from tasks.partition_rebalance.pace import MB
from tasks.partition_rebalance.plan import approval_text, headline, report_plan
from tasks.partition_rebalance.report import Ending, cancelled, cut_off, finish, finish_early
from tasks.partition_rebalance.steps import (
    Decided,
    Moving,
    Terms,
    check_terms,
    hold_on,
    left_of,
    look_at_cluster,
    look_at_drained,
    move_partitions,
    plan_moves,
    restore_settings,
    without_others,
)
from tasks.partition_rebalance.unfinished import of_which_run, require_last, under_min_isr_before, unfinished


def _run_name() -> str:
    asked = Rebalance.model_validate(runtime.parameters["rebalance"])
    which = f" {', '.join(map(str, asked.brokers))}" if asked.brokers else ""
    return f"{asked.mode} {asked.goal}{which}"


@flow(name=JOB, flow_run_name=_run_name, persist_result=False)
def partition_rebalance(rebalance: Rebalance = Rebalance()) -> State[Any]:  # noqa: B008 (nothing changes it)
    """Move partitions so that brokers are evenly loaded, new ones take their share, or some become empty.

    Plans with the least bytes, shows the plan with a heat map, and, with `mode: run`, moves in waves behind a throttle,
    waits while the cluster is unwell or events are being brought back, elects leaders, and restores every setting. It
    may be cancelled or killed at any time: the goals `go_on` and `roll_back` take it from there.

    Args:
        rebalance: Where partitions are to be, and how they get there.
    """
    config = Config.load()
    cluster = config.only_cluster(rebalance.cluster)
    parameters = rebalance.model_dump(mode="json")
    with operation(config, JOB, rebalance.mode, cluster=cluster, resources=[cluster], parameters=parameters) as run:
        try:
            if rebalance.mode == "run":
                run.claim([(cluster, SETTINGS)], all_or_none=True)
            work, terms = Moving(config, run, cluster), _terms(rebalance)
            decided = decide(work, rebalance, terms)
            get_run_logger().info("plan: %s", headline(decided.left))
            if rebalance.mode == "run" and not decided.moves:
                restore_settings(work)
            if rebalance.mode == "plan":
                return finish_early(run, "planned", decided.left)
            if not decided.moves:
                return finish_early(run, "nothing to move", [], look_at_drained(work))
            approved = ""
            if needs_approval(work, decided):
                text = approval_text(decided, terms)
                approved = approve(run, decided.digest, text, four_eyes=config.rebalancing.four_eyes)
            return carry_out(work, decided, terms, approved)
        except (HeldError, StalePlanError, RefusedByPersonError, GoalError, ThrottleTooLowError) as error:
            run.finish("refused", evidence={"reason": str(error)})
            return refused(run, str(error))


def decide(work: Moving, rebalance: Rebalance, terms: Terms) -> Decided:
    """Say what is to be moved: what this run has shown before, what another has left, or a new plan."""
    run = work.run
    takes_up = rebalance.goal in ("go_on", "roll_back")
    kept = run.known_plan if rebalance.mode == "run" else None
    look_at_cluster(work, sized=kept is None and not takes_up and rebalance.goal != "leaders")
    check_terms(work, terms)
    if kept is not None:
        begun = run.has_moved()
        if begun or takes_up:
            require_last(run, work.cluster, kept)
        if not begun:
            hold_on(work, kept, begun=takes_up)
        return _decided(work, kept, str(run.ledger.operation(run.id).plan_digest), [])
    plan: Plan | None = None
    theirs = list[str]()
    if rebalance.goal == "go_on" or rebalance.goal == "roll_back":  # noqa: PLR1714 (types are narrowed so)
        kept, theirs = without_others(work, unfinished(run, work.cluster, back=rebalance.goal == "roll_back"))
    else:
        plan = plan_moves(work, _goal(rebalance, rebalance.goal))
        kept = record(work.cluster, plan)
    decided = _decided(work, kept, run.keep_plan(kept), theirs)
    report_plan(run, plan, decided, terms, mode=rebalance.mode)
    return decided


def _decided(work: Moving, kept: dict[str, Any], digest: str, notes: list[str]) -> Decided:
    moves = moves_of(kept)
    work.under_min_isr = under_min_isr_before(work.run, kept)
    left = left_of(work, moves)
    said = [*of_which_run(kept), *notes, *cautions(left, work.picture.min_isr, work.picture.unsized)]
    if left:
        said += of_health(work.picture.under_min_isr, work.picture.without_leader, work.under_min_isr)
    return Decided(moves, left, digest, said, back=kept["goal"].get("mode") == BACK)


def needs_approval(work: Moving, decided: Decided) -> bool:
    """Say whether the moves have to be approved: by their bytes, if these are known, or since partitions lose replicas.

    Once a person was asked, the answer counts, whatever is left by now.
    """
    settings = work.config.rebalancing
    risky = losing(decided.left) or of_unknown_size(decided.left, work.picture.unsized)
    must = bool(risky) and settings.approval != "none"
    asks = bool(decided.left) and (must or settings.needs_approval(decided.bytes / MB))
    return asks or work.run.has_asked()


def carry_out(work: Moving, decided: Decided, terms: Terms, approved: str) -> State[Any]:
    """Move, look at what has come of it, report."""
    run: Run = work.run
    began = time.monotonic()
    try:
        terms = replace(terms, roll_back=terms.roll_back and not decided.back)
        moved = move_partitions(work, decided.moves, terms, on_cancel=lambda: cancelled(run, decided, work.moved))
        drained = look_at_drained(work)
    except (UnavailableError, RefusedByClusterError) as error:
        return cut_off(run, decided, error, work.moved)
    except ThrottleTooLowError as error:
        if not run.has_moved():
            raise
        return cut_off(run, decided, error, work.moved)
    ending = Ending(decided, moved, time.monotonic() - began, approved, drained)
    get_run_logger().info("%s: %s", ending.word, ending.headline)
    return finish(run, ending)


def _goal(rebalance: Rebalance, mode: Mode) -> Goal:
    return Goal(
        mode,
        brokers=frozenset(rebalance.brokers),
        band=rebalance.band / 100,
        replication=rebalance.replication,
        excluded_topics=frozenset(rebalance.excluded_topics),
        excluded_brokers=frozenset(rebalance.excluded_brokers),
    )


def _terms(rebalance: Rebalance) -> Terms:
    limits = Limits(rebalance.moves_per_broker, rebalance.moves_at_once, rebalance.patience)
    strain = StrainLimits.of(rebalance.max_produce_latency, rebalance.watched_groups)
    return Terms(rebalance.throttle, limits, rebalance.on_failure == "roll_back", strain)
