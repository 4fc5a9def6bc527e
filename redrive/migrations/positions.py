"""Translates consumers' positions between the topic that was copied and the one that it was copied to, exactly.

Each copied event names the offset that it had in the source (header ``redrive-source``), and within a partition these
only rise. So the place that corresponds to a position is found by halving: about twenty looks for a million events,
whatever compaction, transactions and parked events have left out on either side.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from redrive.errors import UnavailableError
from redrive.events import Headers
from redrive.migrations.unit import source_offset, way
from redrive.pump.readback import ClientConfig, end_offsets, raise_if_hopeless, reader, start_offsets
from redrive.pump.sink import SOURCE_HEADER

_PATIENCE = 30.0


class Positions:
    """Looks places up in the target of one way. For one thread.

    Args:
        client_config: the cluster.
        cluster: its name.
        source: the topic that was copied.
        target: the topic that it was copied to.
    """

    def __init__(self, client_config: ClientConfig, cluster: str, source: str, target: str) -> None:
        self._client = client_config
        self._way = way(cluster, source, target)
        self._target = target
        self._lows, self._ends = start_offsets(client_config, target), end_offsets(client_config, target)
        self._consumer: Consumer = reader(client_config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def in_target(self, partition: int, offset: int) -> int:
        """Say from where on the target holds what the source holds from ``offset`` on.

        Whatever of the source is before ``offset`` is before that place, and all the rest is behind it, also what has
        not been copied yet, as long as all before ``offset`` has been.
        """
        low, high = self._lows[partition], self._ends[partition]
        while low < high:
            middle = (low + high) // 2
            message = self._first(partition, middle, high)
            if message is None or cast(int, self._origin(message)) >= offset:
                high = middle
            else:
                low = cast(int, message.offset()) + 1
        return low

    def in_source(self, partition: int, offset: int) -> int | None:
        """Say which offset of the source the first event has that the target holds from ``offset`` on; None: none."""
        message = self._first(partition, offset, self._ends[partition])
        return None if message is None else self._origin(message)

    def _first(self, partition: int, offset: int, end: int) -> Message | None:
        """Give the first event from ``offset`` on, and before ``end``, that has come this way."""
        consumer = self._consumer
        consumer.assign([TopicPartition(self._target, partition, offset)])
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for message in consumer.consume(1, 1.0):
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise_if_hopeless(error, self._target)
                elif cast(int, message.offset()) >= end or error is not None:
                    return None
                elif self._origin(message) is not None:
                    return message
        raise UnavailableError(f"partition {partition} of {self._target}", f"nothing came for {_PATIENCE:.0f} s")

    def _origin(self, message: Message) -> int | None:
        headers = cast("Headers | None", message.headers())
        if not headers or headers[-1][0] != SOURCE_HEADER or headers[-1][1] is None:
            return None
        return source_offset(headers[-1][1], self._way)
