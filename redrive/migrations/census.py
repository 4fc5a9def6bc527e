"""Counting a topic's events by the schema that they are written with, without decoding any.

Only what is committed counts, up to where the topic ended when the census began. In full, or by samples: so many
ranges of each partition, spread evenly over its offsets, so that what was written long ago is seen as well. If asked,
also by writer: the source that an event's envelope names.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from redrive import envelope
from redrive.errors import UnavailableError
from redrive.events import headers_of
from redrive.pump.readback import (
    ClientConfig,
    end_offsets,
    offset_reader,
    raise_if_hopeless,
    start_offsets,
)
from redrive.wire import HEADER_SIZE, MAGIC

RANGE = 1_000
"""Offsets in each range of a sample."""

_BATCH = 10_000
_TAIL_WAIT = 0.05  # consume() waits this long for a batch that stays part-filled
_MOST_IDS = 10_000  # bytes that are no frames can look like any number of ids


@dataclass(frozen=True, slots=True)
class Count:
    """How many events there are of each kind.

    Attributes:
        ids: schema id → events.
        unframed: events whose bytes are no frame, or that have one id too many among more than 10,000.
        tombstones: events without a value.
    """

    ids: Mapping[int, int] = field(default_factory=dict)
    unframed: int = 0
    tombstones: int = 0

    @property
    def events(self) -> int:
        """All events."""
        return sum(self.ids.values()) + self.unframed + self.tombstones


@dataclass(frozen=True, slots=True)
class PartitionCount:
    """What a census found in a partition.

    Attributes:
        partition: its number.
        start: the first offset that there was.
        end: the offset before which the census stopped.
        count: what was seen.
    """

    partition: int
    start: int
    end: int
    count: Count


@dataclass(frozen=True, slots=True)
class Written:
    """What one writer has written with one schema.

    Attributes:
        writer: the source that the envelope names; None: it names none, or there are more than 10,000 pairs.
        schema_id: the schema.
        events: how many.
        newest: the latest of their timestamps, milliseconds since 1970.
    """

    writer: str | None
    schema_id: int
    events: int
    newest: int


@dataclass(frozen=True, slots=True)
class Census:
    """A topic's events by schema.

    Attributes:
        topic: its name.
        sampled: whether only samples were looked at.
        partitions: each partition, in order.
        seconds: how long it took.
        written: by writer, too, if that was asked for; who wrote last comes first.
    """

    topic: str
    sampled: bool
    partitions: tuple[PartitionCount, ...]
    seconds: float
    written: tuple[Written, ...] = ()

    @property
    def total(self) -> Count:
        """All partitions together."""
        ids: Counter[int] = Counter()
        for one in self.partitions:
            ids.update(one.count.ids)
        return Count(
            dict(sorted(ids.items())),
            sum(one.count.unframed for one in self.partitions),
            sum(one.count.tombstones for one in self.partitions),
        )


def take_census(
    client_config: ClientConfig,
    topic: str,
    *,
    sample: int | None = None,
    writers: bool = False,
    patience: float = 60.0,
) -> Census:
    """Count a topic's events by schema.

    Args:
        client_config: the cluster.
        topic: its name.
        sample: look only at so many ranges of `RANGE` offsets in each partition; None: at everything.
        writers: count by writer, too.
        patience: seconds to wait without getting on, as behind a transaction that somebody left open.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer, or a transaction of somebody holds the end back for too long.
    """
    began = time.monotonic()
    bounds = list(zip(start_offsets(client_config, topic), end_offsets(client_config, topic), strict=True))
    ranges = [spread(start, end, sample) for start, end in bounds]
    tally, by_writer = _Tally(len(bounds)), _ByWriter()
    consumer = offset_reader(client_config, committed=True)
    try:
        for at in range(max(map(len, ranges), default=0)):
            wanted = {partition: several[at] for partition, several in enumerate(ranges) if at < len(several)}
            for messages in _read(consumer, topic, wanted, patience):
                tally.add([(cast(int, message.partition()), _head(message)) for message in messages])
                if writers:
                    by_writer.add(messages)
    finally:
        consumer.close()
    counted = (
        PartitionCount(partition, start, end, tally.count(partition)) for partition, (start, end) in enumerate(bounds)
    )
    sampled = any(several != spread(*bound, None) for several, bound in zip(ranges, bounds, strict=True))
    return Census(topic, sampled, tuple(counted), time.monotonic() - began, by_writer.written())


def spread(start: int, end: int, sample: int | None) -> list[tuple[int, int]]:
    """Return the ranges of offsets to look at between two; all in one if the sample would be all of it."""
    if start >= end:
        return []
    if sample is None or end - start <= sample * RANGE:
        return [(start, end)]
    if sample == 1:
        return [(end - RANGE, end)]
    # The first and the last offsets are always among them.
    steps = [start + (end - RANGE - start) * at // (sample - 1) for at in range(sample)]
    return [(step, step + RANGE) for step in steps]


class _Tally:
    def __init__(self, partitions: int) -> None:
        self._ids: list[Counter[int]] = [Counter() for _ in range(partitions)]
        self._unframed = [0] * partitions
        self._tombstones = [0] * partitions

    def add(self, heads: Sequence[tuple[int, bytes | None]]) -> None:
        """Count events, given as partition and beginning of the value."""
        for (partition, head), events in Counter(heads).items():
            ids = self._ids[partition]
            if head is None:
                self._tombstones[partition] += events
            elif not _framed(head):
                self._unframed[partition] += events
            else:
                schema_id = int.from_bytes(head[1:], "big")
                if schema_id in ids or len(ids) < _MOST_IDS:
                    ids[schema_id] += events
                else:
                    self._unframed[partition] += events

    def count(self, partition: int) -> Count:
        ids = dict(sorted(self._ids[partition].items()))
        return Count(ids, self._unframed[partition], self._tombstones[partition])


class _ByWriter:
    def __init__(self) -> None:
        self._events: Counter[tuple[str | None, int]] = Counter()
        self._newest: dict[tuple[str | None, int], int] = {}

    def add(self, messages: Sequence[Message]) -> None:
        for message in messages:
            head = _head(message)
            if head is None or not _framed(head):
                continue
            who = (envelope.source(headers_of(message)), int.from_bytes(head[1:], "big"))
            if who not in self._events and len(self._events) >= _MOST_IDS:
                who = (None, who[1])
            self._events[who] += 1
            self._newest[who] = max(self._newest.get(who, 0), message.timestamp()[1])

    def written(self) -> tuple[Written, ...]:
        rows = [Written(*who, events, self._newest[who]) for who, events in self._events.items()]
        return tuple(sorted(rows, key=lambda row: (-row.newest, row.writer or "", row.schema_id)))


def _head(message: Message) -> bytes | None:
    value = message.value()
    return None if value is None else value[:HEADER_SIZE]


def _framed(head: bytes) -> bool:
    return len(head) >= HEADER_SIZE and head[0] == MAGIC


def _read(
    consumer: Consumer, topic: str, ranges: Mapping[int, tuple[int, int]], patience: float
) -> Iterator[list[Message]]:
    """Yield all committed events in the ranges, in batches."""
    assigned = [TopicPartition(topic, partition, start) for partition, (start, _) in ranges.items()]
    consumer.assign(assigned)
    consumer.resume(assigned)  # those that an earlier round is done with
    todo = {partition: end for partition, (_, end) in ranges.items()}
    deadline = time.monotonic() + patience
    while todo:
        messages = consumer.consume(_BATCH, _TAIL_WAIT)
        events, last = _within(messages, todo, topic)
        done = [partition for partition, offset in last.items() if offset >= todo.get(partition, 0)]
        for partition in done:
            todo.pop(partition, None)
        if done and todo:
            consumer.pause([TopicPartition(topic, partition) for partition in done])
        if events:
            yield events
        if events or done:
            deadline = time.monotonic() + patience  # the time the caller took is not the cluster's
        elif time.monotonic() > deadline:
            partition, end = next(iter(todo.items()))
            raise UnavailableError(
                f"partition {partition} of {topic}",
                f"nothing more could be read for {patience:.0f} s, short of its end at offset {end}: its leader is "
                "away, or somebody has left a transaction open",
            )


def _within(messages: Sequence[Message], todo: Mapping[int, int], topic: str) -> tuple[list[Message], dict[int, int]]:
    """Return the events in range, and how far each partition has come: the offset after the last message."""
    events: list[Message] = []
    last: dict[int, int] = {}
    for message in messages:
        error = message.error()
        partition, offset = cast(int, message.partition()), cast(int, message.offset())
        if error is None:
            if offset < todo.get(partition, 0):
                events.append(message)
            last[partition] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            last[partition] = offset
        else:
            raise_if_hopeless(error, topic)
    return events, last
