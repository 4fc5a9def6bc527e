"""Reads one partition from a known place on, and waits at its end for more, until it is told where to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import Message

from redrive.columnar.records import Record
from redrive.errors import TopicCutError, UnavailableError
from redrive.pump.partition_reading import partition_reading
from redrive.pump.readback import PATIENCE, ClientConfig, end_offsets, reader, start_offsets

TICK = 0.2
"""Seconds after which an empty piece is yielded while nothing comes."""

ASKED_AGAIN = 0.1
"""Seconds after which a broker is asked again at a partition's end. What comes is heard of at once; markers of
transactions at the end, after so long."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read next.

    Attributes:
        messages: committed records, in order; may be empty.
        next: the offset to go on from.
        gone: offsets that were passed over because the topic no longer has them: its retention, or somebody, has
            deleted them before they were read.
    """

    messages: Sequence[Message | Record] = ()
    next: int = 0
    gone: int = 0


def follow(
    client_config: ClientConfig,
    topic: str,
    partition: int,
    first: int,
    until: Callable[[], int | None],
    *,
    back: bytes = b"",
) -> Iterator[Piece]:
    """Yield what is committed from ``first`` on, in order, and an empty piece now and then while nothing comes.

    Args:
        client_config: the cluster.
        topic: its topic.
        partition: its partition.
        first: the first offset.
        until: says, whenever asked, the offset to stop before; None: not known yet.
        back: see `redrive.pump.partition_reading.partition_reading`.

    Raises:
        UnknownTopicError: there is no such topic.
        TopicCutError: it ends before ``first``.
        UnavailableError: the partition can't be read: for `PATIENCE` seconds there was nothing more, though it has not
            come to where it is to stop.
    """
    consumer = reader(client_config, reset="error", wait=ASKED_AGAIN)
    reading = partition_reading(consumer, topic, partition, back)
    try:
        at = max(first, _low(client_config, topic, partition, first))
        if at > first:
            yield Piece(next=at, gone=at - first)
        reading.assign(at)
        deadline = time.monotonic() + PATIENCE
        while (end := until()) is None or at < end:
            before = at
            messages, at, lost = reading.read(at, end, TICK)
            if end is None or at > before or lost:
                deadline = time.monotonic() + PATIENCE
            elif time.monotonic() > deadline:
                reason = f"nothing came for {PATIENCE:.0f} s after offset {at}, and it goes on to {end}: its leader is "
                raise UnavailableError(
                    f"partition {partition} of {topic}", reason + "away, or somebody has left a transaction open"
                )
            if lost:
                low = _low(client_config, topic, partition, at)
                gone, at = max(0, low - at), max(at, low)
                reading.assign(at)
                yield Piece(messages, at, gone)
            else:
                yield Piece(messages, at)
    finally:
        reading.close()
        consumer.close()


def _low(client_config: ClientConfig, topic: str, partition: int, at: int) -> int:
    """Say what is the lowest offset that there is, and see that there is something to go on with at ``at``."""
    lows, ends = start_offsets(client_config, topic), end_offsets(client_config, topic)
    if partition >= len(lows):
        raise UnavailableError(f"topic {topic}", f"it has {len(lows)} partitions, and no partition {partition}")
    if ends[partition] < at:
        raise TopicCutError(topic, partition, ends[partition], at)
    return lows[partition]
