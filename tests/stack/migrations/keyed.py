"""A compacted topic whose values are to be capitals, under a new schema; what is bad can't be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import Producer

from redrive.events import Event
from redrive.migrations.in_place.log import PartitionLog
from redrive.migrations.in_place.renewing import renew
from redrive.migrations.unit import Unit
from redrive.pump.model import Rejected, Transformed
from redrive.pump.readback import end_offsets
from redrive.wire import frame, schema_id_of
from tests.pumping import each
from tests.stack.migrations.lab import Lab

OLD, NEW = 1, 2


def value(number: object, schema: int = OLD) -> bytes:
    return frame(schema, str(number).encode())


def upgrade(event: Event) -> Transformed:
    """Make an old value a new one, that is capitals; what is bad can't be one."""
    if event.value is None or schema_id_of(event.value) == NEW:
        return event
    if b"bad" in event.value:
        return Rejected("it is bad")
    now = frame(NEW, event.value[5:].upper())
    return Event(event.id, event.topic, event.key, now, event.headers, event.timestamp, event.partition, event.origin)


def upgraded(before: bytes | None) -> bytes | None:
    return before if before is None or schema_id_of(before) == NEW else frame(NEW, before[5:].upper())


class Topic(Lab):
    """A compacted topic."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.client, lab.source, lab.source)

    def put(self, pairs: Iterable[tuple[str, bytes | None]], **config: Any) -> None:
        producer = Producer(self.client | config)
        for key, content in pairs:
            producer.produce(self.source, content, key.encode(), 0, headers=[("kind", b"test")])
        producer.flush()

    def renew(self, operation: str = "op-1", **options: Any) -> Any:
        end = end_offsets(self.client, self.source)[0]
        given = {"again": each(upgrade), "target": NEW, "operation": operation, "upto": end, "total": end} | options
        return renew(self.client, Unit("one", self.source, self.source, 0), each(upgrade), **given)

    def values(self, *, committed: bool = True) -> dict[str, bytes | None]:
        """What a reader takes for the keys' values."""
        found: dict[str, bytes | None] = {}
        for message in self.read(self.source) if committed else self.read_all():
            found[(message.key() or b"").decode()] = message.value()
        return found

    def read_all(self) -> list[Any]:
        log = PartitionLog(self.client, self.source, 0)
        found = [message for part in log.read(0, committed=False) for message in part.messages]
        log.close()
        return found
