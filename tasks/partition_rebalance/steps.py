"""Steps of moving partitions: look at the cluster, plan, move, take back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from redrive.config import Config
from redrive.errors import StalePlanError
from redrive.partitions.execution import Execution
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Result
from redrive.partitions.picture import Picture
from redrive.partitions.planner import Goal, Plan
from redrive.partitions.reader import PartitionReader
from redrive.partitions.rebalancing import (
    changed_since,
    left_to_do,
    moves_of,
    moving_already,
    plan_of,
    split,
    with_moves,
)
from redrive.partitions.removal import Drained, drained
from redrive.partitions.room import short_of_room
from redrive.partitions.settling import settle_all
from redrive.partitions.state import Key
from redrive.partitions.waves import Limits
from redrive.partitions.writer import PartitionWriter
from tasks.operations import MOVING, ROLLING_BACK, UNDER_MIN_ISR, Run
from tasks.partition_rebalance.limits import ProduceTimes, StrainLimits, Strains, check_limits
from tasks.partition_rebalance.live import MovesLive
from tasks.partition_rebalance.pace import MB, MovesPace
from tasks.retrying import BRIEFLY
from tasks.side_by_side import STOP_PATIENCE

AUTO_START = 10.0
"""MB a second that a throttle begins with which follows limits: Amazon's smallest brokers have room for that."""


class Moving:
    """What the steps of one run share. Not one of the types that Prefect looks into when it is handed to a task.

    Attributes:
        picture: the cluster as it was when it was looked at last.
        under_min_isr: see `tasks.partition_rebalance.unfinished.under_min_isr_before`.
        moved: what has come of the moves, once they have ended; while they are taken back, nothing of that yet.
    """

    picture: Picture
    under_min_isr: frozenset[Key] | None = None
    moved: Moved | None = None

    def __init__(self, config: Config, run: Run, cluster: str) -> None:
        self.config, self.run, self.cluster = config, run, cluster


@dataclass(frozen=True, slots=True)
class Terms:
    """How to move.

    Attributes:
        throttle: MB a second; None: none; ``auto``: it follows the limits on strain.
        limits: how much at a time.
        roll_back: take everything back if not all comes to a good end.
        strain: what users may feel of it.
    """

    throttle: float | Literal["auto"] | None
    limits: Limits
    roll_back: bool
    strain: StrainLimits = field(default_factory=StrainLimits)

    @property
    def rate(self) -> int | None:
        """Bytes a second to begin with; None: no throttle."""
        if self.throttle is None:
            return None
        return round((AUTO_START if self.throttle == "auto" else self.throttle) * MB)


@dataclass(frozen=True, slots=True)
class Decided:
    """What is to be moved.

    Attributes:
        moves: all of the plan.
        left: those that are not done yet; see `redrive.partitions.rebalancing.left_to_do`.
        digest: of the plan.
        notes: what whoever approves it has to know, in sentences.
        back: it takes back what another run has moved.
    """

    moves: list[Move]
    left: list[Move]
    digest: str
    notes: list[str]
    back: bool = False

    @property
    def way_on(self) -> str:
        """Say how to go on with it, if it does not come to its end, and how to take it back."""
        if self.back:
            return "To go on with the way back: goal roll_back"
        return "To go on: goal go_on; to take it back: goal roll_back"

    @property
    def bytes(self) -> int:
        """What is still to be copied."""
        return sum(move.bytes for move in self.left)


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of it.

    Attributes:
        result: of the moves.
        back: of their way back, if they were taken back.
        live: what was seen meanwhile.
        times: how long producers have waited; None if nothing was to be copied.
        rates: the lowest and highest rate of a throttle that has followed limits, or was raised for the way back, in
            bytes a second; None of any other.
    """

    result: Result
    back: Result | None
    live: MovesLive
    times: ProduceTimes | None
    rates: tuple[int, int] | None


@task(task_run_name="look at {work.cluster}", **BRIEFLY)
def look_at_cluster(work: Moving, *, sized: bool = False) -> None:
    """Take a picture of the cluster; changes nothing.

    Raises:
        UnavailableError: it does not answer; or, if it is to be ``sized``, nobody tells how large a partition is.
    """
    with PartitionReader(work.config.cluster(work.cluster)) as reader:
        work.picture = Picture.take(reader)
    if sized:
        work.picture.require_sizes()


@task(task_run_name="check limits", **BRIEFLY)
def check_terms(work: Moving, terms: Terms) -> None:
    """See that what has limits can be measured.

    Raises:
        GoalError: it can't; with the way out.
    """
    check_limits(work.config.cluster(work.cluster), work.picture, terms.strain, follow=terms.throttle == "auto")


@task(task_run_name="plan", cache_policy=NO_CACHE)
def plan_moves(work: Moving, goal: Goal) -> Plan:
    """Plan.

    Raises:
        GoalError: the goal makes no sense for the cluster, or partitions are moving there.
    """
    return plan_of(work.picture, goal)


@task(task_run_name="look at drained brokers", **BRIEFLY)
def look_at_drained(work: Moving) -> Drained | None:
    """Say whether brokers may be taken away that the plan has drained; None if it has drained none."""
    goal = (work.run.known_plan or {}).get("goal", {})
    if goal.get("mode") != "drain_brokers":
        return None
    with PartitionReader(work.config.cluster(work.cluster)) as reader:
        return drained(goal["brokers"], reader.brokers().values(), reader.partitions(), reader.voters())


@task(task_run_name="restore settings", **BRIEFLY)
def restore_settings(work: Moving) -> None:
    """Restore what a run that died has left changed, unless its moves are still under way."""
    if work.picture.ongoing or not work.run.ledger.debts.owed(work.cluster):
        return
    with PartitionWriter(work.config.cluster(work.cluster)) as writer:
        settlement = settle_all(writer, work.run.ledger.debts, work.run.operation)
    for how in settlement.respected:
        get_run_logger().info("%s", how)
    for why in set(settlement.left.values()):
        get_run_logger().warning("a setting is still owed: %s; see `redrive debts list`", why)


def left_of(work: Moving, moves: list[Move]) -> list[Move]:
    """Give the moves that are not done yet, by the cluster as it is."""
    return left_to_do(moves, work.picture.partitions, work.picture.ongoing)


def without_others(work: Moving, kept: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Take out of a plan that was begun what is somebody else's by now; says so in a sentence, if anything is."""
    ours, theirs = split(moves_of(kept), work.picture.partitions, work.picture.ongoing)
    if not theirs:
        return kept, []
    names = ", ".join(f"{move.topic}/{move.number}" for move in theirs[:5]) + (" and more" if len(theirs) > 5 else "")
    return with_moves(kept, ours), [f"Left as somebody else has placed, moves or deleted them: {names}."]


