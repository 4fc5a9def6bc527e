"""What a board says of units whose sources get more while a run works."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from redrive.migrations import source
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit
from redrive.pump.governor import Governor
from redrive.pump.pump import Progress
from redrive.pump.workers import Workers
from tasks import board as boards
from tasks.board import Board
from tasks.schema_backfill.copying import Copying


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(boards, "time", clock)
    return clock


def read(events: int) -> Progress:
    return Progress(events, events, 0, 0, 0.0, None, "", 0.0)


def test_what_is_left_is_what_waits_now_and_not_what_waited_at_first() -> None:
    board = Board({"a": 10, "b": 5})
    board.moved("a", read(10))
    board.waits("a", 30)
    assert board.totals().total == 45
    board.moved("a", read(40))
    board.waits("a", 0)
    assert (board.totals().total, board.totals().read) == (45, 40)


def test_the_trouble_of_a_quiet_unit_is_over_once_its_system_has_answered_that_nothing_waits(clock: Clock) -> None:
    """Or it would have used up its patience by the next blip, hours later."""
    board = Board({"quiet": 0})
    board.moved("quiet", read(5))
    board.no_answer("quiet", "a blip")
    clock.now = 60.0
    board.idle("quiet", 0.0)
    assert board.trouble_seconds("quiet") == 60.0, "that was asked before the blip"
    board.idle("quiet", 59.0)
    assert board.trouble_seconds("quiet") == 0.0
    clock.now = 18_000.0
    board.no_answer("quiet", "another one")
    clock.now = 18_030.0
    board.no_answer("quiet", "the same")
    assert board.trouble_seconds("quiet") == 30.0


def test_the_trouble_of_a_unit_that_is_done_is_over(clock: Clock) -> None:
    board = Board({"in turns": 0})
    board.no_answer("in turns", "a blip")
    board.ended("in turns", "done")
    clock.now = 18_000.0
    board.no_answer("in turns", "another one, of a later turn")
    assert board.trouble_seconds("in turns") == 0.0


@pytest.mark.parametrize(("end", "over"), [(7, True), (8, False)], ids=["nothing waits", "something waits"])
def test_a_partition_that_is_followed_says_that_it_is_idle(clock: Clock, end: int, over: bool) -> None:
    unit = Unit("one", "orders", "orders.v2", 0)
    ends: Any = SimpleNamespace(latest=lambda _: end, answered_at=5.0)
    spec = pickle.dumps((SimpleNamespace(rules=""),))
    work: Any = SimpleNamespace(
        standings=[Standing(unit, 0, 7, 7)], workers=Workers(0), migration=SimpleNamespace(spec=spec)
    )
    board = Board({unit: 0})
    copying = Copying(work, ends, Governor(), board, patience=120, most_parked=0)
    board.no_answer(unit, "a blip")
    copying.copied_to(unit, 7)
    clock.now = 6.0
    copying.moved(unit, read(0))
    assert (board.trouble_seconds(unit) == 0.0) is over


def test_a_source_says_at_once_from_where_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(source, "follow", lambda *_, **__: iter([]))
    unit = Unit("one", "orders", "orders.v2", 0)
    chunks = source.TopicSource({}, unit, migration="m", first=7, until=lambda: None, on_copied=heard.append)
    assert (list(chunks.chunks(None)), heard) == ([], [7])
