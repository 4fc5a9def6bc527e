"""An event as it travels: bytes with a key, headers and a time. What encodes and decodes is `redrive.schemas`."""

from __future__ import annotations

import msgspec

Headers = list[tuple[str, bytes | None]]


class Event(msgspec.Struct, array_like=True, gc=False):
    """One encoded event, ready for Kafka or the standby store.

    Attributes:
        id: unique for ever; the ``ce_id`` header repeats it, so that consumers can drop duplicates.
        topic: the topic it is for.
        key: what order is kept by; None for events without order.
        value: the framed Avro body; None is a tombstone.
        headers: in order, names may repeat.
        timestamp: milliseconds since 1970 at which the producer accepted it; Kafka's message timestamp.
        partition: a fixed partition, or None for murmur2 of the key.
        origin: where a job read it from, such as ``standby/orders/3/1/producer-a/17/4``; empty in producers.
    """

    id: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int
    partition: int | None = None
    origin: str = ""


def with_value(event: Event, value: bytes | None) -> Event:
    """Return an event that differs from ``event`` in its value only."""
    return Event(event.id, event.topic, event.key, value, event.headers, event.timestamp, event.partition, event.origin)
