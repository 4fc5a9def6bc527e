"""Reads one partition from any place to where it ends at that moment, over and over, by the same connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from redrive.errors import UnavailableError
from redrive.pump.readback import LATEST, ClientConfig, ask_leaders, offset_reader, raise_if_hopeless, reader

_BATCH = 2_000
_WAIT = 0.05  # consume() waits this long for a batch that stays part-filled
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """What was read next.

    Attributes:
        messages: in order; may be empty.
        next: the offset to go on from.
    """

    messages: list[Message]
    next: int


class PartitionLog:
    """One partition. For one thread, and one reading at a time.

    Args:
        client_config: the cluster.
        topic: its topic.
        partition: its partition.
        check: called now and then while brokers are waited for; what it raises ends the wait.
    """

    def __init__(
        self, client_config: ClientConfig, topic: str, partition: int, check: Callable[[], None] = lambda: None
    ) -> None:
        self._client, self._topic, self._partition, self._check = client_config, topic, partition, check
        self._readers: dict[bool, Consumer] = {}

    def __str__(self) -> str:
        return f"partition {self._partition} of {self._topic}"

    def close(self) -> None:
        """Give up the connections."""
        for consumer in self._readers.values():
            consumer.close()
        self._readers = {}

    def read(self, first: int, upto: int | None = None, *, committed: bool = True) -> Generator[Part, None, None]:
        """Yield what stands there, from the first offset on that the partition still has.

        Args:
            first: the offset to begin with.
            upto: where to stop; waited for. None: where it ends now.
            committed: nothing of transactions that are open or aborted, and no further than to the first that is open.
                Else everything.

        Raises:
            UnavailableError: for `_PATIENCE` seconds nothing came before ``upto``.
        """
        consumer = self._reader(committed)
        end = self._end(consumer) if upto is None else upto
        if first >= end:
            return
        consumer.assign([TopicPartition(self._topic, self._partition, first)])
        at, deadline = first, time.monotonic() + _PATIENCE
        try:
            while at < end:
                before = at
                found: list[Message] = []
                for message in consumer.consume(_BATCH, _WAIT):
                    at = max(at, self._take(message, end, found))
                yield Part(found, at)
                if at > before:
                    deadline = time.monotonic() + _PATIENCE  # the time the caller took is not the cluster's
                else:
                    self._wait(deadline, f"nothing came after offset {at}, and it goes on to {end}")
        finally:
            with suppress(RuntimeError):  # it may be closed by now
                consumer.unassign()

    def _take(self, message: Message, end: int, found: list[Message]) -> int:
        """Keep a message that stands before ``end``; give the offset to go on from."""
        error, offset = message.error(), cast(int, message.offset())
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return min(offset, end)
            raise_if_hopeless(error, self._topic)
            return 0
        if offset >= end:
            return end
        found.append(message)
        return offset + 1

    def _end(self, consumer: Consumer) -> int:
        """Ask where the partition ends, for who reads as this consumer does.

        Not until a fetch finds nothing more: while others write all the time, none does.
        """
        place, deadline = TopicPartition(self._topic, self._partition, LATEST), time.monotonic() + _PATIENCE
        while True:
            try:
                return ask_leaders(consumer, [place])[self._topic, self._partition]
            except KafkaException as exception:
                raise_if_hopeless(exception.args[0], self._topic)
                self._wait(deadline, exception.args[0].str())
                time.sleep(0.1)

    def _wait(self, deadline: float, reason: str) -> None:
        self._check()
        if time.monotonic() > deadline:
            raise UnavailableError(
                str(self),
                f"{reason}, for {_PATIENCE:.0f} s: its leader is away, or somebody has left a transaction open",
            )

    def _reader(self, committed: bool) -> Consumer:
        if committed not in self._readers:
            make = reader if committed else offset_reader
            self._readers[committed] = make(self._client)
        return self._readers[committed]
