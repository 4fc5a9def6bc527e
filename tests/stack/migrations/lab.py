"""Two topics, one of which is filled from the other; the migration makes capitals, and can't do so with ``bad``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from redrive.events import Event
from redrive.migrations.copying import UnitResult, copy
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, Compacts, Pair, parked_offsets, verify
from redrive.pump.model import Rejected, Transformed
from redrive.pump.readback import end_offsets, partition_count, scan
from tests.pumping import each

PARTITIONS = 2
MIGRATION = "capitals"


def capitals(event: Event) -> Transformed:
    if event.value == b"bad":
        return Rejected("it is bad")
    value = None if event.value is None else event.value.upper()
    return Event(event.id, event.topic, event.key, value, event.headers, event.timestamp, event.partition, event.origin)


def compare(pairs: Sequence[Pair]) -> list[str]:
    return ["" if (event.value and event.value.upper()) == after else "its value differs" for event, after in pairs]


@dataclass
class Lab:
    """A source with two partitions, and a target."""

    client: dict[str, Any]
    source: str
    target: str
    producers: list[Producer] = field(default_factory=list)

    @classmethod
    def make(cls, bootstrap: str, **config: str) -> Lab:
        name = f"moved.{uuid.uuid4().hex[:8]}"
        lab = cls({"bootstrap.servers": bootstrap}, name, f"{name}.v2")
        topics = [NewTopic(topic, PARTITIONS, 1, config=config) for topic in (lab.source, lab.target)]
        admin = AdminClient(lab.client)
        for created in admin.create_topics(topics).values():
            created.result()
        for topic in topics:
            partition_count(lab.client, topic.topic, settle=10)
        return lab

    def unit(self, partition: int = 0) -> Unit:
        return Unit("one", self.source, self.target, partition)

    def send(
        self, values: Iterable[str | None], partition: int = 0, *, transaction: bool | None = None, topic: str = ""
    ) -> None:
        """Produce values; with a transaction that is committed, or not."""
        config = self.client | ({"transactional.id": uuid.uuid4().hex} if transaction is not None else {})
        producer = Producer(config)
        if transaction is not None:
            producer.init_transactions(30)
            producer.begin_transaction()
        for number, value in enumerate(values):
            key = b"key-%d" % (number % 7)
            headers = [("ce_id", uuid.uuid4().hex.encode()), ("kind", b"test"), ("kind", None)]
            content = None if value is None else value.encode()
            producer.produce(topic or self.source, content, key, partition, headers=headers)
        producer.flush()
        if transaction is not None:
            producer.commit_transaction(30) if transaction else producer.abort_transaction(30)

    def copy(self, partition: int = 0, upto: int | None = None, **options: Any) -> UnitResult:
        """Copy a partition, to where it ends now if nothing else is said."""
        end = end_offsets(self.client, self.source)[partition] if upto is None else upto
        until: Callable[[], int | None] = options.pop("until", lambda: end)
        transform = each(options.pop("became", capitals))
        given = {"migration": MIGRATION, "operation": "op-1", "first": 0, "total": 0} | options
        return copy(self.client, self.unit(partition), transform, until=until, **given)

    def verify(self, result: UnitResult, **options: Any) -> Checked:
        unit = result.unit
        by = options.pop("migration", MIGRATION)
        parked = parked_offsets(self.client, "one", self.source, self.target, migration=by)
        given = {
            "parked": parked.get(unit.partition, frozenset()),
            "compare": compare,
            "compacts": Compacts(),
        } | options
        return verify(self.client, unit, result.next, **given)

    def make_anew(self, topic: str) -> None:
        admin = AdminClient(self.client)
        admin.delete_topics([topic])[topic].result()
        deadline = time.monotonic() + 120
        while topic in admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
        partition_count(self.client, topic, settle=10)

    def configure(self, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient(self.client)
        admin.incremental_alter_configs([resource])[resource].result()

    def delete_before(self, topic: str, offset: int) -> None:
        admin = AdminClient(self.client)
        [deleted] = admin.delete_records([TopicPartition(topic, 0, offset)]).values()
        deleted.result()

    def read(self, topic: str, partition: int = 0) -> list[Message]:
        end = end_offsets(self.client, topic)[partition]
        return [message for messages in scan(self.client, topic, end={partition: end}) for message in messages]

    def commit(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        consumer = Consumer(self.client | {"group.id": group})
        consumer.commit(
            offsets=[TopicPartition(topic, partition, offset) for partition, offset in offsets.items()],
            asynchronous=False,
        )
        consumer.close()
