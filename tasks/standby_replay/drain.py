"""Draining lanes, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

from prefect import get_run_logger, task

from redrive.config import Config
from redrive.pump.governor import Governor
from redrive.standby.drain import LaneResult, drain, open_store
from redrive.standby.lanes import Lane
from redrive.standby.survey import LaneBacklog
from redrive.standby.tidying import tidy
from tasks.board import Board
from tasks.retrying import BRIEFLY, UNIT_BY_UNIT
from tasks.side_by_side import Stop, Work, how_stopped, work_at


@dataclass(frozen=True, slots=True)
class LaneEnd:
    """How a lane has ended.

    Attributes:
        backlog: what waited in it.
        how: ``open``: empty, and producers use Kafka again; or see `tasks.side_by_side.Stop`.
        result: counts and evidence, if it is open.
        reason: why it is not.
    """

    backlog: LaneBacklog
    how: Literal["open"] | Stop
    result: LaneResult | None = None
    reason: str = ""


class Draining(Work):
    """What the tasks of one run share."""

    def __init__(
        self,
        config: Config,
        governor: Governor,
        board: Board,
        *,
        operation: str,
        settle: float,
        patience: float,
        before: Callable[[Lane], None],
    ) -> None:
        super().__init__(governor, board, patience=patience)
        self.config = config
        self.store = open_store(config)
        self.operation, self.settle = operation, settle
        self.before = before  # called with each lane before it is drained
        self.well: dict[str, float] = {}
        self.tidying = ThreadPoolExecutor(1, "tidying")
        self._log = get_run_logger()  # here, where the run is known: a thread of its own does not know it

    def tidy(self, lanes: Iterable[Lane]) -> None:
        """Tidy up the table beside everything else, one lane after the other; what fails is left to the next run."""

        def try_it(lane: Lane) -> None:
            try:
                tidy(self.store, lane, self.governor.check)
            except Exception as error:  # nobody waits for it, so nobody else would say so
                self._log.warning("the standby table is not tidied up: %s", error)

        for lane in lanes:
            self.tidying.submit(try_it, lane)


@task(
    name="drain lane",
    task_run_name="drain {lane}",
    description="Replays one lane to its end and reopens it. A retry goes on from the cursor that is in Kafka.",
    **UNIT_BY_UNIT,
)
def drain_lane(lane: Lane, total: int, work: Draining) -> LaneResult:
    """Replay a lane to its end and reopen it.

    Raises:
        RedriveError: see `redrive.standby.drain.drain`.
    """
    with work.at(lane):
        work.before(lane)
        return drain(
            work.config,
            lane,
            operation=work.operation,
            governor=work.governor,
            on_progress=partial(work.board.moved, lane),
            total=total,
            settle=work.settle,
            well=work.well,
            store=work.store,
            later=lambda _: None,  # what is published is deleted once it is proved
        )


@task(
    name="tidy up",
    description="Deletes what was published and is still in the standby store, left by a run that was killed.",
    **BRIEFLY,
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
    """Drain lanes, so many at a time, the fullest first, and say how each has ended; see `side_by_side.work_at`."""
    backlog = sorted(backlog, key=lambda waiting: waiting.events, reverse=True)
    lanes = {each.lane: {"lane": each.lane, "total": each.events, "work": work} for each in backlog}
    ends = work_at(work, drain_lane, lanes, parallel=parallel, on_cancel=on_cancel)
    return [_end(each, ends[each.lane]) for each in backlog]


def _end(backlog: LaneBacklog, result: object) -> LaneEnd:
    if isinstance(result, LaneResult):
        return LaneEnd(backlog, "open", result)
    return LaneEnd(backlog, how_stopped(result), reason=str(result) or type(result).__name__)
