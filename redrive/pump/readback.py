"""Reads topics back from one known place to another: for proofs, for cursors, and to look events up by their id.

Ends can't be computed from record offsets: markers of transactions take offsets too, and a transaction that is still
open holds read-committed readers back. So a scan notes the high watermarks first, and then reads until the broker
itself says that it has reached them (end of partition), waiting a bounded time for open transactions of others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Literal, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from redrive.envelope import Identity, header, identity
from redrive.errors import UnavailableError, UnknownTopicError
from redrive.events import headers_of

ClientConfig = Mapping[str, Any]
"""librdkafka properties that name a cluster and how to log in: ``bootstrap.servers`` and the security ones."""

_log = logging.getLogger("redrive.kafka")  # without one, librdkafka writes to standard error

AHEAD = 1 << 20
"""Bytes that a reader reads ahead, of keys and values alone: small events with headers take ten times that."""

AT_ONCE = 512 << 10
"""Bytes of a partition that a broker gives at once; one batch if that is larger. Compressed: that may be a tenth."""

TAIL_WAIT = 0.05  # consume() waits this long for a batch that stays part-filled, at each partition's end
PATIENCE = 60.0
"""Seconds that a scan waits without getting on, as behind a transaction that somebody left open."""

_REQUEST_TIMEOUT = 10.0
_LEADER_TIMEOUT = 5.0
_ELECTION = 15.0

LATEST, EARLIEST = -1, -2
"""What Kafka takes for a time in its ListOffsets request: the end, and the beginning."""
_GROUP = "redrive-readback"  # never joined: partitions are assigned by hand, and nothing is committed
_FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Read and Describe on topic {topic}",
    KafkaError.GROUP_AUTHORIZATION_FAILED: f"Describe on group {_GROUP}",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Describe on the cluster",
}
"""What whoever reads needs."""
_MOVING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError._UNKNOWN_PARTITION,  # some know a topic that was just made, and not yet all of it
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
}

T = TypeVar("T")


def cluster_name(client_config: ClientConfig) -> str:
    """Name a cluster in messages: by its bootstrap servers."""
    return str(client_config.get("bootstrap.servers", "(no bootstrap.servers)"))


def partition_count(client_config: ClientConfig, topic: str, *, settle: float = 2.0) -> int:
    """Say how many partitions a topic has; never creates it.

    Args:
        client_config: the cluster.
        topic: its name.
        settle: seconds to ask again for if it is not known: a broker may not yet have heard of a new topic.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    return _partition_count(admin_client(client_config), client_config, topic, settle)


def end_offsets(client_config: ClientConfig, topic: str, *, committed: bool = False) -> list[int]:
    """Return the high watermark of each partition: what comes later has this offset or a higher one.

    Args:
        client_config: the cluster.
        topic: its name.
        committed: up to the first transaction that is still open, instead.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    return _offsets(client_config, topic, LATEST, committed=committed)


def start_offsets(client_config: ClientConfig, topic: str) -> list[int]:
    """Return the lowest offset that is still there, for each partition.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    return _offsets(client_config, topic, EARLIEST)


def lowest_offsets(client_config: ClientConfig, topic: str, partition: int) -> list[int]:
    """Do as `start_offsets`, for a topic that has to have a partition with this number."""
    lows = start_offsets(client_config, topic)
    if partition >= len(lows):
        raise UnavailableError(f"topic {topic}", f"it has {len(lows)} partitions, expected partition {partition}")
    return lows


