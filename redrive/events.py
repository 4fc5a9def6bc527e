"""An event as it travels: bytes with a key, headers and a time. What encodes and decodes is `redrive.schemas`."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, cast

import msgspec

if TYPE_CHECKING:
    from confluent_kafka import Message

    from redrive.columnar.records import Record

Headers = list[tuple[str, bytes | None]]

UNREADABLE: tuple[str, bytes | None] = ("redrive-unreadable-headers", None)
"""Stands alone in the place of headers that can't be read."""


# Not message.headers(): where Python has found that call to be frequent, it no longer looks whether it has failed, and
# goes on with a broken list that crashes the process.
_headers = methodcaller("headers")


def headers_of(message: Message | Record) -> Headers:
    """Give the headers of a record.

    Kafka takes any bytes as a header's name, and confluent-kafka gives none of a record's headers if one name is not
    UTF-8: then they are `UNREADABLE`, and the record is as good as any other for who does not need them.
    """
    try:
        return cast("Headers | None", _headers(message)) or []
    except SystemError:  # confluent-kafka 2.16: "returned a result with an exception set"
        # It keeps a broken list, which the next one to ask would get, and crash on.
        cast("Message", message).set_headers([UNREADABLE])
        return [UNREADABLE]


def are_unreadable(headers: Headers | None) -> bool:
    """Say whether headers stand for those of a record that can't be read."""
    return headers is not None and len(headers) == 1 and headers[0] == UNREADABLE


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
