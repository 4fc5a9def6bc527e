"""An event as a consumer's handler gets it."""

from __future__ import annotations

from typing import Any

import msgspec

from redrive import envelope
from redrive.consuming.taken import Taken
from redrive.events import Headers, headers_of


class ReceivedEvent(msgspec.Struct, gc=False):
    """One event, decoded.

    Attributes:
        id: the ``ce_id``; ``topic/partition/offset`` for an event without one.
        topic: where it was read.
        partition: likewise.
        offset: likewise.
        key: as bytes, or None.
        value: as the schema says; None is a tombstone.
        headers: in order, names may repeat.
        timestamp: Kafka's, in milliseconds since 1970.
        source: who made it, by the ``ce_source`` header; with the id, it tells duplicates.
        cluster: the name of the cluster it was read from.
    """

    id: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: Any
    headers: Headers
    timestamp: int
    source: str
    cluster: str


def received(taken: Taken, value: Any) -> ReceivedEvent:
    """Make an event of a message in hand and its decoded value."""
    (topic, partition), offset, message = taken.place, taken.offset, taken.message
    headers = headers_of(message)
    event_id, source = envelope.event_id(headers), ""
    if event_id is None:
        event_id = f"{topic}/{partition}/{offset}"
    else:
        for name, text in headers:
            if name == "ce_source" and text:
                source = text.decode(errors="replace")
                break
    known, milliseconds = message.timestamp()
    timestamp = milliseconds if known else 0
    return ReceivedEvent(
        event_id, topic, partition, offset, message.key(), value, headers, timestamp, source, taken.intake.cluster
    )
