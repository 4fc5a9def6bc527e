"""When `LaneReplay` seals a lane, and what it refuses, whatever its caller believes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import msgspec

from redrive.envelope import Identity
from redrive.standby.batches import Stored, pack
from redrive.standby.cursor import Cursor
from redrive.standby.lanes import DIVERT, OPEN, SEAL, Lane, LaneLog
from redrive.standby.lookup import Doubtful
from redrive.standby.replay import LaneReplay
from redrive.standby.store import Slot
from redrive.standby.streams import Position
from tests.explorer.actors import Play
from tests.explorer.explore import Picks
from tests.explorer.scenario import Scenario
from tests.explorer.threads import ModelClock


def test_a_lane_is_opened_only_by_a_cursor_that_stands_at_the_seal_of_every_stream() -> None:
    """The pump never asks for it earlier; this holds even if somebody does."""
    play = Play(Scenario("", ()), Picks({}))
    lane = play.lanes[0]
    answers: list[tuple[bool, str]] = []

    def ask() -> None:
        log = LaneLog(play.store, lane)
        for kind, producer in ((DIVERT, "A"), (DIVERT, "B"), (SEAL, "")):
            play.store.put_new(
                lane.log, log.state().slot + 1, Slot(kind, f"{kind}{producer}", b"", 0, 0, 0, 1, producer)
            )
        replay = LaneReplay(
            play.store, lane, lambda lane, events: set(), clock=ModelClock(play.world), owner="R", skew=0, settle=0
        )
        for streams in (
            {},
            {"A": Position(2, 0, True)},
            {"A": Position(2, 0, True), "B": Position(1)},
            {"A": Position(2, 0, True), "B": Position(2, 0, True)},
        ):
            cursor = msgspec.msgpack.encode(Cursor(1, streams))
            answers.append((replay.open(cursor), log.state().kind))

    play.world.spawn("test", ask)
    play.world.run()
    assert answers == [(False, SEAL), (False, SEAL), (False, SEAL), (True, OPEN)]


def test_a_lane_is_sealed_after_the_first_round_that_was_quick_to_its_very_end() -> None:
    """From the seal on, producers wait for a round; so it has to be known how long one takes, commits included."""
    play = Play(Scenario("", ()), Picks({}))
    lane, world = play.lanes[0], play.world
    states: list[str] = []

    def rounds() -> None:
        log = LaneLog(play.store, lane)
        play.store.put_new(lane.log, 1, Slot(DIVERT, "A", b"", 0, 0, 0, 1, "A"))
        replay = LaneReplay(
            play.store, lane, lambda lane, events: set(), clock=ModelClock(world), owner="R", skew=0, settle=0, quick=3
        )
        for took in (9, 4, 3, 0):
            list(replay.chunks(None))
            states.append(log.state().kind)
            world.time += took

    world.spawn("test", rounds)
    world.run()
    assert states == [DIVERT, DIVERT, DIVERT, SEAL]


def test_a_lane_that_an_earlier_replay_has_sealed_gets_no_more_rounds() -> None:
    play = Play(Scenario("", ()), Picks({}))
    lane, world = play.lanes[0], play.world
    opened: list[bool] = []

    def go_on() -> None:
        play.store.put_new(lane.log, 1, Slot(DIVERT, "A", b"", 0, 0, 0, 1, "A"))
        play.store.put_new(lane.log, 2, Slot(SEAL, "R1", b"", 0, 0, 0, 1, ""))
        replay = LaneReplay(
            play.store, lane, lambda lane, events: set(), clock=ModelClock(world), owner="R2", skew=0, settle=0
        )
        (last,) = replay.chunks(None)
        opened.append(replay.open(last.cursor))

    world.spawn("test", go_on)
    world.run()
    assert opened == [True]


def test_a_look_up_holds_no_event_whole() -> None:
    """A lane may have been in doubt for as much as all its producers had under way."""
    play = Play(Scenario("", ()), Picks({}))
    lane, world = play.lanes[0], play.world
    looked_up: list[int] = []
    grown: list[int] = []

    def lookup(lane: Lane, doubtful: Sequence[Doubtful]) -> set[Identity]:
        looked_up.append(len(doubtful))
        grown.append(tracemalloc.get_traced_memory()[0] - before)
        return set()

    def replay() -> None:
        play.store.put_new(lane.log, 1, Slot(DIVERT, "A", b"", 0, 0, 0, 1, "A"))
        for number in range(1, 11):
            events = [
                Stored(f"{number}-{i}", b"k", b"%08d" % i * 500, [("ce_source", b"a")], 0, None, True)
                for i in range(500)
            ]
            (slot,) = pack(events, f"t{number}")
            play.store.put_new(lane.stream(1, "A"), number, slot)
        nonlocal before
        before = tracemalloc.get_traced_memory()[0]
        list(LaneReplay(play.store, lane, lookup, clock=ModelClock(world), owner="R", skew=0, settle=0).chunks(None))

    before = 0
    tracemalloc.start()
    try:
        world.spawn("test", replay)
        world.run()
    finally:
        tracemalloc.stop()
    assert looked_up == [5_000]
    assert grown[0] < 5_000 * 1_000, "of events of 4 kB"
