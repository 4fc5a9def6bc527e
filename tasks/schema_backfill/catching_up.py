"""Before producers are switched, the copy is brought near to the end of its source: they store for as long as it lacks.

Copying and comparing a large topic takes long enough for millions of events to come meanwhile. So what has come is
copied in turns, each up to where the source ends when the turn begins, until one takes seconds. Nobody stores what they
publish before that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from redrive.errors import CopyTooSlowError, HeldError
from tasks.schema_backfill.copying import Copying, End
from tasks.schema_backfill.in_turns import copy_in_turns
from tasks.schema_backfill.steps import Backfilling

SOON = 5.0
"""Seconds of a turn after which the rest is left to the copy that goes on while producers are switched."""

_SHARE = 4
"""A turn that gets no shorter may take this part of what producers may store for."""

_SLOWER = 0.8
"""A turn that takes more than this part of the one before is no shorter."""

_TURNS = 3
"""So many of these in a row, and it does not come nearer."""

_AGAIN = 5.0


def catch_up(copying: Copying, *, parallel: int, on_cancel: Callable[[], None]) -> list[End]:
    """Copy in turns until little is left; say how each partition has ended in its last one.

    Args:
        copying: what the steps share.
        parallel: so many partitions are copied at the same time.
        on_cancel: see `tasks.side_by_side.work_at`.

    Raises:
        CopyTooSlowError: events come faster than they are copied.
    """
    work, turns = copying.backfilling, list[float]()
    began: float | None = None

    def is_over() -> bool:
        nonlocal began
        now = time.monotonic()
        if began is not None:
            turns.append(now - began)
        began = now
        if is_near(turns, copying.patience):
            return True
        if is_too_slow(turns, copying.patience):
            raise CopyTooSlowError(work.source, work.target, turns[-_TURNS:])
        return False

    return copy_in_turns(copying, is_over, lambda: None, parallel=parallel, on_cancel=on_cancel)


def is_near(turns: Sequence[float], patience: float) -> bool:
    """Say whether so little is left that producers may be switched.

    Args:
        turns: seconds that each turn took.
        patience: seconds that producers may store for until all is copied.
    """
    return bool(turns) and (turns[-1] <= SOON or (turns[-1] <= patience / _SHARE and _longer(turns) > 0))


def is_too_slow(turns: Sequence[float], patience: float) -> bool:
    """Say whether it never will be so little, as it looks; see `is_near`."""
    return not is_near(turns, patience) and _longer(turns) >= _TURNS


def _longer(turns: Sequence[float]) -> int:
    """Count the last turns that got no shorter."""
    longer = 0
    for before, now in zip(turns[-2::-1], turns[:0:-1], strict=True):
        if now < before * _SLOWER:
            break
        longer += 1
    return longer


def catch_up_and_hold(copying: Copying, topic: str, *, parallel: int, on_cancel: Callable[[], None]) -> list[End]:
    """Do as `catch_up`, and hold a topic from then on; while another job holds it, go on with what comes.

    A replay must not open the topic's lanes to it while producers are to leave it. It is not held before: copying and
    comparing may take hours, and an outage in these is to be replayed at once.

    Args:
        copying: what the steps share; its patience is also how long to wait for another job.
        topic: the topic.
        parallel: see `catch_up`.
        on_cancel: see `catch_up`.

    Raises:
        CopyTooSlowError: see `catch_up`.
        HeldError: another job holds the topic for longer.
    """
    work = copying.backfilling
    until = time.monotonic() + copying.patience
    while True:
        ended = catch_up(copying, parallel=parallel, on_cancel=on_cancel)
        if any(end.how != "done" for end in ended):
            return ended
        try:
            if _holds(work, topic, until):
                return ended
        except BaseException as error:
            if not isinstance(error, Exception):  # a cancel, which arrives in this thread
                on_cancel()
            raise


def _holds(work: Backfilling, topic: str, until: float) -> bool:
    """Try to hold a topic; False: what came meanwhile is to be copied first, and then it is to be tried again."""
    began = time.monotonic()
    try:
        work.run.claim([(work.cluster, topic)], all_or_none=True)
    except HeldError:
        if began > until:
            raise
        time.sleep(_AGAIN)
        return False
    return time.monotonic() - began <= SOON  # else a dead one held it, which takes its time to find out
