"""Reads one partition into columns, by a consumer that it is assigned to."""

from __future__ import annotations

import ctypes
from functools import cache

from confluent_kafka import Consumer

from redrive.columnar import librdkafka, loops
from redrive.columnar.records import Column, Records, as_bytes
from redrive.errors import UnavailableError


class PartitionQueue:
    """What a consumer has read of one partition. From its creation on, the consumer itself gives none of that.

    The consumer has to be asked now and then all the same (`poll`): it says what is not about the partition.

    Args:
        consumer: an open one; it must stay so until `close`.
        topic: the partition's.
        partition: its number.
        mark: a header that marks records as special, if it is their last one: its name, and how its value begins.
    """

    def __init__(self, consumer: Consumer, topic: str, partition: int, mark: tuple[str, bytes]) -> None:
        self._mark = as_bytes(mark[0].encode()), as_bytes(mark[1])
        library = _library()
        client = librdkafka.handle(consumer)
        self._queue = library.rd_kafka_queue_get_partition(client, topic.encode(), partition)
        if not self._queue:
            raise UnavailableError(f"partition {partition} of {topic}", "its client has no queue for it")
        library.rd_kafka_queue_forward(self._queue, None)

    def take(self, most: int, timeout: float) -> tuple[Records, list[tuple[int, int]]]:
        """Wait for so many records, at most so many seconds; also returns errors: their codes, and at which offsets."""
        if not self._queue:
            raise UnavailableError("Kafka", "what reads this partition is closed")
        keys, values, headers, offsets, times, kinds, special, codes, places = loops.take(
            self._queue, most, int(timeout * 1000), *self._mark
        )
        errors = list(zip(codes.tolist(), places.tolist(), strict=True))
        return Records(offsets, times, kinds, Column(*keys), Column(*values), Column(*headers), special), errors

    def close(self) -> None:
        """Give the queue up."""
        if self._queue:
            _library().rd_kafka_queue_destroy(self._queue)
            self._queue = None


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(librdkafka.library()))
    library.rd_kafka_queue_get_partition.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32)
    library.rd_kafka_queue_get_partition.restype = ctypes.c_void_p
    library.rd_kafka_queue_forward.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    library.rd_kafka_queue_forward.restype = None
    library.rd_kafka_queue_destroy.argtypes = (ctypes.c_void_p,)
    library.rd_kafka_queue_destroy.restype = None
    return library
