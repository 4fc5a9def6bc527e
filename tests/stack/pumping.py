"""What the pump's tests on a real cluster share: topics of their own, a plain reader, and a pump as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from redrive.events import Event
from redrive.pump.pump import Pump
from redrive.pump.readback import end_offsets, partition_count
from redrive.pump.sink import TransactionalSink
from tests.pumping import ListSource, make_events

OPERATION = "op-1"


@dataclass
class Lab:
    """A topic, a parking topic and a unit that no other test uses."""

    client: dict[str, Any]
    topic: str
    parking: str
    unit: str
    checkpoints: str
    sinks: list[TransactionalSink] = field(default_factory=list)

    @classmethod
    def make(cls, bootstrap: str, checkpoints: str, **config: str) -> Lab:
        name = f"pump.{uuid.uuid4().hex[:10]}"
        lab = cls({"bootstrap.servers": bootstrap}, name, f"{name}.parked", f"test/{name}", checkpoints)
        # The events' times lie in 1970: with a retention, brokers would soon delete them.
        settings = {"min.insync.replicas": "2", "retention.ms": "-1", **config}
        topics = [
            NewTopic(lab.topic, 3, 3, config=settings),
            NewTopic(lab.parking, 1, 3, config={"max.message.bytes": "20000000", "retention.ms": "-1"}),
        ]
        admin = AdminClient(lab.client)
        for created in admin.create_topics(topics).values():
            created.result()
        for topic in topics:
            partition_count(lab.client, topic.topic, settle=10)
        return lab

    def events(self, count: int, **options: Any) -> list[Event]:
        return make_events(count, topic=self.topic, unit=self.unit, **options)

    def sink(self, **options: Any) -> TransactionalSink:
        options = {"operation": OPERATION, "checkpoints": self.checkpoints, **options}
        sink = TransactionalSink(self.client, self.unit, **options)
        self.sinks.append(sink)
        return sink

    def pump(self, events: list[Event], sink: TransactionalSink, piece: int = 100, **options: Any) -> Pump:
        options = {"operation": OPERATION, "parking_topic": self.parking, "positions": sink.positions, **options}
        return Pump(ListSource(events, piece), sink, **options)

    def process(self, count: int, *, rate: int = 0, timeout: float = 30.0) -> subprocess.Popen[str]:
        """Start a pump of ``events(count)`` as a process of its own; it says ``started`` and ``done``."""
        arguments = [self.client["bootstrap.servers"], self.topic, self.parking, self.unit, self.checkpoints]
        command = [sys.executable, "-m", "tests.stack.pump_process", *arguments, str(count), str(rate), str(timeout)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def read(self, topic: str = "", isolation: str = "read_committed") -> dict[int, list[Record]]:
        """Read a topic from beginning to end with a plain consumer: partition → records."""
        topic = topic or self.topic
        consumer = Consumer(
            {
                **self.client,
                "group.id": "test",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": isolation,
            }
        )
        partitions = list(consumer.list_topics(topic).topics[topic].partitions)
        ends = end_offsets(self.client, topic)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        records: dict[int, list[Record]] = defaultdict(list)
        ended: set[int] = set()
        while len(ended) < len(partitions):
            message = consumer.poll(30)
            assert message is not None, f"{topic} can't be read to its end"
            if message.error():
                # Right after a commit its markers may not yet be everywhere, and the end not yet readable.
                if message.offset() >= ends[message.partition()]:
                    ended.add(message.partition())
            else:
                headers = dict(message.headers() or [])
                records[message.partition()].append(
                    Record(message.key(), message.value(), headers, message.timestamp()[1], message.offset())
                )
        consumer.close()
        return records


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes | None]
    timestamp: int
    offset: int


def assert_exactly_once_in_order(records: dict[int, list[Record]], events: list[Event]) -> None:
    """Check that each event is there once, in order for its key, with its bytes, time and headers."""
    by_key: dict[bytes | None, list[Record]] = defaultdict(list)
    for partition in records.values():
        for record in partition:
            by_key[record.key].append(record)
    expected: dict[bytes | None, list[Event]] = defaultdict(list)
    for event in events:
        expected[event.key].append(event)
    found = Counter(record.headers["ce_id"] for partition in records.values() for record in partition)
    wanted = Counter(event.id.encode() for event in events)
    assert (list((wanted - found).items())[:5], list((found - wanted).items())[:5]) == ([], []), "lost and doubled"
    assert {k: len(v) for k, v in by_key.items()} == {k: len(v) for k, v in expected.items()}
    for key, mine in expected.items():
        assert [(r.value, r.timestamp) for r in by_key[key]] == [(e.value, e.timestamp) for e in mine]
        for record, event in zip(by_key[key], mine, strict=True):
            assert record.headers == {
                **dict(event.headers),
                "redrive-operation": OPERATION.encode(),
                "redrive-source": event.origin.encode(),
            }


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as kill -9 does, and wait for its end."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
