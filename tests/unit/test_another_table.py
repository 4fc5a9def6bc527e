"""A lane whose standby table is another one than its cursor in Kafka speaks of: new, restored, or both by turns."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
import pytest

from redrive.pump.checkpoint import Checkpoint
from redrive.pump.pump import Pump
from redrive.standby.batches import Stored
from redrive.standby.cursor import MARKS, Cursor, NotOpenError, TableBehindError, decode, go_on
from redrive.standby.drain import LaneResult, _replay
from redrive.standby.lanes import DIVERT, Lane, LaneLog
from redrive.standby.log import SEAL
from redrive.standby.replay import LaneReplay
from redrive.standby.store import Slot, Store
from redrive.standby.writer import Entry, LaneWriter, SystemClock
from tests.pumping import MemorySink

LANE = Lane("main", "orders", 0)


class Table:
    """A standby table in memory."""

    def __init__(self) -> None:
        self.logs: dict[str, dict[int, Slot]] = {}
        self.versions: dict[str, int] = {}

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        there = self.logs.setdefault(pk, {}).setdefault(sk, slot)
        return None if there.token == slot.token else there

    def last(self, pk: str) -> tuple[int, Slot] | None:
        log = self.logs.get(pk)
        return (max(log), log[max(log)]) if log else None

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        yield from sorted((sk, slot) for sk, slot in self.logs.get(pk, {}).items() if sk > after)

    def delete(self, pk: str, sks: Sequence[int]) -> None:
        for sk in sks:
            self.logs[pk].pop(sk, None)

    def expire(self, pk: str, sks: Sequence[int], at: int) -> None:
        pass

    def bump(self, pk: str) -> None:
        self.versions[pk] = self.versions.get(pk, 0) + 1


class World:
    """One lane, its cursor in Kafka, and what was published; the table can be exchanged."""

    def __init__(self) -> None:
        self.table = Table()
        self.sink = MemorySink()
        self.stored: list[str] = []

    @property
    def store(self) -> Store:
        return cast(Store, self.table)

    @property
    def published(self) -> list[str]:
        return [event.id for event in self.sink.published]

    @property
    def is_open(self) -> bool:
        return LaneLog(self.store, LANE).state().is_main

    def begin(self, producer: str) -> LaneWriter:
        """Have a producer divert the lane."""
        writer = LaneWriter(self.store, LANE, producer, clock=SystemClock(), grace=0.0, seal_wait=0.0)
        assert writer.enter(must_divert=True) is Entry.STANDBY
        return writer

    def store_with(self, writer: LaneWriter, count: int = 3) -> None:
        for _ in range(count):
            name = f"e{len(self.stored)}"
            accepted = int(time.time() * 1000) - 5000
            assert writer.store([Stored(name, b"k", b"v", [("ce_id", name.encode())], accepted)])
            self.stored.append(name)

    def outage(self, producer: str) -> LaneWriter:
        writer = self.begin(producer)
        self.store_with(writer)
        return writer

    def make(self) -> tuple[LaneReplay, Pump]:
        replay = LaneReplay(
            self.store, LANE, lambda *_: set(), clock=SystemClock(), owner="replay", settle=0, later=lambda _: None
        )
        return replay, Pump(replay, self.sink, parking_topic="parked")

    def replay(self) -> LaneResult:
        replay, pump = self.make()
        return _replay(LANE, replay, pump, self.sink.cursor)

    def replay_one_round(self) -> None:
        """Publish what is there, and be killed before the lane is sealed."""
        _, pump = self.make()
        pump.run(self.sink.cursor)

    def forget_marks(self) -> None:
        """Have a cursor as an older Redrive wrote it."""
        saved = Checkpoint.decode(self.sink.cursor)
        cursor = decode(saved.source)
        old: Any = msgspec.msgpack.encode([cursor.epoch, cursor.streams])
        self.sink.cursor = msgspec.structs.replace(saved, source=old).encode()

    def assert_each_once(self) -> None:
        assert self.published == self.stored
        assert self.is_open


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("outages", [1, 2, 3])
@pytest.mark.parametrize("is_older", [False, True], ids=["cursor", "cursor of an older Redrive"])
def test_a_new_table_is_replayed_whatever_epoch_the_cursor_is_at(world: World, outages: int, is_older: bool) -> None:
    for i in range(outages):
        world.outage(f"shop-{i}")
        world.replay()
    if is_older:
        world.forget_marks()
    world.table = Table()
    for i in range(outages + 1):
        world.outage(f"new-shop-{i}")
        assert world.replay().epochs == (i + 1,)
        world.assert_each_once()


def test_a_producer_that_has_lived_on_does_not_lose_its_first_epoch_of_a_new_table(world: World) -> None:
    """Producer, epoch and slots have the same numbers in both."""
    world.outage("shop")
    world.replay()
    world.table = Table()
    world.outage("shop")
    world.replay()
    world.assert_each_once()


def test_a_table_that_was_restored_to_when_the_lane_was_open_goes_on(world: World) -> None:
    world.outage("shop")
    world.replay()
    before = copy.deepcopy(world.table)
    for _ in range(2):
        world.outage("shop")
        world.replay()
    world.table = before
    for _ in range(3):
        world.outage("shop")
        world.replay()
        world.assert_each_once()


def test_what_was_published_of_an_epoch_before_is_not_published_again(world: World) -> None:
    world.outage("shop")
    world.replay_one_round()
    assert world.published == world.stored
    world.begin("other")
    world.replay()
    world.assert_each_once()


def test_an_older_cursor_goes_on_in_the_midst_of_its_epoch(world: World) -> None:
    writer = world.outage("shop")
    world.replay_one_round()
    world.forget_marks()
    world.store_with(writer)
    world.replay()
    world.assert_each_once()


@pytest.mark.parametrize("later", [0, 1, 2], ids=["its own epoch", "one epoch", "two epochs"])
def test_a_table_restored_to_the_midst_of_an_epoch_that_is_published_ends_as_failed(world: World, later: int) -> None:
    world.outage("shop")
    before = copy.deepcopy(world.table)
    world.replay()
    for _ in range(later):
        world.outage("shop")
        world.replay()
    done, world.table = world.published, before
    world.outage("other")  # joins the epoch; nobody can tell its events from those of before but by reading Kafka
    for _ in range(2):
        with pytest.raises(TableBehindError, match=r"main/orders\[0\], epoch 1: .*standby-store.md"):
            world.replay()
    assert world.published == done
    assert not world.is_open


def test_a_table_that_has_less_of_a_stream_than_is_published_ends_as_failed(world: World) -> None:
    writer = world.outage("shop")
    before = copy.deepcopy(world.table)
    world.store_with(writer)
    world.replay_one_round()
    world.table = before
    with pytest.raises(TableBehindError, match="published up to slot 6, and ends at 3"):
        world.replay()


def test_the_way_out_of_a_restored_table_is_a_new_one_or_one_of_a_later_moment(world: World) -> None:
    world.outage("shop")
    before = copy.deepcopy(world.table)
    world.replay()
    world.outage("shop")
    later, world.table = world.table, before
    with pytest.raises(TableBehindError):
        world.replay()
    world.table = later
    world.replay()
    world.assert_each_once()
    world.table = Table()
    world.outage("shop")
    world.replay()
    world.assert_each_once()


def test_what_a_table_that_comes_back_has_of_epochs_that_were_never_replayed_is_published(world: World) -> None:
    world.outage("shop")
    lost, world.table = world.table, Table()
    world.outage("shop")
    world.table, second = lost, world.table
    world.replay()
    world.table = second
    world.replay()
    world.assert_each_once()


def test_a_table_that_comes_back_in_the_midst_of_an_epoch_ends_as_failed(world: World) -> None:
    world.outage("shop")
    world.replay_one_round()
    first, world.table = world.table, Table()
    world.outage("shop")
    world.replay()
    done, world.table = world.published, first
    with pytest.raises(TableBehindError, match="epoch 1"):
        world.replay()
    assert world.published == done


def test_a_cursor_keeps_so_many_marks(world: World) -> None:
    for i in range(MARKS + 5):
        log = LaneLog(world.store, LANE)
        assert log.extend(log.state(), DIVERT, i + 1, "shop")
        world.replay()
    cursor: Cursor = decode(Checkpoint.decode(world.sink.cursor).source)
    assert len(set(cursor.marks)) == MARKS
    world.outage("shop")
    world.replay()
    world.assert_each_once()


def test_a_lane_whose_log_has_lost_its_epochs_is_not_said_to_be_open(world: World) -> None:
    world.table.logs[LANE.log] = {7: Slot(SEAL, "replay/1", epoch=3)}
    with pytest.raises(NotOpenError, match=r"main/orders\[0\] is not open: .*'seal'"):
        world.replay()


def test_a_lane_that_is_diverted_while_its_replay_ends_is_replayed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.outage("shop")
    is_open = LaneReplay.is_open
    asked = 0

    def divert_first(replay: LaneReplay) -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            world.outage("late")
        return is_open(replay)

    monkeypatch.setattr(LaneReplay, "is_open", divert_first)
    assert world.replay().epochs == (1, 2)
    world.assert_each_once()


def test_no_epoch_is_replayed_twice_however_many_are_not_left_behind_yet() -> None:
    """As of a cluster that comes and goes before the lane can be opened."""
    entries = [(i, Slot(DIVERT, f"shop/{i}", epoch=i, producer="shop")) for i in range(1, 2 * MARKS)]
    cursor: Cursor | None = Cursor(marks=[f"earlier-{i}" for i in range(MARKS)])
    replayed = []
    for _ in entries:
        assert cursor is not None
        cursor = go_on(LANE, entries, cursor, lambda _: True)
        assert cursor is not None
        replayed.append(cursor.epoch)
    assert replayed == [i for i, _ in entries]
