"""Reads one partition from a known place on, and waits at its end for more, until it is told where to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from redrive.errors import TopicCutError, UnavailableError
from redrive.pump.readback import ClientConfig, end_offsets, raise_if_hopeless, reader, start_offsets

TICK = 0.2
"""Seconds after which an empty piece is yielded while nothing comes."""

ASKED_AGAIN = 0.1
"""Seconds after which a broker is asked again at a partition's end. What comes is heard of at once; markers of
transactions at the end, after so long."""

PATIENCE = 60.0
"""Seconds to wait for what should be there."""

_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read next.

    Attributes:
        messages: committed records, in order; may be empty.
        next: the offset to go on from.
        gone: offsets that were passed over because the topic no longer has them: its retention, or somebody, has
            deleted them before they were read.
    """

    messages: list[Message] = field(default_factory=list)
    next: int = 0
    gone: int = 0


def follow(
    client_config: ClientConfig, topic: str, partition: int, first: int, until: Callable[[], int | None]
) -> Iterator[Piece]:
    """Yield what is committed from ``first`` on, in order, and an empty piece now and then while nothing comes.

    Args:
        client_config: the cluster.
        topic: its topic.
        partition: its partition.
        first: the first offset.
        until: says, whenever asked, the offset to stop before; None: not known yet.

    Raises:
        UnknownTopicError: there is no such topic.
        TopicCutError: it ends before ``first``.
        UnavailableError: the partition can't be read: for `PATIENCE` seconds there was nothing more, though it has not
            come to where it is to stop.
    """
    consumer = reader(client_config, reset="error", wait=ASKED_AGAIN)
    try:
        at = max(first, _low(client_config, topic, partition, first))
        if at > first:
            yield Piece(next=at, gone=at - first)
        consumer.assign([TopicPartition(topic, partition, at)])
        deadline = time.monotonic() + PATIENCE
        while (end := until()) is None or at < end:
            before = at
            messages, at, lost = _read(consumer, topic, at, end)
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
                consumer.assign([TopicPartition(topic, partition, at)])
                yield Piece(messages, at, gone)
            else:
                yield Piece(messages, at)
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str, at: int, end: int | None) -> tuple[list[Message], int, bool]:
    """Read some records before ``end``; also says where it stands then, and whether its place in the topic is gone."""
    found: list[Message] = []
    for message in consumer.consume(_BATCH, TICK):
        offset = cast(int, message.offset())
        error = message.error()
        if error is None:
            if end is not None and offset >= end:
                return found, end, False
            found.append(message)
            at = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            at = max(at, offset)
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            return found, at, True
        else:
            raise_if_hopeless(error, topic)
    return found, at, False


def _low(client_config: ClientConfig, topic: str, partition: int, at: int) -> int:
    """Say what is the lowest offset that there is, and see that there is something to go on with at ``at``."""
    lows, ends = start_offsets(client_config, topic), end_offsets(client_config, topic)
    if partition >= len(lows):
        raise UnavailableError(f"topic {topic}", f"it has {len(lows)} partitions, and no partition {partition}")
    if ends[partition] < at:
        raise TopicCutError(topic, partition, ends[partition], at)
    return lows[partition]
