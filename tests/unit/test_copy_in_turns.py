"""A topic with more partitions than are copied at the same time, while it gets more."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from redrive.errors import StoppedError, UnavailableError
from redrive.migrations.copying import UnitResult
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit
from redrive.pump.governor import Governor
from redrive.pump.pump import Progress
from redrive.pump.workers import Workers
from tasks.board import Board
from tasks.schema_backfill import in_turns
from tasks.schema_backfill.copying import Copying
from tasks.side_by_side import UnitEnd

NO_RULES = pickle.dumps((SimpleNamespace(rules=""),))


@dataclass
class Topic:
    """Its ends, and what is looked at of the run that copies it; each turn is noted."""

    now: list[int]
    how: str = "done"

    def __post_init__(self) -> None:
        self.governor, self.backfilling = Governor(), self
        self.client, self.source = {"bootstrap.servers": "127.0.0.1:1"}, "orders"
        units = [Unit("one", "orders", "orders.v2", partition) for partition in range(len(self.now))]
        self.standings = [Standing(unit, 0, None, end) for unit, end in zip(units, self.now, strict=True)]
        self.turns: list[list[int]] = []

    def copy(self, _: object, standings: Sequence[Standing], **__: object) -> list[Any]:
        self.turns.append([standing.unit.partition for standing in standings])
        outcome: Any = None
        return [
            UnitEnd(each.unit, self.how, UnitResult(each.unit, outcome, self.now[each.unit.partition]))  # type: ignore[arg-type]
            for each in standings
        ]

    def in_turns(self, is_over: Callable[[], bool], wait: Callable[[], object]) -> list[Any]:
        copying: Any = self
        return in_turns.copy_in_turns(copying, is_over, wait, parallel=1, on_cancel=lambda: self.turns.append([]))


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    topic = Topic([3, 5, 0])
    monkeypatch.setattr(in_turns, "copy_partitions", topic.copy)
    monkeypatch.setattr(in_turns, "end_offsets", lambda *_: list(topic.now))
    return topic


def test_each_partition_has_its_turn_and_those_that_have_got_more_have_another(topic: Topic) -> None:
    def more() -> None:
        if len(topic.turns) == 1:
            topic.now[1] += 1

    ends = topic.in_turns(lambda: len(topic.turns) == 2, more)
    assert topic.turns == [[0, 1, 2], [1]]
    assert [(end.unit.partition, end.result.next) for end in ends] == [(0, 3), (1, 6), (2, 0)]


def test_a_partition_that_has_not_ended_well_ends_all_turns(topic: Topic) -> None:
    topic.how = "paused"
    assert [end.how for end in topic.in_turns(lambda: False, lambda: None)] == ["paused"] * 3
    assert len(topic.turns) == 1


def test_all_have_a_turn_if_a_cluster_does_not_say_where_they_end_or_the_run_is_stopped(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[int]:
        raise UnavailableError("Kafka one", "it is away")

    monkeypatch.setattr(in_turns, "end_offsets", away)
    topic.in_turns(lambda: len(topic.turns) == 1, lambda: None)
    assert topic.turns == [[0, 1, 2], [0, 1, 2]]
    monkeypatch.setattr(in_turns, "end_offsets", lambda *_: list(topic.now))
    topic.governor.stop()
    topic.in_turns(lambda: len(topic.turns) == 3, lambda: None)
    assert topic.turns[2:] == [[0, 1, 2], [0, 1, 2]]


def test_a_cancel_between_two_turns_stops_the_run_that_would_go_on_without_a_copy(topic: Topic) -> None:
    def cancelled() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        topic.in_turns(lambda: False, cancelled)
    assert topic.governor.stopped
    assert topic.turns == [[0, 1, 2], []]


def test_the_next_part_of_a_run_knows_what_the_one_before_has_parked() -> None:
    unit = Unit("one", "orders", "orders.v2", 0)
    work: Any = SimpleNamespace(
        standings=[Standing(unit, 0, None, 9)], workers=Workers(0), migration=SimpleNamespace(spec=NO_RULES)
    )
    board, governor, nothing = Board({unit: 9}), Governor(), Any
    board.moved(unit, Progress(9, 7, 0, 2, 0.0, None, "", 0.0))
    copying = Copying(work, nothing, governor, board, patience=1, most_parked=3)  # type: ignore[arg-type]
    copying.count(unit, 1)
    with pytest.raises(StoppedError, match="4 events would have to be parked, and at most 3 may be"):
        copying.count(unit, 1)
