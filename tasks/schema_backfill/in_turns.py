"""Copies a topic with more partitions than are copied at the same time, while it gets more: in turns, over and over.

None is followed for as long as that takes, or the others would never get their turn: each is copied up to where it ends
now, and those that have got more since come again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from redrive.errors import RedriveError
from redrive.migrations.ends import Ends
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit
from redrive.pump.readback import end_offsets
from tasks.paused import stopped_by_hand
from tasks.schema_backfill.copying import Copying, End, copy_partitions

BETWEEN_TURNS = 10.0
"""Seconds between two turns of a run that may follow for days: a turn is a task run for each partition."""


def copy_in_turns(
    copying: Copying,
    is_over: Callable[[], bool],
    wait: Callable[[], object],
    *,
    parallel: int,
    on_cancel: Callable[[], None],
) -> list[End]:
    """Copy all partitions in turns, the last of which begins once it is over; say how each has ended in its last one.

    Args:
        copying: what the steps share.
        is_over: whether the turn that begins is the last.
        wait: waits between two turns.
        parallel: so many partitions are copied at the same time.
        on_cancel: see `tasks.side_by_side.work_at`; a cancel between two turns, too, stops the governor first.
    """
    work = copying.backfilling
    ended: dict[Unit, End] = {}
    while True:
        is_last = is_over()
        copying.ends = Ends(work.client, work.source, len(work.standings))
        behind = _behind(copying, ended)
        for end in copy_partitions(copying, behind, parallel=parallel, on_cancel=on_cancel) if behind else ():
            ended[end.unit] = end
        if is_last or any(end.how != "done" for end in ended.values()):
            return [ended[standing.unit] for standing in work.standings]
        try:
            wait()
        except BaseException:  # a cancel, which arrives in this thread
            copying.governor.stop(stopped_by_hand().reason)
            on_cancel()
            raise


def follow_in_turns(copying: Copying, seconds: float, *, parallel: int, on_cancel: Callable[[], None]) -> list[End]:
    """Copy all partitions in turns, for so many seconds; see `copy_in_turns`."""
    until = time.monotonic() + seconds

    def left() -> float:
        return until - time.monotonic()

    return copy_in_turns(
        copying,
        lambda: left() <= 0,
        lambda: time.sleep(max(0.0, min(BETWEEN_TURNS, left()))),
        parallel=parallel,
        on_cancel=on_cancel,
    )


def _behind(copying: Copying, ended: dict[Unit, End]) -> Sequence[Standing]:
    """Give the partitions that have got more since their last turn; all, in the first one or if something is amiss.

    What that is they find out themselves, and are patient with it, or end by it.
    """
    work = copying.backfilling
    if not ended or copying.governor.stopped:
        return work.standings
    try:
        now = end_offsets(work.client, work.source)
    except RedriveError:
        return work.standings
    if len(now) != len(work.standings):
        return work.standings
    results = {unit: end.result for unit, end in ended.items()}
    return [
        each
        for each in work.standings
        if (result := results[each.unit]) is None or now[each.unit.partition] != result.next
    ]
