"""What a consumer makes of the records of the control topic, whichever of them it finds when it starts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from redrive import handover, intake
from redrive.aliases import Alias
from redrive.aliases.turning import following
from redrive.consumer import EventConsumer
from redrive.handover import Place
from redrive.received import ReceivedEvent
from tests.unit.scripted_kafka import ORDERS, Client, Kafka, Record, records

NEW: Place = ("orders.v2", 0)
FORTH = Alias("orders", "orders.v2", "orders.v2", 1, 1, "{}", places={0: (3, 7)})
TURNING = following(FORTH, msgspec.structs.replace(FORTH, current="orders", generation=2))
"""Producers are being taken back; where consumers go over is not known yet."""
BACK = msgspec.structs.replace(TURNING, places={0: (12, 9)})


class ControlTopic:
    """Stands for `redrive.aliases`: what it holds when a consumer starts, and what comes to it then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *held: Alias) -> None:
        self._held = {alias.name: alias for alias in held}
        self._coming: list[Record] = [self._record(alias) for alias in held]
        monkeypatch.setattr(handover, "partition_count", lambda *_, **__: 1)
        monkeypatch.setattr(handover, "read_aliases", lambda _: self._held)
        monkeypatch.setattr(handover, "reader", lambda _: self)

    @staticmethod
    def _record(alias: Alias) -> Record:
        return Record(("redrive.aliases", 0), 0, msgspec.json.encode(alias))

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
    """One that has both partitions; what it handles is noted."""

    def __init__(self, kafka: Kafka) -> None:
        self.handled: list[str] = []
        self.consumer = EventConsumer("billing", kafka.config, ["orders"], successors={"orders": "orders.v2"})
        self.client: Client = kafka.clients["one"]

    def run(self) -> None:
        self.consumer.run(self._handle, idle=0.3)

    def _handle(self, event: ReceivedEvent) -> None:
        self.handled.append(f"{event.topic}/{event.offset}")


@pytest.fixture
def kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kafka:
    monkeypatch.setattr(intake, "_HAND_OVER_EVERY", 0.01)
    return Kafka(tmp_path, monkeypatch)


def test_who_starts_while_producers_are_taken_back_does_not_handle_again_what_has_been_fed_back(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction may have left nothing of the record that has told the others to go over."""
    control = ControlTopic(monkeypatch, TURNING)
    member = Member(kafka)
    member.client.group |= {ORDERS: 3, NEW: 9}
    for place in (ORDERS, NEW):
        member.client.give(place)
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
    member = Member(kafka)
    member.client.group |= {ORDERS: 3, NEW: 9}
    for place in (ORDERS, NEW):
        member.client.give(place)
    member.client.send(*records(ORDERS, range(10)), *records(NEW, range(7, 12)))
    member.run()
    control.add(again)
    member.client.send(*records(NEW, range(12, 14)))
    member.run()
    assert member.handled == [f"orders.v2/{offset}" for offset in range(9, 14)]
