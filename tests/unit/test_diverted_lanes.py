"""What a correction leaves while a lane is not open: older events of its keys may wait in the standby store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from redrive.deadletters.correction.diverted import DIVERTED, DivertedLanes
from redrive.deadletters.correction.order_guard import LOOK_EVERY
from redrive.deadletters.correction.source import LEFT
from redrive.murmur2 import partition_of
from redrive.standby.lanes import DIVERT, OPEN, Gate, Lane, LaneLog, Topics
from redrive.standby.log import SEAL
from redrive.standby.store import Slot, Store
from tests.unit.test_letter_source import Work, letter

LANES = 4


class Table:
    """As much of a standby table as lanes need; counts what is asked of it."""

    def __init__(self) -> None:
        self.slots: dict[str, dict[int, Slot]] = {}
        self.versions: dict[str, int] = {}
        self.asked = 0

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        there = self.slots.setdefault(pk, {}).setdefault(sk, slot)
        return None if there is slot else there

    def last(self, pk: str) -> tuple[int, Slot] | None:
        self.asked += 1
        return max(self.slots.get(pk, {}).items(), default=None)

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        yield from sorted((number, slot) for number, slot in self.slots.get(pk, {}).items() if number > after)

    def version(self, pk: str) -> int:
        self.asked += 1
        return self.versions.get(pk, 0)

    def bump(self, pk: str) -> None:
        self.versions[pk] = self.version(pk) + 1


class Lanes:
    """The lanes of `orders`, and what a producer and a replay do to them."""

    def __init__(self) -> None:
        self.table = Table()
        self.store = cast(Store, self.table)
        Topics(self.store, "one").lanes("orders", LANES)
        self.seen = DivertedLanes(self.store, "one", {"orders": "orders"})

    def becomes(self, kind: str, key: bytes = b"k", topic: str = "orders") -> None:
        log = LaneLog(self.store, Lane("one", topic, partition_of(key, LANES)))
        assert log.extend(log.state(), kind, 1, "somebody")
        if kind != SEAL:
            Gate(self.store, "one").bump()


@pytest.fixture
def lanes() -> Lanes:
    return Lanes()


@pytest.mark.parametrize("policy", ["hold", "publish", "skip"])
def test_letters_of_a_diverted_lane_are_left_open_whatever_the_policy(
    monkeypatch: pytest.MonkeyPatch, lanes: Lanes, policy: Any
) -> None:
    letters = [letter(2, 2_000, 0), letter(3, 3_000, 1, key=b"other"), letter(4, 4_000, 2, key=None)]
    assert partition_of(b"other", LANES) != partition_of(b"k", LANES)
    lanes.becomes(DIVERT)
    lanes.seen.look()
    work = Work(monkeypatch, letters, policy=policy, lanes=lanes.seen)
    (chunk,) = work.source.chunks(None)
    assert [event.id for event in chunk.events] == ["e3", "e4"]
    assert (chunk.skipped, work.fates) == ({LEFT + DIVERTED: 1}, [])
    made = work.plan()
    assert (made.counts["publish"], made.publishes, made.diverted, made.writes) == (3, 2, 1, 3)


def test_a_lane_that_is_sealed_is_not_open_and_one_that_is_open_again_is(lanes: Lanes) -> None:
    for kind, diverted in ((DIVERT, True), (SEAL, True), (OPEN, False)):
        lanes.becomes(kind)
        lanes.seen.look()
        assert lanes.seen.has("orders", b"k") is diverted
    assert not lanes.seen.has("refunds", b"k")


def test_lanes_are_read_anew_only_if_the_gate_has_counted_up(lanes: Lanes) -> None:
    lanes.seen.look()
    assert lanes.seen.looks == 1
    before = lanes.table.asked
    lanes.seen.look()
    assert (lanes.seen.looks, lanes.table.asked) == (1, before + 1)
    lanes.seen.look(if_older_than=60.0)
    assert lanes.table.asked == before + 1


def test_what_it_plans_does_not_change_with_lanes(monkeypatch: pytest.MonkeyPatch, lanes: Lanes) -> None:
    """Else nobody could approve anything in an outage."""
    letters = [letter(2, 2_000, 0), letter(3, 3_000, 1, key=b"other")]
    before = Work(monkeypatch, letters, lanes=lanes.seen).plan()
    lanes.becomes(DIVERT)
    lanes.seen.look()
    assert Work(monkeypatch, letters, lanes=lanes.seen).plan().canonical() == before.canonical()


@pytest.mark.parametrize("policy", ["hold", "publish"])
def test_a_lane_that_is_diverted_while_the_run_is_held_up_is_seen_before_anything_is_published(
    monkeypatch: pytest.MonkeyPatch, lanes: Lanes, policy: Any
) -> None:
    lanes.seen.look()
    work = Work(monkeypatch, [letter(2, 2_000, 7), letter(3, 3_000, 8, key=b"other")], policy=policy, lanes=lanes.seen)
    events = work.events()
    assert work.source.overtaken_meanwhile(events) == {}
    lanes.becomes(DIVERT)
    monkeypatch.setattr(lanes.seen, "_read_at", lanes.seen._read_at - LOOK_EVERY)
    assert {index: skipped.reason for index, skipped in work.source.overtaken_meanwhile(events).items()} == {
        0: LEFT + DIVERTED
    }
    assert work.fates == []