def hold_on(work: Moving, kept: dict[str, Any], *, begun: bool) -> None:
    """See that a plan that was shown still holds; of one that was ``begun`` by another run, any part may be done.

    Raises:
        StalePlanError: the cluster has changed, or has no room any more; or partitions are moving there, be it others
            than the plan's: a run that died may have left them, and only the last run that has moved anything can be
            gone on with.
    """
    if begun:
        _, theirs = split(moves_of(kept), work.picture.partitions, work.picture.ongoing)
        moved = [f"{move.topic}/{move.number} was moved or deleted by somebody else" for move in theirs]
    else:
        up = (broker.id for broker in work.picture.brokers if broker.up)
        moved = changed_since(moves_of(kept), work.picture.partitions, up)
        if not moved and work.picture.ongoing:
            moved = [moving_already(work.picture.ongoing)]
        moved = moved or short_of_room(moves_of(kept), work.picture)
    if moved:
        raise StalePlanError("; ".join(moved[:5]) + (f"; and {len(moved) - 5} more" if len(moved) > 5 else ""))


def move_partitions(work: Moving, moves: list[Move], terms: Terms, on_cancel: Callable[[], None]) -> Moved:
    """Move, and take back if that is asked for and needed. A cancel, which arrives in this thread, stops it; so
    does a pause in Prefect's UI.

    Args:
        work, moves, terms: what is to be done.
        on_cancel: called then, once the moves have ended, with what has come of them in ``work.moved``, or when
            there is no more time to wait for that.
    """
    stop = threading.Event()
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)
    with runner:
        future = runner.submit(_carry_out, {"work": work, "moves": Moves(moves), "terms": terms, "stop": Stop(stop)})
        try:
            moved: Moved = future.result()
        except Exception:
            raise  # of the moves; a cancel is none
        except BaseException:
            stop.set()
            wait([future.wrapped_future], timeout=STOP_PATIENCE)
            on_cancel()
            raise
    return moved


class Moves:
    """Moves that Prefect is not to look into: there may be hundreds of thousands."""

    def __init__(self, moves: list[Move]) -> None:
        self.all = moves


class Stop:
    """An event that is not to be looked into, either."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event


@task(task_run_name="move partitions", cache_policy=NO_CACHE)
def _carry_out(work: Moving, moves: Moves, terms: Terms, stop: Stop) -> Moved:
    run = work.run
    auto, cluster = terms.throttle == "auto", work.config.cluster(work.cluster)
    asked = None if isinstance(terms.throttle, str) else terms.throttle
    under_min_isr = work.picture.under_min_isr if work.under_min_isr is None else work.under_min_isr
    begun: dict[str, Any] = {
        "kind": MOVING,
        "body": {"moves": len(moves.all), UNDER_MIN_ISR: sorted(map(list, under_min_isr))},
    }
    steer = MovesPace(run.ledger, work.cluster, run.id, asked, follows=auto)
    with (
        Strains(cluster, work.picture, terms.strain) as strains,
        MovesLive(run, steer, strains.now, stop.event) as live,
        PartitionWriter(cluster) as writer,
    ):

        def begins() -> None:
            run.note(**begun)
            if execution.following is not None and execution.following.risen:
                get_run_logger().warning(
                    "the way back goes at %s: at less it would never end, by what is written now", steer.told()
                )

        execution = Execution(
            writer,
            run.ledger.debts,
            run.operation,
            rate=terms.rate,
            limits=terms.limits,
            report=live.report,
            hold_back=steer.held_by,
            gauges=strains.gauges,
            follow=auto,
            begins=begins,
            under_min_isr=under_min_isr,
        )
        steer.steer(execution)
        copies = any(move.added for move in moves.all)
        if copies:
            strains.measure_before(stop.event)
        result = execution.run(moves.all, stop=stop.event, cancel_in_flight=True)
        moved = work.moved = Moved(result, None, live, strains.times() if copies else None, _rates(execution, strains))
        if terms.roll_back and not (result.complete or stop.event.is_set()):
            begun |= {"kind": ROLLING_BACK, "body": {"because": result.stopped, "counts": result.counts}}
            back = execution.roll_back(moves.all, stop=stop.event)
            times = strains.times() if copies else None
            moved = work.moved = Moved(result, back, live, times, _rates(execution, strains))
    return moved


def _rates(execution: Execution, strains: Strains) -> tuple[int, int] | None:
    following = execution.following
    return following.rates if following is not None and (strains.gauges or following.risen) else None
