"""When the guard of a migration in place lets nothing through: with a partition that stands still in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from redrive.errors import UnavailableError
from redrive.migrations.in_place.guard import Guard
from redrive.migrations.in_place.log import Part, PartitionLog
from redrive.migrations.in_place.newest import Newest, windows
from redrive.migrations.in_place.renewing import _mend, _Staying
from redrive.migrations.unit import Unit
from tests.pumping import MemorySink, make_events

UNIT = Unit("one", "orders", "orders", 0)


class StillLog:
    """A partition that nobody writes to; reading it takes a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def read(self, first: int, upto: int | None = None, *, committed: bool = True) -> Iterator[Part]:
        time.sleep(self._seconds)
        yield Part([], first if upto is None else upto)


def guard(within: float) -> Guard:
    made = Guard(cast(PartitionLog, StillLog()), UNIT, cast(Any, None), within)
    made.newest = Newest(0, 10, [], made.ours)
    return made


def test_after_a_pause_in_which_deletions_could_come_and_go_the_partition_has_to_be_read_anew() -> None:
    paused = guard(within=100.0)
    paused.newest.heard -= 101
    with pytest.raises(UnavailableError, match="101 s have passed since it was read, and 100 s may"):
        paused.before([])


def test_each_batch_may_wait_that_long_after_the_one_before() -> None:
    running = guard(within=100.0)
    for _ in range(3):
        running.newest.heard -= 60
        assert not running.before([])


def test_a_window_has_to_be_read_within_that_time() -> None:
    slow = cast(PartitionLog, StillLog(seconds=0.02))
    with pytest.raises(UnavailableError, match=r"delete\.retention\.ms"):
        list(windows(slow, 0, 10, b"", [], within=0.03))
    assert len(list(windows(slow, 0, 10, b"", [], within=10.0))) == 1


def test_what_is_refused_migrated_and_as_it_is_holds_no_partition_up_and_is_counted_once() -> None:
    refused, taken = events = make_events(2)
    sink, counted = MemorySink(refuse={(refused.topic, refused.id)}), []
    mending = guard(within=100.0)
    mending._unmigrated[refused.origin] = refused
    _mend(_Staying(sink, mending, counted.append), events, b"")
    assert sink.published == [taken]
    assert sum(counted) == 1
