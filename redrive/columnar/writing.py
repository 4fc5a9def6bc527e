"""Produces columns."""

from __future__ import annotations

import numpy as np
from confluent_kafka import Producer

from redrive.columnar import loops
from redrive.columnar.events import EventColumns
from redrive.columnar.librdkafka import VU_SIZE, handle
from redrive.columnar.records import as_bytes


def produce(
    producer: Producer, events: EventColumns, first: int, *, operation: tuple[str, bytes], source: str
) -> tuple[int, int]:
    """Produce events from number ``first`` on.

    Args:
        producer: an open one.
        events: what to produce.
        first: the number of the first one.
        operation: a header that each gets, after its own.
        source: the name of another, whose value is the event's origin.

    Returns:
        how many of all are in the client's queue by now, and the code of the error that has kept the next one out; 0 if
        there was none.
    """
    name, value = operation
    own = as_bytes(name.encode()), as_bytes(value), as_bytes(source.encode())
    done, code = loops.produce(
        handle(producer), as_bytes(events.topic.encode() + b"\0"), events.partition, events.keys.plain,
        events.values.plain, events.headers.plain, events.offsets, events.timestamps, first, own, *events.origin_ends,
        np.zeros(7 * VU_SIZE, np.uint8),
    )  # fmt: skip
    return done, code
