"""The transactional sink: each chunk and its cursor become visible together, or not at all.

The transactional id is made from the unit's name, never from a process or a run: so a second copy of a unit, started by
mistake or after a crash, fences the first, and there is always at most one that can commit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from redrive.errors import ConfigError, FencedError, RefusedError, UnavailableError
from redrive.events import Event
from redrive.pump.cursors import CURSORS_TOPIC, cursor_partition, ensure_topic, read_cursor
from redrive.pump.limits import Limits, limits_of, refusals
from redrive.pump.readback import ClientConfig, cluster_name, end_offsets

OPERATION_HEADER = "redrive-operation"
SOURCE_HEADER = "redrive-source"

TUNING: Mapping[str, Any] = {
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    "linger.ms": 20,
    "batch.num.messages": 100_000,
    "batch.size": 1_000_000,
    # What bounds memory is the chunk; these only have to be larger than any chunk.
    "queue.buffering.max.messages": 2_000_000,
    "queue.buffering.max.kbytes": 1_048_576,
    # How large an event may be is for its topic to say, not for the client: see RefusedError.
    "message.max.bytes": 64 << 20,
}
"""How the producer is set: for throughput. Order and exactly once hold whatever is set here."""

_ONE_BY_ONE = {"batch.num.messages": 1, "linger.ms": 0}

_SLICE = 1.0  # blocking calls return this often, so that signals are heard
_ATTEMPTS = 5
_SMALLEST_BATCH = 16_384
_ABORT_PATIENCE = 5.0

_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
_FORBIDDEN = {
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
# What a broker says about a record, not about itself: it would say so again.
_REFUSALS = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError._UNKNOWN_PARTITION,
}

_log = logging.getLogger("redrive.kafka")


class _AbortError(Exception):
    """The transaction has to be aborted; then the chunk may be tried again."""


class TransactionalSink:
    """Publishes chunks of events exactly once, each in one Kafka transaction with its cursor.

    For one thread. After an UnavailableError it can be started again; that tells what has been committed.
    """

    def __init__(
        self,
        client_config: ClientConfig,
        unit: str,
        *,
        operation: str = "",
        checkpoints: str = CURSORS_TOPIC,
        transaction_timeout: float = 30.0,
        patience: float = 60.0,
        tuning: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare a sink; nothing connects before `start`.

        Args:
            client_config: librdkafka properties of the cluster.
            unit: name of the unit of work, such as ``standby/local/orders.created/3``.
            operation: id of the operation; each event carries it as header ``redrive-operation``.
            checkpoints: the compacted topic for cursors; created if there is none.
            transaction_timeout: seconds after which brokers abort a transaction whose owner is gone: so long a
                crashed unit that nobody starts again holds back the readers of its partitions.
            patience: seconds that one call may take while brokers are away.
            tuning: librdkafka properties over `TUNING`.
        """
        self.unit = unit
        self._client = dict(client_config)
        self._cluster = f"Kafka {cluster_name(client_config)}"
        self._operation = (OPERATION_HEADER, operation.encode())
        self._checkpoints = checkpoints
        self._transaction_timeout = transaction_timeout
        self._patience = patience
        self._tuning = {**TUNING, **(tuning or {})}
        self._producer: Producer | None = None
        self._in_transaction = False
        self._one_by_one = False
        self._cursor: bytes | None = None
        self._limits: dict[str, Limits] = {}
        self._blame = ""
        self._refused: dict[int, str] = {}
        self._client_error = ""
        self._batch_size = int(self._tuning["batch.size"])
        self._batches_too_large = False

    def start(self) -> bytes | None:
        """Fence every older copy of this unit, *then* read back and return the last committed cursor.

        Raises:
            ConfigError: a property is wrong, or the principal may not do what is needed.
            UnavailableError: the cluster does not answer in time.
        """
        self.close()
        self._limits.clear()
        ensure_topic(self._client, self._checkpoints)
        self._one_by_one = False
        self._cursor = self._open()
        return self._cursor

    def positions(self, topic: str) -> list[int]:
        """Say where each partition of a topic ends now.

        Raises:
            UnknownTopicError: there is no such topic.
            UnavailableError: the cluster does not answer.
        """
        return end_offsets(self._client, topic)

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        """Make the events and the cursor visible together, or not at all.

        Raises:
            FencedError: a newer copy of this unit has started.
            RefusedError: brokers refuse some of the events for good. Nothing of the chunk was published; it can be
                committed without them. There may be more of them than are named.
            UnavailableError: the cluster did not confirm in time; what it has committed is told by `start`.
            UnknownTopicError: an event is for a topic that does not exist.
        """
        if self._producer is None:
            raise UnavailableError(self._cluster, f"the sink of {self.unit} is closed; start it first")
        topics = {event.topic for event in events}
        for topic in topics - self._limits.keys():
            self._limits[topic] = limits_of(self._client, topic)
        refused = refusals(events, self._limits, topics)
        if refused:
            raise RefusedError(refused)
        deadline = time.monotonic() + self._patience
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._transact(events, cursor, deadline)
            except _AbortError as error:
                self._call(self._running().abort_transaction, _SLICE, deadline=deadline)
                self._in_transaction = False
                if self._refused:
                    self._batches_too_large = False
                    raise RefusedError(self._refused) from None
                if attempt == _ATTEMPTS or time.monotonic() > deadline:
                    self.close()
                    raise self._unavailable(f"{attempt} transactions were aborted, the last one by: {error}") from None
                if self._blame and not self._one_by_one:
                    self._batches_too_large = self._blame.startswith("MSG_SIZE_TOO_LARGE")
                    # A broker answers for a whole batch: which event it means shows when each has a batch of its own.
                    self._one_by_one = True
                    self._reopen()
                else:
                    time.sleep(min(0.1 * 2**attempt, 2.0))
            else:
                self._cursor = cursor
                if self._one_by_one:
                    self._leave_one_by_one()
                return

    def close(self) -> None:
        """Give up the connection; an open transaction is aborted, within a few seconds."""
        producer, self._producer = self._producer, None
        if producer is not None and self._in_transaction:
            self._in_transaction = False
            try:
                producer.abort_transaction(_ABORT_PATIENCE)
            except KafkaException as exception:
                _log.info("%s: the open transaction is left to time out: %s", self.unit, exception.args[0].str())

    def _transact(self, events: Sequence[Event], cursor: bytes, deadline: float) -> None:
        producer = self._running()
        self._blame = ""
        self._refused = {}
        self._call(producer.begin_transaction, deadline=deadline)
        self._in_transaction = True
        self._produce(producer, events, deadline)
        if self._refused:
            raise _AbortError
        self._produce_cursor(producer, cursor, deadline)
        # Flushes, and fails if a single event was not acknowledged.
        self._call(producer.commit_transaction, _SLICE, deadline=deadline)
        self._in_transaction = False

    def _produce(self, producer: Producer, events: Sequence[Event], deadline: float) -> None:
        produce = producer.produce
        operation = self._operation
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None
        for index, event in enumerate(events):
            if self._one_by_one:
                on_delivery = partial(self._on_failed, index)
            partition = event.partition
            while True:
                try:
                    produce(
                        event.topic,
                        event.value,
                        event.key,
                        -1 if partition is None else partition,
                        on_delivery,
                        timestamp=event.timestamp,
                        headers=[*event.headers, operation, (SOURCE_HEADER, event.origin)],
                    )
                except BufferError:
                    self._wait_for_room(producer, deadline)
                    continue
                except KafkaException as exception:
                    error = exception.args[0]
                    if error.code() not in _REFUSALS:
                        # Never go on to the commit from here: the chunk would go out without this event.
                        raise _AbortError(error.str()) from None
                    self._refused[index] = f"{error.name()}: {error.str()}"
                break

    def _produce_cursor(self, producer: Producer, cursor: bytes, deadline: float) -> None:
        while True:
            try:
                producer.produce(self._checkpoints, cursor, self.unit.encode(), cursor_partition(self.unit))
                return
            except BufferError:
                self._wait_for_room(producer, deadline)
            except KafkaException as exception:
                raise _AbortError(f"the cursor: {exception.args[0].str()}") from None

    def _wait_for_room(self, producer: Producer, deadline: float) -> None:
        producer.poll(0.1)
        if time.monotonic() > deadline:
            raise _AbortError("the client's queue stays full")

    def _on_failed(self, index: int | None, error: KafkaError | None, _message: Message) -> None:
        if error is not None and error.code() in _REFUSALS:
            reason = f"{error.name()}: {error.str()}"
            self._blame = reason
            if index is not None:
                self._refused[index] = reason

    def _open(self) -> bytes | None:
        """Connect, fence, and only then read the cursor: read before, it could still be moved by the fenced one."""
        config = {
            **self._client,
            **self._tuning,
            "batch.size": self._batch_size,
            **(_ONE_BY_ONE if self._one_by_one else {}),
            "transactional.id": f"redrive/{self.unit}",
            "transaction.timeout.ms": int(self._transaction_timeout * 1000),
            "delivery.report.only.error": True,
            "on_delivery": partial(self._on_failed, None),
            "error_cb": self._on_client_error,
        }
        try:
            self._producer = Producer(config, logger=_log)
        except KafkaException as exception:
            raise ConfigError("client_config", exception.args[0].str()) from exception
        try:
            self._call(self._producer.init_transactions, _SLICE, deadline=time.monotonic() + self._patience)
            return read_cursor(self._client, self.unit, self._checkpoints, patience=self._patience)
        except BaseException:
            self.close()
            raise

    def _reopen(self) -> None:
        """Change the producer's settings. A copy of the unit that has started in between must win all the same."""
        self.close()
        if self._open() != self._cursor:
            self.close()
            raise FencedError(self.unit)

    def _leave_one_by_one(self) -> None:
        if self._batches_too_large:
            self._batch_size = max(_SMALLEST_BATCH, self._batch_size // 4)
        self._one_by_one = self._batches_too_large = False
        self._reopen()

    def _running(self) -> Producer:
        assert self._producer is not None
        return self._producer

    def _call(self, call: Callable[..., object], *args: object, deadline: float) -> None:
        """Call the transactional API and sort its errors by what librdkafka says is to be done."""
        while True:
            try:
                call(*args)
                return
            except KafkaException as exception:
                error = exception.args[0]
                if error.txn_requires_abort():
                    raise _AbortError(error.str()) from None
                if error.retriable() and time.monotonic() < deadline:
                    time.sleep(0.02)  # the same call again: a commit that timed out has not failed
                    continue
                self.close()
                if error.code() in _FENCED:
                    raise FencedError(self.unit) from None
                if error.code() in _FORBIDDEN:
                    raise ConfigError(
                        "client_config", f"this principal may not publish as {self.unit}: {error.str()}"
                    ) from None
                raise self._unavailable(error.str()) from None

    def _unavailable(self, reason: str) -> UnavailableError:
        heard = f" (client: {self._client_error})" if self._client_error else ""
        return UnavailableError(self._cluster, f"{self.unit}: {reason}{heard}")

    def _on_client_error(self, error: KafkaError) -> None:
        self._client_error = error.str()
