"""Reads what a consumer is given of one partition: by columns where that can be done, else by messages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from redrive.columnar.librdkafka import distrust, usable
from redrive.columnar.records import Record
from redrive.errors import UnavailableError
from redrive.events import headers_of
from redrive.pump.names import SOURCE_HEADER
from redrive.pump.readback import (
    PATIENCE,
    TAIL_WAIT,
    ClientConfig,
    lowest_offsets,
    nothing_came,
    raise_if_hopeless,
    reader,
    scan,
)

if TYPE_CHECKING:
    from redrive.columnar.reading import PartitionQueue
    from redrive.columnar.records import Records

BATCH = 2_000
_LOOK, _FURTHER = 500, 10  # so many records are looked at, and again after ten times as many

_LOST = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class PartitionReading(Protocol):
    """Reads one partition, which its consumer is assigned."""

    def assign(self, at: int) -> None:
        """Have the consumer read from an offset on."""
        ...

    def read(self, at: int, end: int | None, wait: float) -> tuple[Sequence[Message | Record], int, bool]:
        """Read some records from ``at`` on, before ``end``, waiting so many seconds for more of them.

        Returns:
            the records, where it stands then, and whether its place in the topic is gone.

        Raises:
            UnknownTopicError: there is no such topic.
            UnavailableError: it can't be read.
        """
        ...

    def close(self) -> None:
        """Has to be called before the consumer is closed."""
        ...


def partition_reading(consumer: Consumer, topic: str, partition: int, back: bytes) -> PartitionReading:
    """Make what reads a partition, once it is assigned.

    Args:
        consumer: made by `redrive.pump.readback.reader`.
        topic: the partition's.
        partition: its number.
        back: how the origins begin of what another job has brought there. Records with such a one are special
            (`Records.special`).
    """
    return _ByColumns(consumer, topic, partition, back) if usable() else _ByMessages(consumer, topic, partition)


def scan_partition(
    client_config: ClientConfig,
    topic: str,
    partition: int,
    first: int,
    end: int,
    *,
    back: bytes = b"",
    columns: bool = True,
) -> Iterator[Sequence[Message | Record]]:
    """Yield the committed records of a partition in batches, from one offset to another, as `scan` does.

    What compiled loops read is looked at: of batches ever further apart, records are read as messages as well. Whoever
    compares topics that were copied by the same loops would not see what these can't read.

    Args:
        client_config: the cluster.
        topic: what to read.
        partition: of it.
        first: the first offset.
        end: the one to stop before.
        back: see `partition_reading`.
        columns: whether batches may be columns.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer, or a transaction of somebody holds the end back for too long.
    """
    if not columns or not usable():
        yield from scan(client_config, topic, {partition: first}, end={partition: end})
        return
    at = max(first, lowest_offsets(client_config, topic, partition)[partition])
    if at >= end:
        return
    consumer = reader(client_config)
    reading = partition_reading(consumer, topic, partition, back)
    count, next_look = 0, 1
    try:
        reading.assign(at)
        deadline = time.monotonic() + PATIENCE
        while at < end:
            before = at
            records, at, _ = reading.read(at, end, TAIL_WAIT)
            count += len(records)
            if records and count >= next_look:
                next_look = _FURTHER * count
                if not _as_messages(client_config, topic, partition, records[:_LOOK]):
                    distrust(f"what they read of {topic}/{partition} from offset {before} on is not what is there")
                    yield from scan(client_config, topic, {partition: before}, end={partition: end})
                    return
            if records:
                yield records
            if at > before:
                deadline = time.monotonic() + PATIENCE  # the time the caller took is not the cluster's
            elif time.monotonic() > deadline:
                raise nothing_came(topic, partition, end)
    finally:
        reading.close()
        consumer.close()


def _as_messages(client_config: ClientConfig, topic: str, partition: int, records: Sequence[Message | Record]) -> bool:
    """Say whether records that were read are those that are there, but for what is deleted by now."""
    first, last = cast(int, records[0].offset()), cast(int, records[-1].offset())
    found = scan(client_config, topic, {partition: first}, end={partition: last + 1})
    there = {message.offset(): _content(message) for messages in found for message in messages}
    read = {record.offset(): _content(record) for record in records}
    return all(read.get(offset) == content for offset, content in there.items())


def _content(record: Message | Record) -> tuple[object, ...]:
    return record.key(), record.value(), record.timestamp(), headers_of(record)


class _ByMessages:
    def __init__(self, consumer: Consumer, topic: str, partition: int) -> None:
        self._consumer, self._topic, self._partition = consumer, topic, partition

    def assign(self, at: int) -> None:
        self._consumer.assign([TopicPartition(self._topic, self._partition, at)])

    def read(self, at: int, end: int | None, wait: float) -> tuple[list[Message], int, bool]:
        found: list[Message] = []
        for message in self._consumer.consume(BATCH, wait):
            offset = cast(int, message.offset())
            error = message.error()
            if error is None:
                if end is not None and offset >= end:
                    return found, end, False
                found.append(message)
                at = offset + 1
            elif _is_lost(error, self._topic):
                return found, at, True
            elif error.code() == KafkaError._PARTITION_EOF:
                at = max(at, offset)
        return found, at, False

    def close(self) -> None:
        """Nothing is to be done."""


class _ByColumns:
    def __init__(self, consumer: Consumer, topic: str, partition: int, back: bytes) -> None:
        self._consumer, self._topic, self._partition, self._back = consumer, topic, partition, back
        self._queue: PartitionQueue | None = None

    def assign(self, at: int) -> None:
        from redrive.columnar.reading import PartitionQueue

        # Anew each time: of a topic that is made anew meanwhile, librdkafka does not keep it.
        self.close()
        self._queue = PartitionQueue(self._consumer, self._topic, self._partition, (SOURCE_HEADER, self._back))
        self._consumer.assign([TopicPartition(self._topic, self._partition, at)])

    def read(self, at: int, end: int | None, wait: float) -> tuple[Records, int, bool]:
        assert self._queue is not None, "assign() comes first"
        found, errors = self._queue.take(BATCH, wait)
        if found:
            if end is not None and found.offsets[-1] >= end:
                return found.before(end), end, False
            at = int(found.offsets[-1]) + 1
        heard = [(KafkaError(code), offset) for code, offset in errors]
        other = self._consumer.poll(0)  # what is not about the partition; what is to be logged comes this way, too
        if other is not None:
            error = other.error()
            if error is None:
                raise UnavailableError(
                    f"partition {self._partition} of {self._topic}",
                    "the topic was deleted and made anew while it was read: start again",
                )
            heard.append((error, -1))
        for error, offset in heard:
            if _is_lost(error, self._topic):
                return found, at, True
            if error.code() == KafkaError._PARTITION_EOF:
                at = max(at, offset)
        return found, at, False

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()
            self._queue = None


def _is_lost(error: KafkaError, topic: str) -> bool:
    """Say whether an error says that the place in the topic is gone; raises for what waiting does not mend."""
    if error.code() != KafkaError._PARTITION_EOF and error.code() not in _LOST:
        raise_if_hopeless(error, topic)
    return error.code() in _LOST
