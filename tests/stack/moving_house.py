"""A platform whose orders are to move to a second version of their schema, in a topic of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Consumer, TopicPartition
from prefect.client.orchestration import get_client

from deployments.follow import artifacts_of
from deployments.local.stack import Stack
from redrive.config import Config
from redrive.ledger import Ledger, OperationRow
from tests.stack.platform import Platform, wait_until

ORDER_V2: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "number", "type": "long", "aliases": ["id"]},
        {"name": "note", "type": "string"},
        {"name": "urgent", "type": "boolean", "default": False},
    ],
}

RULES = """\
topic: {topic}
up:
  match: first
  rules:
    - name: urgent ones
      match: {{when: "value.note != null && value.note.startsWith('!')"}}
      do:
        - {{op: rename, path: /id, to: number}}
        - {{op: add, path: /urgent, value: true}}
    - name: notes that are there
      match: {{when: "value.note != null"}}
      do:
        - {{op: rename, path: /id, to: number}}
down:
  match: first
  rules:
    - name: all
      match: {{}}
      do:
        - {{op: rename, path: /number, to: id}}
"""
"""Orders without a note are for no rule, and Avro can't resolve null to a string: they can't be migrated."""


class MovingHouse(Platform):
    """A platform whose orders move from `orders` to `target`."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, folder, monkeypatch)
        self.target = f"{self.orders}.v2"
        (folder / "order_v2.avsc").write_text(json.dumps(ORDER_V2))
        (folder / "rules.yaml").write_text(RULES.format(topic=self.orders))
        self._base = self.file.read_text().partition("[ledger]")[0]
        self.settings()

    def settings(self, approval: str = "none", processes: int = 0) -> None:
        self.file.write_text(f"""{self._base}
[topics."{self.target}"]
domain = "sales"
schema = "order_v2.avsc"
[ledger]
url = "sqlite:///ledger.db"
[backfills]
approval = "{approval}"
[jobs]
processes = {processes}
""")
        self.config = Config.load(self.file)

    def publish(self, notes: Iterable[str | None], partition: int = 0, first: int = 0) -> None:
        values = [self.writer.encode({"id": number, "note": note}) for number, note in enumerate(notes, first)]
        self.send(self.orders, values, partition, headers=[("ce_id", b"an id")])

    def publish_new(self, notes: Iterable[str], partition: int = 0, first: int = 0) -> None:
        """Publish to the target, as a producer does that has been changed."""
        writer = self.registry.writer(self.target)
        values = [writer.encode({"number": number, "note": note}) for number, note in enumerate(notes, first)]
        self.send(self.target, values, partition)

    def moved(self, partition: int | None = None) -> list[Any]:
        """What consumers find in the target."""
        reader = self.registry.reader(self.target)
        return [
            reader.decode(message.value() or b"")
            for message in self.read(self.target)
            if partition is None or message.partition() == partition
        ]

    def consume(self, topic: str, count: int) -> list[bytes]:
        """Consume so many events as the group does, commit, and leave."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": self.group, "auto.offset.reset": "earliest"}
        consumer = Consumer(settings | {"enable.auto.commit": False})
        consumer.subscribe([topic])
        values: list[bytes] = []
        while len(values) < count:
            for message in consumer.consume(count - len(values), 1.0):
                assert message.error() is None, message.error()
                values.append(message.value() or b"")
        consumer.commit(asynchronous=False)
        consumer.close()
        return values

    @contextmanager
    def consuming(self, topic: str) -> Iterator[None]:
        """Keep a member of the group at the topic."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": self.group, "auto.offset.reset": "earliest"}
        consumer = Consumer(settings)
        consumer.subscribe([topic])
        done = threading.Event()

        def consume() -> None:
            while not done.is_set():
                consumer.poll(0.1)

        thread = threading.Thread(target=consume)
        thread.start()
        try:
            wait_until(lambda: self.place(topic))
            yield
        finally:
            done.set()
            thread.join()
            consumer.close()

    def place(self, topic: str) -> dict[int, int]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        places = consumer.committed([TopicPartition(topic, partition) for partition in range(2)], timeout=10)
        consumer.close()
        return {each.partition: each.offset for each in places if each.offset >= 0}

    def exists(self, topic: str) -> bool:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "look"})
        topics = consumer.list_topics(timeout=10).topics
        consumer.close()
        return topic in topics

    def operation(self) -> OperationRow:
        with Ledger.open(self.config.ledger_url()) as ledger:
            return ledger.operations()[0]

    def shown(self, key: str) -> str:
        """The plan or the report of the latest run."""
        with get_client(sync_client=True) as client:
            return str(artifacts_of(client, UUID(self.operation().id))[key].data)
