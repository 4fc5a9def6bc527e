"""Producers are switched once little is left to copy: so long they have to store what they publish."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from redrive.errors import CopyTooSlowError, HeldError
from redrive.migrations.copying import UnitResult
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit
from redrive.pump.governor import Governor
from tasks.schema_backfill import catching_up, in_turns
from tasks.schema_backfill.catching_up import catch_up, catch_up_and_hold
from tasks.side_by_side import UnitEnd

UNIT = Unit("one", "orders", "orders.v2", 0)


class Topic:
    """A topic to which events come, and the run that copies it; its clock goes on while that copies or waits."""

    def __init__(self, rate: float, speed: float, behind: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rate, self.speed = rate, speed
        self.now, self.copied = 0.0, -behind
        self.patience, self.governor, self.backfilling, self.run = 120.0, Governor(), self, self
        self.client, self.cluster = {"bootstrap.servers": "127.0.0.1:1"}, UNIT.cluster
        self.source, self.target = UNIT.source, UNIT.target
        self.standings = [Standing(UNIT, 0, None, 0)]
        self.how, self.refusals, self.claims = "done", 0, list[Any]()
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(catching_up, "time", clock)
        monkeypatch.setattr(in_turns, "end_offsets", lambda *_: [self.end])
        monkeypatch.setattr(in_turns, "copy_partitions", self.copy)

    @property
    def end(self) -> int:
        return int(self.now * self.rate)

    @property
    def behind(self) -> int:
        return self.end - self.copied

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def copy(self, _: object, standings: Sequence[Standing], **__: object) -> list[Any]:
        end = self.end
        self.now += 0.5 + (end - self.copied) / self.speed
        self.copied = end
        outcome: Any = None
        return [UnitEnd(each.unit, self.how, UnitResult(each.unit, outcome, end)) for each in standings]  # type: ignore[arg-type]

    def claim(self, topics: object, *, all_or_none: bool) -> None:
        assert all_or_none
        self.claims.append((self.now, topics))
        if len(self.claims) <= self.refusals:
            raise HeldError("one/orders", "standby-replay 7")


def near(topic: Topic) -> list[Any]:
    copying: Any = topic
    return catch_up(copying, parallel=4, on_cancel=lambda: None)


def hold(topic: Topic) -> list[Any]:
    copying: Any = topic
    return catch_up_and_hold(copying, "orders", parallel=4, on_cancel=lambda: topic.claims.append("cancelled"))


def test_what_has_come_in_hours_is_copied_before_to_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(rate=5_000, speed=50_000, behind=7_400_000, monkeypatch=monkeypatch)
    near(topic)
    assert topic.behind < 5 * 5_000


def test_a_topic_whose_events_come_faster_than_they_are_copied_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(rate=5_000, speed=5_000, behind=1_000_000, monkeypatch=monkeypatch)
    with pytest.raises(CopyTooSlowError, match="events come to orders about as fast as they are copied") as raised:
        near(topic)
    assert len(raised.value.turns) == 3


def test_turns_that_are_long_for_their_number_of_partitions_only_are_near_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = Topic(rate=10, speed=1_000, behind=0, monkeypatch=monkeypatch)
    overhead = topic.copy

    def copy(*arguments: Any, **options: Any) -> list[Any]:
        topic.now += 20
        return overhead(*arguments, **options)

    monkeypatch.setattr(in_turns, "copy_partitions", copy)
    near(topic)
    assert topic.now < 100


def test_a_partition_that_is_stuck_ends_it_before_anything_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(rate=5, speed=50_000, behind=10, monkeypatch=monkeypatch)
    topic.how = "paused"
    assert [end.how for end in hold(topic)] == ["paused"]
    assert topic.claims == []


def test_what_comes_is_copied_on_while_another_job_holds_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(rate=5_000, speed=50_000, behind=100_000, monkeypatch=monkeypatch)
    topic.refusals = 4
    hold(topic)
    assert [topics for _, topics in topic.claims] == [[("one", "orders")]] * 5
    assert topic.behind < 5 * 5_000


def test_a_job_that_holds_the_topic_for_longer_than_patience_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(rate=5_000, speed=50_000, behind=0, monkeypatch=monkeypatch)
    topic.refusals = 1_000
    with pytest.raises(HeldError, match="standby-replay 7"):
        hold(topic)
    assert topic.patience <= topic.now < topic.patience + 15


def test_what_came_while_a_dead_job_was_waited_for_is_copied_before(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(rate=5_000, speed=50_000, behind=0, monkeypatch=monkeypatch)
    claim = topic.claim

    def slow(topics: object, **options: Any) -> None:
        topic.now += 15 if not topic.claims else 0
        claim(topics, **options)

    monkeypatch.setattr(topic, "claim", slow)
    hold(topic)
    assert topic.behind < 5 * 5_000


def test_a_cancel_while_another_job_is_waited_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(rate=5, speed=50_000, behind=0, monkeypatch=monkeypatch)
    topic.refusals = 1

    def cancelled(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catching_up.time, "sleep", cancelled)
    with pytest.raises(KeyboardInterrupt):
        hold(topic)
    assert topic.claims[-1] == "cancelled"