def offsets_for_time(client_config: ClientConfig, topic: str, since_ms: int) -> list[int]:
    """Return, for each partition, the offset before which every record is older than ``since_ms``.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    ends = end_offsets(client_config, topic)
    found = _offsets(client_config, topic, since_ms)
    # -1: nothing that young. The ends were taken before, so what arrives in between is after them.
    return [offset if offset >= 0 else end for offset, end in zip(found, ends, strict=True)]


def scan(
    client_config: ClientConfig,
    topic: str,
    start: Mapping[int, int] | None = None,
    *,
    end: Mapping[int, int] | None = None,
    batch: int = 2000,
    patience: float = PATIENCE,
) -> Iterator[list[Message]]:
    """Yield the committed records of a topic in batches, partitions mixed, each partition in order.

    Args:
        client_config: the cluster.
        topic: what to read.
        start: partition → first offset; those left out are read from their beginning; None: all are.
        end: partition → offset to stop before; only these partitions are read. None: all, to where they end now.
        batch: at most so many records at once.
        patience: seconds to wait without getting on, as behind a transaction that somebody left open.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer, or a transaction of somebody holds the end back for too long.
    """
    if end is None:
        end = dict(enumerate(end_offsets(client_config, topic)))
    first = dict(start or {})
    lows = lowest_offsets(client_config, topic, max(end, default=0))
    # A retained range may begin later than asked for; a partition without anything left in range is done at once.
    positions = {p: max(first.get(p, 0), lows[p]) for p in end}
    todo = {p: offset for p, offset in end.items() if positions[p] < offset}
    if not todo:
        return
    consumer = reader(client_config)
    try:
        consumer.assign([TopicPartition(topic, p, positions[p]) for p in todo])
        yield from _Scan(consumer, topic, todo, patience).batches(batch)
    finally:
        consumer.close()


def nothing_came(topic: str, partition: int, end: int, patience: float = PATIENCE) -> UnavailableError:
    """Make the error of a scan that does not get on."""
    return UnavailableError(
        f"partition {partition} of {topic}",
        f"nothing more could be read for {patience:.0f} s, short of its end at offset {end}: its leader is away, or "
        "somebody has left a transaction open",
    )


class _Scan:
    """One pass over the partitions that are assigned to a consumer."""

    def __init__(self, consumer: Consumer, topic: str, todo: dict[int, int], patience: float) -> None:
        self._consumer = consumer
        self._topic = topic
        self._todo = todo  # partition → offset to stop before, of those not yet read to there
        self._patience = patience

    def batches(self, size: int) -> Iterator[list[Message]]:
        deadline = time.monotonic() + self._patience
        while self._todo:
            remaining = len(self._todo)
            wanted = self._sort(self._consumer.consume(size, TAIL_WAIT))
            if wanted:
                yield wanted
            if wanted or len(self._todo) < remaining:
                deadline = time.monotonic() + self._patience  # the time the caller took is not the cluster's
            elif time.monotonic() > deadline:
                partition, end = next(iter(self._todo.items()))
                raise nothing_came(self._topic, partition, end, self._patience)

    def _sort(self, messages: list[Any]) -> list[Message]:
        """Pick the records in range, and take note of what is done."""
        todo = self._todo
        wanted: list[Message] = []
        done: set[int] = set()
        for message in messages:
            partition, offset, error = message.partition(), message.offset(), message.error()
            if error is None:
                end = todo.get(partition, 0)
                if offset < end:
                    wanted.append(message)
                if offset >= end - 1:
                    done.add(partition)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise_if_hopeless(error, self._topic)
            elif offset >= todo.get(partition, 0):
                done.add(partition)
        finished = [p for p in done if todo.pop(p, None) is not None]
        if finished and todo:
            self._consumer.pause([TopicPartition(self._topic, p) for p in finished])
        return wanted


def find_events(
    client_config: ClientConfig,
    topic: str,
    wanted: Set[Identity],
    span: Mapping[int, tuple[int, int]],
) -> dict[Identity, set[bytes | None]]:
    """Say which events, by source and id, are in a topic already.

    Only committed records count: what an aborted transaction left behind is not there.

    Args:
        client_config: the cluster.
        topic: where to look.
        wanted: the events in question.
        span: partition → the first offset to look at, and the one to stop before; only these partitions are read.

    Returns:
        Those that are there → the times of acceptance (``ce_time``) that they were found with. Once all are found,
        nothing more is read.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer in time.
    """
    found: dict[Identity, set[bytes | None]] = {}
    if not wanted or not span:
        return found
    ids = {event_id for _, event_id in wanted}
    start = {partition: first for partition, (first, _) in span.items()}
    end = {partition: last for partition, (_, last) in span.items()}
    for messages in scan(client_config, topic, start, end=end):
        for message in messages:
            headers = headers_of(message)
            if header(headers, "ce_id") in ids and (event := identity(headers)) in wanted:
                found.setdefault(event, set()).add(header(headers, "ce_time"))
        if len(found) == len(wanted):
            break
    return found


def reader(
    client_config: ClientConfig, *, reset: Literal["earliest", "error"] = "earliest", wait: float = 0.02
) -> Consumer:
    """Connect to read what is committed, of partitions that are assigned by hand.

    Args:
        client_config: the cluster.
        reset: what is done at a place that a partition no longer has: go on with what it still has, or say so.
        wait: seconds that it takes to hear that a partition has ended; brokers are asked again so often there. What
            comes meanwhile is heard of at once.
    """
    more = {"auto.offset.reset": reset, "fetch.wait.max.ms": int(1000 * wait)}
    return Consumer({**_reader_config(client_config), **more}, logger=_log)


def _reader_config(client_config: ClientConfig) -> dict[str, Any]:
    return {
        **client_config,
        "group.id": _GROUP,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "check.crcs": True,
        "fetch.wait.max.ms": 20,  # so long it takes to hear that a partition has ended
        # By default, whether there is room again is looked at after a second: so little lasts for less.
        "queued.max.messages.kbytes": AHEAD >> 10,
        "fetch.queue.backoff.ms": 20,
        "fetch.message.max.bytes": AT_ONCE,
    }


def admin_client(client_config: ClientConfig) -> AdminClient:
    """Connect as an administrator."""
    return AdminClient(dict(client_config), logger=_log)


def _partition_count(admin: AdminClient, client_config: ClientConfig, topic: str, settle: float = 2.0) -> int:
    def describe() -> int:
        future = admin.describe_topics(TopicCollection([topic]), request_timeout=_REQUEST_TIMEOUT)[topic]
        return len(future.result().partitions)

    return _settled(describe, client_config, topic, settle)


def _offsets(client_config: ClientConfig, topic: str, when: int, *, committed: bool = False) -> list[int]:
    count = partition_count(client_config, topic)
    wanted = [TopicPartition(topic, partition, when) for partition in range(count)]

    def ask() -> list[int]:
        # A new client each time: it asks anew who leads.
        found = ask_leaders(offset_reader(client_config, committed=committed), wanted)
        return [found[topic, partition] for partition in range(count)]

    return _settled(ask, client_config, topic, 2.0)


def offset_reader(client_config: ClientConfig, *, committed: bool = False) -> Consumer:
    """Connect for `ask_leaders`.

    Args:
        client_config: the cluster.
        committed: whether ends are those of what is committed. A read-committed answer stops at the first open
            transaction, and hides what lies behind it.
    """
    isolation = "read_committed" if committed else "read_uncommitted"
    return Consumer({**_reader_config(client_config), "isolation.level": isolation}, logger=_log)


def ask_leaders(
    reader: Consumer, wanted: Sequence[TopicPartition], timeout: float = _LEADER_TIMEOUT
) -> dict[tuple[str, int], int]:
    """Ask partitions' leaders for offsets: by topic and number; -1 only where there is nothing as young as asked for.

    Not by `AdminClient.list_offsets`: while a leader is away, that tries to connect to it thousands of times a second,
    and then answers for its partitions with -1001, without an error (confluent-kafka 2.16).

    Args:
        reader: made by `offset_reader`.
        wanted: partitions with a time in milliseconds since 1970 as their offset, or `LATEST`, or `EARLIEST`.
        timeout: seconds.

    Raises:
        KafkaException: a leader does not answer, or there is none.
    """
    least = {(asked.topic, asked.partition): 0 if asked.offset < 0 else -1 for asked in wanted}
    found: dict[tuple[str, int], int] = {}
    for answer in reader.offsets_for_times(list(wanted), timeout=timeout):
        place = (answer.topic, answer.partition)
        if answer.error is not None:
            raise KafkaException(answer.error)
        if answer.offset < least[place]:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        found[place] = answer.offset
    return found


def _settled(ask: Callable[[], T], client_config: ClientConfig, topic: str, unknown_for: float) -> T:
    """Ask until brokers agree: on leaders, which take some seconds to elect, and on new topics."""
    began = time.monotonic()
    while True:
        try:
            return ask()
        except KafkaException as exception:
            error = _typed(exception, client_config, topic)
            patience = unknown_for if isinstance(error, UnknownTopicError) else _ELECTION
            moving = isinstance(error, UnknownTopicError) or exception.args[0].code() in _MOVING
            if not moving or time.monotonic() - began >= patience:
                raise error from exception
        time.sleep(0.1)


def _typed(error: KafkaException, client_config: ClientConfig, topic: str) -> UnavailableError | UnknownTopicError:
    cause = error.args[0]
    if cause.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return UnknownTopicError(topic, cluster_name(client_config))
    return UnavailableError(f"Kafka {cluster_name(client_config)}", f"{topic}: {_reason(cause, topic)}")


def _reason(error: KafkaError, topic: str) -> str:
    """Say what went wrong; of what is forbidden, which right is missing."""
    right = _FORBIDDEN.get(error.code())
    if right is None:
        return error.str()
    needed = right.format(topic=topic)
    return f"{error.str()}; this principal needs {needed}: give it the ACLs of its role (`redrive security acls`)"


def raise_if_hopeless(error: KafkaError, topic: str) -> None:
    """Raise `UnavailableError` for what a reader is told that waiting does not mend."""
    if error.fatal() or error.code() in (
        *_FORBIDDEN,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._AUTHENTICATION,
    ):
        raise UnavailableError(f"topic {topic}", _reason(error, topic))
