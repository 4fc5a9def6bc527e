"""What a consumer makes of the records of the control topic, whichever of them it finds when it starts."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import TopicPartition

from redrive.aliases import Alias
from redrive.aliases.turning import following
from redrive.consumer import EventConsumer
from redrive.consuming import alias_watch, going_over, handover
from redrive.consuming.taken import Place
from redrive.received import ReceivedEvent
from tests.unit.scripted_kafka import ORDERS, Client, Kafka, Record, records

NEW: Place = ("orders.v2", 0)
FORTH = Alias("orders", "orders.v2", "orders.v2", 1, 1, "{}", places={0: (3, 7)})
TURNING = following(FORTH, msgspec.structs.replace(FORTH, current="orders", generation=2))
"""Producers are being taken back; where consumers go over is not known yet."""
BACK = msgspec.structs.replace(TURNING, places={0: (12, 9)})


class Keyed(Record):
    """A record of the control topic: its key is the name that it is about."""

    def key(self) -> bytes:
        return b"orders"


class ControlTopic:
    """Stands for `redrive.aliases`: what it holds when a consumer starts, and what comes to it then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *held: Alias) -> None:
        newest = {alias.name: alias for alias in held}
        self._coming: list[Record] = [self._record(alias) for alias in held]
        monkeypatch.setattr(alias_watch.AliasWatch, "_look", lambda _: newest)
        monkeypatch.setattr(alias_watch, "reader", lambda _, **__: self)

    @staticmethod
    def _record(alias: Alias) -> Record:
        return Keyed(("redrive.aliases", 0), 0, msgspec.json.encode(alias))

    def add(self, alias: Alias) -> None:
        self._coming.append(self._record(alias))

    def assign(self, _: object) -> None:
        pass

    def consume(self, limit: int, _: float) -> list[Record]:
        coming, self._coming = self._coming[:limit], self._coming[limit:]
        return coming

    def close(self) -> None:
        pass


class Member:
    """One of a group that has committed some offsets; what it handles is noted."""

    def __init__(self, kafka: Kafka, group: dict[Place, int], owned: tuple[Place, ...] = (ORDERS, NEW)) -> None:
        self.handled: list[str] = []
        self.consumer = EventConsumer("billing", kafka.config, ["orders"], successors={"orders": "orders.v2"})
        self.client: Client = kafka.clients["one"]
        self.client.group |= group
        for place in owned:
            self.client.give(place)

    def run(self, idle: float = 1.0) -> None:
        self.consumer.run(self._handle, idle=idle)

    def _handle(self, event: ReceivedEvent) -> None:
        self.handled.append(f"{event.topic}/{event.offset}")


@pytest.fixture
def kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kafka:
    monkeypatch.setattr(going_over, "_HAND_OVER_EVERY", 0.01)
    monkeypatch.setattr(handover, "_SURE_AFTER", 0.0)
    return Kafka(tmp_path, monkeypatch)


def test_who_starts_while_producers_are_taken_back_does_not_handle_again_what_has_been_fed_back(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction may have left nothing of the record that has told the others to go over."""
    control = ControlTopic(monkeypatch, TURNING)
    member = Member(kafka, {ORDERS: 3, NEW: 9})
    member.client.send(*records(ORDERS, range(10)), *records(NEW, range(7, 12)))  # 3 … are copies of 7 …
    member.run()
    assert member.handled == ["orders.v2/9", "orders.v2/10", "orders.v2/11"]

    control.add(BACK)
    member.run()
    assert member.handled[3:] == ["orders/9"]


@pytest.mark.parametrize("restarted", [False, True])
def test_an_alias_that_was_lost_and_is_written_anew_moves_nobody(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    again = msgspec.structs.replace(FORTH, generation=1_700_000_000_000)
    control = ControlTopic(monkeypatch, again if restarted else FORTH)
    member = Member(kafka, {ORDERS: 3, NEW: 9})
    member.client.send(*records(ORDERS, range(10)), *records(NEW, range(7, 12)))
    member.run()
    control.add(again)
    member.client.send(*records(NEW, range(12, 14)))
    member.run()
    assert member.handled == [f"orders.v2/{offset}" for offset in range(9, 14)]


TAKEN_BACK = following(TURNING, msgspec.structs.replace(TURNING, current="orders.v2", generation=3))
"""Producers have gone on to the successor, since the way back was cut off."""


def test_a_group_that_has_not_gone_over_when_producers_are_taken_back_stays_and_misses_nothing(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = ControlTopic(monkeypatch, FORTH, TURNING)
    member = Member(kafka, {})
    member.client.send(*records(ORDERS, range(6)), *records(NEW, range(7, 12)))
    member.run()
    assert (member.handled, member.client.group) == (["orders/0", "orders/1", "orders/2"], {ORDERS: 3})

    control.add(BACK)
    member.run()
    assert member.handled[3:] == ["orders/3", "orders/4", "orders/5"], "copies of what it has not seen there"
    assert NEW not in member.client.group


def test_it_goes_over_once_producers_have_gone_on_to_the_successor_after_all(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = ControlTopic(monkeypatch, TURNING)
    member = Member(kafka, {ORDERS: 3})
    member.client.send(*records(ORDERS, range(6)), *records(NEW, range(7, 9)))
    member.run()
    assert member.handled == []
    control.add(TAKEN_BACK)
    member.run()
    assert member.handled == ["orders.v2/7", "orders.v2/8"]


def test_an_older_record_that_comes_late_holds_nobody(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic is read from its beginning once its newest records are known."""
    control = ControlTopic(monkeypatch, TAKEN_BACK)
    member = Member(kafka, {ORDERS: 3})
    member.client.send(*records(ORDERS, range(3)), *records(NEW, range(7, 9)))
    control.add(TURNING)
    member.run()
    assert member.handled == ["orders.v2/7", "orders.v2/8"]


def test_who_finds_no_place_of_the_group_there_looks_again_before_it_stays(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator had stood still, and has answered the look before the commit that was sent long before it."""
    control = ControlTopic(monkeypatch, FORTH, TURNING)
    member = Member(kafka, {ORDERS: 3}, (ORDERS,))
    member.client.send(*records(ORDERS, range(3, 11)))  # 3 … 7 are copies of 7 … 11 of the other topic
    control.add(BACK)
    committed = member.client.committed

    def before_the_commit(partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        found = committed(partitions, timeout)
        member.client.group.setdefault(NEW, 7)  # another member's
        return found

    monkeypatch.setattr(member.client, "committed", before_the_commit)
    member.run()
    assert member.handled == []
    member.client.group[NEW] = 12  # that one has come to its end
    member.run()
    assert member.handled == ["orders/9", "orders/10"]


def test_who_sleeps_between_its_look_and_its_commit_looks_again(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else others may have seen by then that the group has no place there, and gone on in the old topic."""
    control = ControlTopic(monkeypatch, FORTH)
    member = Member(kafka, {ORDERS: 3}, (NEW,))
    member.client.send(*records(NEW, range(7, 9)))
    looks: list[float] = []
    committed = member.client.committed

    def slow(partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        found = committed(partitions, timeout)
        looks.append(time.monotonic())
        if len(looks) == 1:
            control.add(TURNING)
            control.add(BACK)
            time.sleep(going_over._LOOK_HOLDS)
        return found

    monkeypatch.setattr(going_over, "_LOOK_HOLDS", 0.02)
    monkeypatch.setattr(member.client, "committed", slow)
    member.run(idle=1.5)  # after a slow look the next one comes later
    assert len(looks) > 1
    assert (member.client.commits, member.handled) == ([], [])
