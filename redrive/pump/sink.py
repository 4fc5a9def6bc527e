"""The transactional sink: each chunk and its cursor become visible together, or not at all.

The transactional id is made from the unit's name, never from a process or a run: so a second copy of a unit, started by
mistake or after a crash, fences the first, and there is always at most one that can commit.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from redrive import telemetry
from redrive.columnar.events import EventColumns, parts_of
from redrive.errors import FencedError, OvertakenError, RefusedError
from redrive.events import Event
from redrive.pump.cursors import CURSORS_TOPIC, OWNER_HEADER, Saved, cursor_partition, ensure_topic, read_saved
from redrive.pump.limits import Limits, limits_of, refusals, topics_of
from redrive.pump.model import Skipped
from redrive.pump.names import OPERATION_HEADER, SOURCE_HEADER
from redrive.pump.readback import ClientConfig, cluster_name, end_offsets
from redrive.pump.transactions import AbortError, StaleError, Transactions

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

_ATTEMPTS = 5
_BY_EVENTS = 100  # where brokers refuse one event, they may refuse others, and it has to be heard which
_SMALLEST_BATCH = 16_384

# What a broker says about a record, not about itself: it would say so again.
_REFUSALS = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError._UNKNOWN_PARTITION,
}


class Guard(Protocol):
    """Has the last word on what is committed, for a unit whose events go to one partition."""

    def before(self, events: Sequence[Event]) -> Mapping[int, Event | Skipped]:
        """Say what of a chunk has to be replaced, or left out; by index. Called before anything of it is written."""
        ...

    def holds(self, events: Sequence[Event], upto: int) -> bool:
        """Say whether all that is written, before offset ``upto``, may be committed; else it is aborted."""
        ...


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
        check: Callable[[], None] = lambda: None,
        tuning: Mapping[str, Any] | None = None,
        guard: Guard | None = None,
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
            check: called about once a second while they are waited for (`Governor.check`); what it raises ends the
                wait. What has been committed by then is told by `start`.
            tuning: librdkafka properties over `TUNING`.
            guard: asked before each transaction, and before it is committed.
        """
        self.unit = unit
        self._client = dict(client_config)
        self._operation = (OPERATION_HEADER, operation.encode())
        self._checkpoints = checkpoints
        self._transaction_timeout = transaction_timeout
        self._patience = patience
        self._check = check
        self._tuning = {**TUNING, **(tuning or {})}
        self._batch_size = int(self._tuning["batch.size"])
        self._transactions = Transactions(f"Kafka {cluster_name(client_config)}", unit, check)
        self._guard = guard
        self._owner = b""
        self._last = -1  # offset of the last event of the transaction; only kept for a guard
        self._limits: dict[str, Limits] = {}
        # What the chunk at hand was refused for: by a batch, or, event by event, by index.
        self._blame = ""
        self._refused: dict[int, str] = {}
        self._one_by_one = False
        self._by_events = 0  # for so many transactions, columns are produced as events
        self._batches_too_large = False

    def start(self) -> bytes | None:
        """Fence every older copy of this unit, *then* read back and return the last committed cursor.

        Raises:
            ConfigError: a property is wrong, or the principal may not do what is needed.
            UnavailableError: the cluster does not answer in time.
        """
        self.close()
        self._limits.clear()
        self._one_by_one = self._batches_too_large = False
        self._by_events = 0
        ensure_topic(self._client, self._checkpoints)
        try:
            cursor = self._open().cursor
            self._owner = uuid.uuid4().bytes
            self._commit((), cursor or b"")
        except StaleError:
            raise self._why_stale() from None
        except BaseException:
            self.close()
            raise
        return cursor

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
            OvertakenError: the guard wants other events. Nothing of the chunk was published.
            RefusedError: brokers refuse some of the events for good. Nothing of the chunk was published; it can be
                committed without them. There may be more of them than are named.
            UnavailableError: the cluster did not confirm in time; what it has committed is told by `start`.
            UnknownTopicError: an event is for a topic that does not exist.
        """
        if self._guard is not None or self._by_events:
            events = [*events]
        topics = topics_of(events)
        for topic in topics - self._limits.keys():
            self._limits[topic] = limits_of(self._client, topic)
        refused = refusals(events, self._limits, topics)
        if refused:
            raise RefusedError(refused)
        try:
            with telemetry.transaction(self.unit, len(events)):
                self._commit(events, cursor)
        except StaleError:
            raise self._why_stale() from None

    def forget(self) -> None:
        """Take the unit's cursor away: whoever starts it next begins anew.

        Raises:
            FencedError: a newer copy of this unit has started.
            UnavailableError: the cluster did not confirm in time.
        """
        try:
            self._commit((), None)
        except StaleError:
            raise self._why_stale() from None

    def close(self) -> None:
        """Give up the connection; an open transaction is aborted, within a few seconds."""
        self._transactions.close()

    def _commit(self, events: Sequence[Event], cursor: bytes | None) -> None:
        """Try until the transaction is committed, or it is clear that it won't be."""
        deadline = time.monotonic() + self._patience
        for attempt in range(1, _ATTEMPTS + 1):
            if self._guard is not None and events and (changed := self._guard.before(events)):
                raise OvertakenError(changed, aborted=attempt > 1)
            try:
                self._transact(events, cursor, deadline)
                break
            except AbortError as error:
                self._transactions.abort(deadline)
                events = [*events]  # of columns, only whether all were delivered is heard
                if self._refused:
                    self._batches_too_large = False
                    raise RefusedError(self._refused) from None
                if blamed := bool(self._blame) and not self._one_by_one:
                    self._by_events = _BY_EVENTS
                    # A broker answers for a whole batch: which event it means shows when each has one of its own.
                    self._batches_too_large = self._blame.startswith("MSG_SIZE_TOO_LARGE")
                    self._reopen(one_by_one=True)
                if attempt == _ATTEMPTS or (not blamed and time.monotonic() > deadline):
                    self.close()
                    reason = f"{attempt} transactions were aborted, the last one by: {error}"
                    raise self._transactions.unavailable(reason) from None
                if not blamed:
                    time.sleep(min(0.1 * 2**attempt, 2.0))
        self._by_events = max(0, self._by_events - 1)
        if self._one_by_one:
            if self._batches_too_large:
                self._batch_size = max(_SMALLEST_BATCH, self._batch_size // 4)
            self._reopen(one_by_one=False)

    def _transact(self, events: Sequence[Event], cursor: bytes | None, deadline: float) -> None:
        self._blame = ""
        self._refused = {}
        self._last = -1
        self._transactions.begin(deadline)
        first = 0
        for part in parts_of(events):
            if isinstance(part, EventColumns):
                self._produce_columns(part, first, deadline)
            else:
                self._produce(part, first, deadline)
            first += len(part)
        if self._refused:
            raise AbortError
        self._produce_cursor(cursor)
        if self._guard is not None and events:
            self._flush(deadline)
            if not self._guard.holds(events, self._last + 1):
                raise AbortError("newer events of the same keys came meanwhile")
        self._transactions.commit(deadline)

    def _produce_columns(self, events: EventColumns, first: int, deadline: float) -> None:
        from redrive.columnar.writing import produce

        producer = self._transactions.producer
        done = 0
        while done < len(events):
            done, code = produce(producer, events, done, operation=self._operation, source=SOURCE_HEADER)
            if code == KafkaError._QUEUE_FULL:
                self._wait_for_room(producer, deadline)
            elif code in _REFUSALS:
                self._refused[first + done] = f"{KafkaError(code).name()}: {KafkaError(code).str()}"
                done += 1
            elif code:
                raise AbortError(KafkaError(code).str())

    def _produce(self, events: Sequence[Event], first: int, deadline: float) -> None:
        producer = self._transactions.producer
        produce = producer.produce
        operation = self._operation
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None
        for index, event in enumerate(events, first):
            if self._one_by_one:
                on_delivery = partial(self._on_delivery, index)
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
                        raise AbortError(error.str()) from None
                    self._refused[index] = f"{error.name()}: {error.str()}"
                break

    def _produce_cursor(self, cursor: bytes | None) -> None:
        unit = self.unit.encode()
        try:
            self._transactions.producer.produce(
                self._checkpoints, cursor, unit, cursor_partition(self.unit), headers=[(OWNER_HEADER, self._owner)]
            )
        except (BufferError, KafkaException) as error:
            raise AbortError(f"the cursor: {error}") from None

    def _on_delivery(self, index: int | None, error: KafkaError | None, message: Message) -> None:
        if error is None and message.topic() != self._checkpoints:
            self._last = max(self._last, cast(int, message.offset()))
        if error is not None and error.code() in _REFUSALS:
            self._blame = f"{error.name()}: {error.str()}"
            if index is not None:
                self._refused[index] = self._blame

    def _open(self) -> Saved:
        """Connect, fence, and only then read the cursor: read before, it could still be moved by the fenced one."""
        config = {
            **self._client,
            **self._tuning,
            "batch.size": self._batch_size,
            **(_ONE_BY_ONE if self._one_by_one else {}),
            "transactional.id": f"redrive/{self.unit}",
            "transaction.timeout.ms": int(self._transaction_timeout * 1000),
            # A commit fails if one record does, so only failures need a callback. A guard has to know where events are.
            "delivery.report.only.error": self._guard is None,
            "on_delivery": partial(self._on_delivery, None),
        }
        self._transactions.open(config, time.monotonic() + self._patience)
        return self._saved()

    def _reopen(self, *, one_by_one: bool) -> None:
        """Change how the producer batches. A copy of the unit that has started in between must win all the same."""
        self.close()
        self._one_by_one = one_by_one
        if self._open().owner != self._owner:
            self.close()
            raise FencedError(self.unit)

    def _saved(self) -> Saved:
        return read_saved(self._client, self.unit, self._checkpoints, patience=self._patience)

    def _why_stale(self) -> Exception:
        """Tell a successor from a transaction that timed out since this sink, or the cluster, stood still."""
        if self._saved().owner == self._owner:
            return self._transactions.unavailable(
                f"the brokers gave up its transaction, which stood still for more than {self._transaction_timeout:g} s"
            )
        return FencedError(self.unit)

    def _flush(self, deadline: float) -> None:
        """Wait until all events are in the log."""
        while self._transactions.producer.flush(1.0):
            self._check()
            if time.monotonic() > deadline:
                raise AbortError("brokers do not acknowledge")

    def _wait_for_room(self, producer: Producer, deadline: float) -> None:
        producer.poll(0.1)
        self._check()
        if time.monotonic() > deadline:
            raise AbortError("the client's queue stays full")
