"""Working at units side by side: lanes, or partitions; one unit is one task run, and one retryable piece of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectConcurrentFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from redrive.errors import FencedError, StoppedError, UnavailableError
from redrive.pump.governor import Governor
from tasks.board import Board
from tasks.paused import stopped_by_hand

STOP_PATIENCE = 20.0
"""Seconds that units get to leave a clean cursor after a cancel; Prefect kills the process after 30."""

U = TypeVar("U")
R = TypeVar("R")

Stop = Literal["paused", "stopped", "taken over", "failed"]
"""How a unit has ended that is not done. ``paused``: a system did not answer. ``stopped``: by request. ``taken over``:
by another run."""


@dataclass(frozen=True)  # with slots, a generic one can't be made by its alias
class UnitEnd(Generic[U, R]):
    """How the work at a unit has ended.

    Attributes:
        how: ``done``, or see `Stop`.
        result: counts and evidence, if it is done.
        reason: why it is not.
    """

    unit: U
    how: Literal["done"] | Stop
    result: R | None = None
    reason: str = ""


def unit_end(unit: U, result: R | BaseException) -> UnitEnd[U, R]:
    """Say how the work at a unit has ended that gave this, or raised it; see `work_at`."""
    if isinstance(result, BaseException):
        return UnitEnd(unit, how_stopped(result), reason=str(result) or type(result).__name__)
    return UnitEnd(unit, "done", result)


class Hidden(Generic[U]):
    """Hides an argument of a task from Prefect, which would look into it, at each offset in it."""

    def __init__(self, of: U) -> None:
        self.of = of


class Work:
    """What the tasks of one run share. Not one of the types that Prefect looks into when it is handed to a task."""

    def __init__(self, governor: Governor, board: Board, *, patience: float) -> None:
        self.governor, self.board, self.patience = governor, board, patience

    @contextmanager
    def at(self, unit: object) -> Iterator[None]:
        """Tell the board how the work at a unit goes.

        Raises:
            StoppedError: it must not begin: the run was stopped.
        """
        board = self.board
        try:
            self.governor.check()
            board.working(unit)
            yield
        except UnavailableError as error:
            board.no_answer(unit, str(error))
            raise
        except StoppedError as error:
            board.ended(unit, "stopped", str(error))
            raise
        except Exception as error:
            board.ended(unit, "failed", str(error))
            raise
        board.ended(unit, "done")

    def may_retry(self, unit: object) -> Callable[[Task[..., Any], TaskRun, State[Any]], bool]:
        """Retry while a system does not answer, for as long as patience lasts; it starts anew when events move."""

        def condition(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
            error = state.result(raise_on_failure=False)
            return (
                isinstance(error, UnavailableError)
                and not self.governor.stopped
                and self.board.trouble_seconds(unit) < self.patience
            )

        return condition


def work_at(
    work: Work,
    task: Task[..., Any],
    units: Mapping[Any, dict[str, Any]],
    *,
    parallel: int,
    on_cancel: Callable[[], None],
) -> dict[Any, Any]:
    """Run a task for each unit, so many at a time; give what each has returned, or raised.

    A cancel, or Prefect's word that the run was paused, arrives in this thread: all units stop at a clean cursor.

    Args:
        work: what they share.
        task: does one unit.
        units: unit → the task's parameters.
        parallel: how many at a time.
        on_cancel: called when the units have stopped, or should have.
    """
    futures: list[PrefectConcurrentFuture[Any]] = []
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=parallel)
    with runner:
        try:
            for unit, parameters in units.items():
                for_unit: Task[..., Any] = task.with_options(retry_condition_fn=work.may_retry(unit))
                futures.append(runner.submit(for_unit, parameters))
            return {unit: future.result(raise_on_failure=False) for unit, future in zip(units, futures, strict=True)}
        except BaseException:
            work.governor.stop(stopped_by_hand().reason)
            threads = [future.wrapped_future for future in futures]
            for thread in threads:
                thread.cancel()  # those that have not begun
            wait(threads, timeout=STOP_PATIENCE)
            on_cancel()
            raise


def how_stopped(error: object) -> Stop:
    """Say how a unit has ended that raised this."""
    if isinstance(error, UnavailableError):
        return "paused"
    if isinstance(error, StoppedError):
        return "stopped"
    return "taken over" if isinstance(error, FencedError) else "failed"
