"""When the guard of a migration in place lets nothing through: with a partition that stands still in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from confluent_kafka import Message

from redrive.errors import UnavailableError
from redrive.events import Event
from redrive.migrations.in_place.guard import SUPERSEDED, Guard
from redrive.migrations.in_place.log import Part, PartitionLog
from redrive.migrations.in_place.newest import Newest, hash_of, windows
from redrive.migrations.in_place.renewing import _mend, _Staying
from redrive.migrations.unit import Unit
from redrive.pump.model import Skipped
from tests.pumping import MemorySink, make_events

UNIT = Unit("one", "orders", "orders", 0)


class StillLog:
    """A partition that nobody writes to, of one key at most; reading it takes a while.

    Args:
        seconds: how long.
        offsets: where the key ``a`` is deleted.
    """

    def __init__(self, seconds: float = 0.0, offsets: Sequence[int] = ()) -> None:
        self._seconds, self._offsets = seconds, offsets

    def read(self, first: int, upto: int | None = None, *, committed: bool = True) -> Iterator[Part]:
        time.sleep(self._seconds)
        end = 10 if upto is None else upto
        yield Part([cast(Message, Deletion(each)) for each in self._offsets if first <= each < end], end)


class Deletion:
    """A record without a value."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def key(self) -> bytes:
        return b"a"

    def value(self) -> None:
        return None

    def headers(self) -> None:
        return None

    def offset(self) -> int:
        return self._offset


def guard(within: float, offsets: Sequence[int] = ()) -> Guard:
    made = Guard(cast(PartitionLog, StillLog(offsets=offsets)), UNIT, cast(Any, None), within)
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


def test_all_that_stands_behind_the_window_is_heard_also_before_the_place_to_look_from() -> None:
    beginning = guard(within=100.0, offsets=[0, 4])
    beginning.newest.hear([cast(Message, Deletion(0))], 1)
    beginning.mend(since=6)
    assert beginning.newest.offset(b"a") == 4


def test_a_newer_event_that_has_a_still_newer_one_is_not_published_again() -> None:
    event = Event("a", "orders", b"a", b"old", [], 1, 0, UNIT.origins % 0)
    overtaken = guard(within=100.0, offsets=[0, 4, 7])
    overtaken.newest.hear([cast(Message, Deletion(0))], 1)
    overtaken._newer = {hash_of(b"a"): cast(Message, Deletion(4))}
    assert overtaken.before([event]) == {0: Skipped(SUPERSEDED)}
    assert overtaken.newest.offset(b"a") == 7
