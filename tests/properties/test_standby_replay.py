"""What `LaneReplay` refuses, whatever its caller believes."""

from __future__ import annotations

import msgspec

from redrive.standby.lanes import DIVERT, OPEN, SEAL, LaneLog
from redrive.standby.replay import Cursor, LaneReplay
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
