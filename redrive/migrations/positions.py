"""Translates consumers' positions between the topic that was copied and the one that it was copied to, exactly.

Each copied event names the offset that it had in the source (header ``redrive-source``), and within a partition these
only rise. So the place that corresponds to a position is found by halving: about twenty looks for a million events,
whatever compaction, transactions and parked events have left out on either side. Where events lie in between that have
not come this way, a look reads on to the next that has: of a topic that mostly holds others, all is read. So what was
found is remembered, and a later look reads only what has come since.
"""

from __future__ import annotations

import time
from bisect import bisect_right, insort
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from redrive.errors import UnavailableError
from redrive.migrations.unit import origin_of, source_offset, way
from redrive.pump.readback import ClientConfig, end_offsets, raise_if_hopeless, reader, start_offsets

_PATIENCE = 30.0
_BATCH = 1_000
_WAIT = 0.05  # consume() waits this long for a batch that stays part-filled


class Positions:
    """Looks places up in the target of one way. For one thread.

    Args:
        client_config: the cluster.
        cluster: its name.
        source: the topic that was copied.
        target: the topic that it was copied to.
        check: called now and then; what it raises ends a look.
    """

    def __init__(
        self,
        client_config: ClientConfig,
        cluster: str,
        source: str,
        target: str,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client_config
        self._way = way(cluster, source, target)
        self._target = target
        self._check = check
        self._found: dict[int, list[tuple[int, int]]] = {}
        self._ours: dict[int, tuple[int, int]] = {}
        self.renew()
        self._consumer: Consumer = reader(client_config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection."""
        self._consumer.close()

    def renew(self) -> None:
        """Take note of what has come to the target since, or has been deleted there.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        self._lows = start_offsets(self._client, self._target)
        # What an open transaction has written comes later, for whoever reads what is committed.
        self._ends = end_offsets(self._client, self._target, committed=True)

    def has(self, partition: int) -> bool:
        """Say whether the target has such a partition."""
        return partition < len(self._lows)

    def low(self, partition: int) -> int:
        """Say which is the lowest offset that the target still has."""
        return self._lows[partition]

    def in_target(self, partition: int, offset: int) -> int:
        """Say where the target has the first copy of what the source has from ``offset`` on; its end if there is none.

        Whatever of the source is before ``offset`` is before that place, and all the rest is behind it, also what has
        not been copied yet, as long as all before ``offset`` has been.
        """
        low, high = self._lows[partition], self._ends[partition]
        found = self._found.setdefault(partition, [])
        if known := bisect_right(found, (offset, high)):  # its place is not before that of a lower offset
            low = max(low, found[known - 1][1])
        place = high
        while low < high:
            middle = (low + high) // 2
            message = self._find(partition, middle, high, ours=True)
            if message is None:
                high = middle
            elif cast(int, self._origin(message, partition)) >= offset:
                high, place = middle, cast(int, message.offset())
            else:
                low = cast(int, message.offset()) + 1
        insort(found, (offset, place))
        return place

    def in_source(self, partition: int, offset: int) -> int | None:
        """Say which offset of the source the first copy has that the target holds from ``offset`` on; None: none."""
        message = self._find(partition, offset, None, ours=True)
        return None if message is None else self._origin(message, partition)

    def first(self, partition: int, offset: int, end: int | None) -> int | None:
        """Say where the first copy is that the target holds from ``offset`` on, before ``end``; None: there is none."""
        message = self._find(partition, offset, end, ours=True)
        return None if message is None else message.offset()

    def first_other(self, partition: int, offset: int, end: int | None) -> int | None:
        """Do as `first` for events of the target that have not come this way. It reads all that lies between, once."""
        known_from, known_to = self._ours.get(partition, (0, -1))
        is_known = known_from <= offset <= known_to
        begin = known_to if is_known else offset
        message = self._find(partition, begin, end, ours=False)
        upto = self._ends[partition] if end is None else min(end, self._ends[partition])
        found = upto if message is None else cast(int, message.offset())
        self._ours[partition] = (known_from if is_known else offset, max(begin, found))
        return None if message is None else found

    def _find(self, partition: int, offset: int, end: int | None, *, ours: bool) -> Message | None:
        """Give the first event from ``offset`` on, and before ``end``, that has come this way, or has not."""
        offset = max(offset, self._lows[partition])
        end = self._ends[partition] if end is None else min(end, self._ends[partition])
        if offset >= end:
            return None
        consumer = self._consumer
        consumer.assign([TopicPartition(self._target, partition, offset)])
        deadline = time.monotonic() + _PATIENCE
        batch = 1  # most often it is the first
        while time.monotonic() < deadline:
            self._check()
            for message in consumer.consume(batch, _WAIT):
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise_if_hopeless(error, self._target)
                elif error is not None or cast(int, message.offset()) >= end:
                    return None
                elif (self._origin(message, partition) is not None) is ours:
                    return message
                else:
                    deadline = time.monotonic() + _PATIENCE
            batch = _BATCH
        raise UnavailableError(f"partition {partition} of {self._target}", f"nothing came for {_PATIENCE:.0f} s")

    def _origin(self, message: Message, partition: int) -> int | None:
        origin = origin_of(message)
        return None if origin is None else source_offset(origin, f"{self._way}/{partition}")
