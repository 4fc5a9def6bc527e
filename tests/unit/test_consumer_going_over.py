"""A consumer on its way to another topic, at the moments that no test can hit on a real cluster."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from redrive.aliases import Alias
from redrive.consumer import ConsumerSettings, EventConsumer
from redrive.consuming import going_over, handover, intake
from redrive.consuming.taken import Place
from redrive.errors import UnavailableError
from redrive.received import ReceivedEvent
from tests.unit.scripted_kafka import ORDERS, Kafka, records

NEW: Place = ("orders.v2", 0)
FORTH = Alias("orders", "orders.v2", "orders.v2", 1, 1, "{}", places={0: (3, 7)})
BACK = Alias("orders", "orders.v2", "orders", 2, 1, "{}", places={0: (9, 5)})


class Member:
    """One that hears of aliases what a test says, and owns both partitions."""

    def __init__(self, kafka: Kafka, monkeypatch: pytest.MonkeyPatch, *, reset: str = "earliest") -> None:
        self.told: list[Alias] = []
        self.is_ready = True
        self.being_left: set[str] = set()
        self.handled: list[str] = []
        monkeypatch.setattr(intake, "AliasWatch", lambda *_: self)
        monkeypatch.setattr(going_over, "_HAND_OVER_EVERY", 0.01)
        monkeypatch.setattr(handover, "_SURE_AFTER", 0.0)
        settings = ConsumerSettings(pause=0.05, longest_pause=0.05, client={"auto.offset.reset": reset})
        successors = {"orders": "orders.v2"}
        self.consumer = EventConsumer("billing", kafka.config, ["orders"], settings=settings, successors=successors)
        self.client = kafka.clients["one"]
        for place in (ORDERS, NEW):
            self.client.give(place)

    def news(self) -> list[Alias]:
        return [self.told.pop()] if self.told else []

    def close(self) -> None:
        pass

    def handle(self, event: ReceivedEvent) -> None:
        self.handled.append(f"{event.topic}/{event.offset}")

    def run(self, *, until: int | None = None) -> None:
        """Handle what comes; with ``until``, so many events, however long that takes."""

        def handle(event: ReceivedEvent) -> None:
            self.handle(event)
            if len(self.handled) == until:
                self.consumer.stop()

        self.consumer.run(handle, idle=0.3 if until is None else 120)


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    return Member(Kafka(tmp_path, monkeypatch), monkeypatch)


def test_the_group_has_the_place_in_the_new_topic_before_its_first_event_is_handled(member: Member) -> None:
    member.client.send(*records(ORDERS, range(5)), *records(NEW, range(4, 9)))
    known: list[int | None] = []
    member.handle = lambda event: known.append(member.client.group.get(NEW)) if event.topic == NEW[0] else None  # type: ignore[method-assign]
    member.told = [FORTH]
    member.run()
    assert known == [7, 7]
    assert member.client.group == {ORDERS: 3, NEW: 9}


def test_who_hears_of_the_way_back_before_its_first_event_of_the_new_topic_goes_all_the_way(member: Member) -> None:
    """As all others do by then: the group has a place there."""
    member.client.send(*records(ORDERS, range(7)), *records(NEW, range(4, 9)))
    member.client.group[ORDERS] = 3
    member.told = [FORTH]
    member.consumer._intakes.fetch(1, 0)
    assert (member.client.group, member.handled) == ({ORDERS: 3, NEW: 7}, [])
    member.told = [BACK]
    member.run()
    assert member.handled == ["orders.v2/7", "orders.v2/8", "orders/5", "orders/6"]


@pytest.mark.parametrize("behind", [0, 2])
def test_the_old_topic_ends_though_its_last_event_was_deleted_while_it_was_put_back(
    member: Member, behind: int
) -> None:
    member.client.send(*records(ORDERS, range(3 + behind)), *records(NEW, range(4, 9)))
    member.told = [FORTH]

    def handle(event: ReceivedEvent) -> None:
        if (event.topic, event.offset) == ("orders", 2):
            member.client.logs[ORDERS] = [each for each in member.client.logs[ORDERS] if each.at != 2]
            raise UnavailableError("the warehouse", "closed")
        Member.handle(member, event)

    member.handle = handle  # type: ignore[method-assign]
    member.run()
    assert member.handled == ["orders/0", "orders/1", "orders.v2/7", "orders.v2/8"]
    assert member.client.group == {ORDERS: 3, NEW: 9}


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_a_group_that_is_nowhere_yet_when_others_go_back_begins_by_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reset: str
) -> None:
    member = Member(Kafka(tmp_path, monkeypatch), monkeypatch, reset=reset)
    member.client.send(*records(ORDERS, range(3)))
    member.client.give(ORDERS)
    member.client.send(*records(ORDERS, range(3, 5)))  # published since it has come
    member.told = [BACK]
    expected = [f"orders/{number}" for number in range(0 if reset == "earliest" else 3, 5)]
    member.run(until=len(expected))
    assert member.handled == expected


def test_an_event_put_back_is_handled_though_its_partition_has_to_wait_in_between(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has been committed by then that would say where the group is."""
    member.client.send(*records(ORDERS, range(4)))
    committed, told_from = member.client.committed, [0.0]

    def told_late(partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if time.monotonic() < told_from[0]:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return committed(partitions, timeout)

    monkeypatch.setattr(member.client, "committed", told_late)

    def handle(event: ReceivedEvent) -> None:
        if event.offset == 0 and not member.handled:
            member.handled.append("put back")
            member.told = [BACK]
            told_from[0] = time.monotonic() + 0.2  # longer than it is put back for
            raise UnavailableError("the warehouse", "closed")
        Member.handle(member, event)

    member.handle = handle  # type: ignore[method-assign]
    member.run(until=5)
    assert member.handled == ["put back", *(f"orders/{number}" for number in range(4))]
