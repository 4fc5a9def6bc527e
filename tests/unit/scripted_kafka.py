"""A Kafka client in memory that does what a test says at a point that no test can hit on a real one.

It stands for `confluent_kafka.Consumer` in the intake: what librdkafka and brokers do in truth is for tests/stack.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from redrive.config import Config
from redrive.consuming import intake
from redrive.consuming.taken import Place

ORDERS: Place = ("orders", 0)
OTHERS: Place = ("orders", 1)


@dataclass
class Record:
    """A message; a tombstone, which no registry is asked for, unless it has a value."""

    place: Place
    at: int
    data: bytes | None = None
    headers_: list[tuple[str, bytes | None]] = field(default_factory=list)
    time: int = 1
    problem: KafkaError | None = None

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.at

    def error(self) -> KafkaError | None:
        return self.problem

    def value(self) -> bytes | None:
        return self.data

    def key(self) -> bytes:
        return b"k"

    def headers(self) -> list[tuple[str, bytes | None]]:
        return self.headers_

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time


def records(place: Place, numbers: range, **more: Any) -> list[Record]:
    return [
        Record(
            place, number, headers_=[("ce_id", b"%d-%d" % (place[1], number)), ("ce_source", place[0].encode())], **more
        )
        for number in numbers
    ]


class Client:
    """One member, which has all partitions until a test takes some away.

    Attributes:
        logs: what there is.
        ends: where it ends, if not behind the last message.
        group: what the group has committed.
        script: what happens before the next message is given, or none, one entry for each time; in `consume`, too.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.logs: dict[Place, list[Record]] = {}
        self.group: dict[Place, int] = {}
        self.commits: list[dict[Place, int]] = []
        self.script: list[Callable[[], object]] = []
        self.answer: Callable[[TopicPartition], KafkaError | None] = lambda _: None
        self._at: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._heard: dict[str, Any] = {}
        self.ends: dict[Place, int] = {}
        self._told_end: dict[Place, tuple[int, int]] = {}
        self._seeks = 0
        self._answers: list[list[Answer]] = []

    def send(self, *sent: Record) -> None:
        for record in sent:
            self.logs.setdefault(record.place, []).append(record)
            self._at.setdefault(record.place, 0)
            self.ends[record.place] = record.at + 1

    def make_anew(self, place: Place, *sent: Record) -> None:
        """Delete a topic's partition and make it again; who reads it is told by the offsets only."""
        del self.logs[place]
        self.send(*sent)

    def take_away(self, place: Place) -> None:
        self._heard["on_revoke"](self, [TopicPartition(*place)])
        del self._at[place]

    def give(self, place: Place) -> None:
        if "on_assign" in self._heard:
            self._heard["on_assign"](self, [TopicPartition(*place)])
        at_first = self.ends.get(place, 0) if self.config["auto.offset.reset"] == "latest" else 0
        self._at[place] = self.group.get(place, at_first)

    def take_away_and_give_back(self, place: Place = ORDERS) -> None:
        self.take_away(place)
        self.give(place)

    def subscribe(self, topics: list[str], **heard: Any) -> None:
        self._heard = heard

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        pass

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in self._at]

    def poll(self, wait: float) -> Record | None:
        record = self._next()
        if record is None:
            time.sleep(min(wait, 0.01))
        return record

    def consume(self, limit: int, _: float) -> list[Record]:
        found: list[Record] = []
        while len(found) < limit and (record := self._next()) is not None:
            found.append(record)
        return found

    def _next(self) -> Record | None:
        while self._answers:
            self.config["on_commit"](None, self._answers.pop(0))
        if self.script:
            self.script.pop(0)()
        for place in [place for place in self._at if place not in self._paused]:
            at, log = self._at[place], self.logs.get(place, [])
            if log and at > self.ends[place]:  # out of range: auto.offset.reset
                at = log[0].at
            for record in log:
                if record.at >= at:
                    self._at[place] = record.at + 1
                    return record
            end = max(at, self.ends.get(place, 0))
            if self.config["enable.partition.eof"] and self._told_end.get(place) != (end, self._seeks):
                self._at[place], self._told_end[place] = end, (end, self._seeks)
                return Record(place, end, problem=KafkaError(KafkaError._PARTITION_EOF))
        return None

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._paused |= {(each.topic, each.partition) for each in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._paused -= {(each.topic, each.partition) for each in partitions}

    def seek(self, to: TopicPartition) -> None:
        if (to.topic, to.partition) not in self._at:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self._at[to.topic, to.partition] = max(to.offset, 0)
        self._seeks += 1

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(each.topic, each.partition, self.group.get((each.topic, each.partition), OFFSET_INVALID))
            for each in partitions
        ]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        self.commits.append({(each.topic, each.partition): each.offset for each in offsets})
        answers = [Answer(each.topic, each.partition, each.offset, self.answer(each)) for each in offsets]
        self.group |= {(each.topic, each.partition): each.offset for each in answers if each.error is None}
        if asynchronous:
            self._answers.append(answers)
            return None
        if all(each.error for each in answers):
            raise KafkaException(answers[0].error)
        return answers  # type: ignore[return-value]

    def close(self) -> None:
        for place in list(self._at):
            self.take_away(place)


@dataclass
class Answer:
    topic: str
    partition: int
    offset: int
    error: KafkaError | None


class Kafka:
    """The clusters ``one``, with the topic ``orders``, and ``two``, with ``refunds``; nobody takes dead letters."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients: dict[str, Client] = {}

        def connect(config: Mapping[str, Any], **_: Any) -> Client:
            name = {"127.0.0.1:1": "one", "127.0.0.1:2": "two"}[config["bootstrap.servers"]]
            client = self.clients[name] = Client(config)
            return client

        monkeypatch.setattr(intake, "Consumer", connect)
        (folder / "redrive.toml").write_text("""\
[registry]
url = "http://127.0.0.1:1"
[clusters.one]
bootstrap = "127.0.0.1:1"
[clusters.two]
bootstrap = "127.0.0.1:2"
[domains.sales]
cluster = "one"
[domains.returns]
cluster = "two"
[topics.orders]
domain = "sales"
[topics."orders.v2"]
domain = "sales"
[topics.refunds]
domain = "returns"
[topics."dlq.billing"]
domain = "sales"
""")
        self._file = folder / "redrive.toml"
        self.config = Config.load(self._file)

    def add(self, settings: str) -> None:
        """Add to the settings."""
        self._file.write_text(self._file.read_text() + settings)
        self.config = Config.load(self._file)
