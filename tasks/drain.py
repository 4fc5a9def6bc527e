"""Draining lanes, side by side: one lane is one task run, and one retryable unit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectConcurrentFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from redrive.config import Config
from redrive.errors import FencedError, RedriveError, StoppedError, UnavailableError
from redrive.pump.governor import Governor
from redrive.standby.drain import LaneResult, drain, open_store
from redrive.standby.lanes import Lane
from redrive.standby.survey import LaneBacklog
from redrive.standby.tidying import tidy
from tasks.board import Board
from tasks.survey import if_unavailable

log = logging.getLogger(__name__)

STOP_PATIENCE = 20.0
"""Seconds that lanes get to leave a clean cursor after a cancel; Prefect kills the process after 30."""

_MANY = 10_000  # retries; what bounds them is `Draining.patience`

How = Literal["open", "paused", "stopped", "taken over", "failed"]


@dataclass(frozen=True, slots=True)
class LaneEnd:
    """How a lane has ended.

    Attributes:
        backlog: what waited in it.
        how: ``open``: empty, and producers use Kafka again. ``paused``: a system did not answer. ``stopped``: by
            request. ``taken over``: by another run. ``failed``: see ``reason``.
        result: counts and evidence, if it is open.
        reason: why it is not.
    """

    backlog: LaneBacklog
    how: How
    result: LaneResult | None = None
    reason: str = ""


class Draining:
    """What the tasks of one run share. Not one of the types that Prefect looks into when it is handed to a task."""

    def __init__(
        self, config: Config, governor: Governor, board: Board, *, operation: str, settle: float, patience: float
    ) -> None:
        self.config, self.governor, self.board = config, governor, board
        self.store = open_store(config)
        self.operation, self.settle, self.patience = operation, settle, patience
        self.well: dict[str, float] = {}
        self.tidying = ThreadPoolExecutor(1, "tidying")

    def tidy(self, do: Callable[[], None]) -> None:
        """Tidy up the table beside everything else, one thing after the other; what fails is left to the next run."""

        def try_it() -> None:
            try:
                do()
            except RedriveError as error:
                log.warning("the standby table is not tidied up: %s", error)

        self.tidying.submit(try_it)

    def may_retry(self, lane: Lane) -> Callable[[Task[..., Any], TaskRun, State[Any]], bool]:
        """Retry while a system does not answer, for as long as patience lasts; it starts anew when events move."""

        def condition(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
            error = state.result(raise_on_failure=False)
            return (
                isinstance(error, UnavailableError)
                and not self.governor.stopped
                and self.board.trouble_seconds(lane) < self.patience
            )

        return condition


@task(
    name="drain lane",
    task_run_name="drain {lane}",
    description="Replays one lane to its end and reopens it. A retry goes on from the cursor that is in Kafka.",
    retries=_MANY,
    retry_delay_seconds=[1, 2, 3, 5],
    cache_policy=NO_CACHE,
)
def drain_lane(lane: Lane, total: int, work: Draining) -> LaneResult:
    """Replay a lane to its end and reopen it.

    Raises:
        RedriveError: see `redrive.standby.drain.drain`.
    """
    board = work.board
    try:
        work.governor.check()
        board.draining(lane)
        result = drain(
            work.config,
            lane,
            operation=work.operation,
            governor=work.governor,
            on_progress=partial(board.moved, lane),
            total=total,
            settle=work.settle,
            well=work.well,
            store=work.store,
            later=work.tidy,
        )
    except UnavailableError as error:
        board.no_answer(lane, str(error))
        raise
    except StoppedError as error:
        board.ended(lane, "stopped", str(error))
        raise
    except Exception as error:
        board.ended(lane, "failed", str(error))
        raise
    board.ended(lane, "open")
    return result


@task(
    name="tidy up",
    description="Deletes what was published and is still in the standby store, left by a run that was killed.",
    retries=3,
    retry_delay_seconds=[1, 3, 5],
    retry_condition_fn=if_unavailable,
    cache_policy=NO_CACHE,
)
def tidy_up(config: Config, lanes: Sequence[Lane]) -> None:
    """Delete what is published of lanes that are open.

    Raises:
        UnavailableError: the store does not answer.
    """
    store = open_store(config)
    for lane in lanes:
        tidy(store, lane)


def drain_lanes(
    work: Draining, backlog: Sequence[LaneBacklog], *, parallel: int, on_cancel: Callable[[], None]
) -> list[LaneEnd]:
    """Drain lanes, so many at a time, the fullest first, and say how each has ended.

    A cancel, which arrives in this thread, stops all lanes at a clean cursor.

    Args:
        work: what they share.
        backlog: the lanes.
        parallel: how many at a time.
        on_cancel: called when the lanes have stopped, or should have.
    """
    backlog = sorted(backlog, key=lambda waiting: waiting.events, reverse=True)
    futures: list[PrefectConcurrentFuture[Any]] = []
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=parallel)
    with runner:
        try:
            for waiting in backlog:
                drain_this: Task[..., Any] = drain_lane.with_options(retry_condition_fn=work.may_retry(waiting.lane))
                parameters = {"lane": waiting.lane, "total": waiting.events, "work": work}
                futures.append(runner.submit(drain_this, parameters))
            return [_end(waiting, future) for waiting, future in zip(backlog, futures, strict=True)]
        except BaseException:
            work.governor.stop("cancelled")
            lanes = [future.wrapped_future for future in futures]
            for lane in lanes:
                lane.cancel()  # those that have not begun
            wait(lanes, timeout=STOP_PATIENCE)
            on_cancel()
            raise


def _end(backlog: LaneBacklog, future: PrefectConcurrentFuture[Any]) -> LaneEnd:
    result = future.result(raise_on_failure=False)
    if isinstance(result, LaneResult):
        return LaneEnd(backlog, "open", result)
    how: How = "failed"
    if isinstance(result, UnavailableError):
        how = "paused"
    elif isinstance(result, StoppedError):
        how = "stopped"
    elif isinstance(result, FencedError):
        how = "taken over"
    return LaneEnd(backlog, how, reason=str(result) or type(result).__name__)
