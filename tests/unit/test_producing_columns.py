"""Columns are produced to what producing their events one by one writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from redrive.columnar.events import EventColumns, Joined
from redrive.columnar.librdkafka import handle
from redrive.columnar.writing import produce
from redrive.errors import RefusedError, UnavailableError
from redrive.events import Event, Headers, headers_of
from redrive.pump import sink as sink_module
from redrive.pump.cursors import Saved, cursor_partition
from redrive.pump.limits import Limits
from redrive.pump.names import OPERATION_HEADER, SOURCE_HEADER
from redrive.pump.sink import TransactionalSink
from tests.columnar import event_columns
from tests.unit.mock_kafka import PARTITIONS, MockKafka

ORIGINS = "backfill/one/orders/orders.v2/1/events/%d/0"
OPERATION = OPERATION_HEADER, b"an operation"
BY_EVENTS, BY_COLUMNS = 0, 1
Connect = Callable[..., Producer]
UNIT = next(f"unit-{number}" for number in range(99) if cursor_partition(f"unit-{number}") < PARTITIONS)


@pytest.fixture
def client(mock_kafka: MockKafka) -> dict[str, Any]:
    return {"bootstrap.servers": mock_kafka.bootstrap}


@pytest.fixture
def connect(client: dict[str, Any]) -> Iterator[Connect]:
    """Makes producers, which end before the cluster does."""
    with ExitStack() as stack:

        def connected(**settings: Any) -> Producer:
            return stack.enter_context(closing(Producer({**client, **settings})))

        yield connected


@pytest.fixture
def sink(client: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[TransactionalSink]:
    """The sink, on a cluster that knows nothing of topics' settings."""
    monkeypatch.setattr(sink_module, "ensure_topic", lambda *_: None)
    monkeypatch.setattr(sink_module, "limits_of", lambda *_: Limits())
    monkeypatch.setattr(TransactionalSink, "_saved", lambda self: Saved(None, self._owner))
    sink = TransactionalSink(client, UNIT, operation="an operation", tuning={"queue.buffering.max.messages": 150})
    sink.start()
    yield sink
    sink.close()


def event(
    offset: int, value: bytes | None = b"v", key: bytes | None = b"k", headers: Headers | None = None, when: int = 1000
) -> Event:
    origin = ORIGINS % offset
    return Event(origin, "orders.v2", key, value, headers or [], when, BY_COLUMNS, origin)


def columns(events: Sequence[Event]) -> EventColumns:
    return event_columns(events, "orders.v2", BY_COLUMNS, ORIGINS)


def written(client: dict[str, Any], partition: int) -> list[Any]:
    # The mock cluster says nothing of where transactions end: who reads only what is committed waits for ever.
    settings = {"group.id": "g", "isolation.level": "read_uncommitted", "enable.partition.eof": True}
    found: list[Message] = []
    with closing(Consumer({**client, **settings})) as consumer:
        consumer.assign([TopicPartition("orders.v2", partition, 0)])
        while not found or found[-1].error() is None:
            found += consumer.consume(1, 10)
    assert found.pop().error().code() == KafkaError._PARTITION_EOF  # type: ignore[union-attr]
    return [(each.timestamp(), each.key(), each.value(), headers_of(each)) for each in found]


def is_written_alike(client: dict[str, Any], producer: Producer, events: Sequence[Event]) -> list[Any]:
    """Write events both ways; returns what was written."""
    for each in events:
        headers = [*each.headers, OPERATION, (SOURCE_HEADER, each.origin)]
        producer.produce(
            each.topic, each.value, each.key, BY_EVENTS, timestamp=each.timestamp, headers=headers
        )  # fmt: skip
    assert produce(producer, columns(events), 0, operation=OPERATION, source=SOURCE_HEADER) == (len(events), 0)
    assert producer.flush(10) == 0
    found = written(client, BY_COLUMNS)
    assert found == written(client, BY_EVENTS)
    return found


def test_values_of_all_sizes_are_written_as_one_by_one(client: dict[str, Any], connect: Connect) -> None:
    # The room for arguments was freed once while librdkafka read it: whether that shows depends on what is freed when.
    events = [event(size, b"%d" % (size % 10) * size, b"k" * (size % 50)) for size in range(1025)]
    assert [value for _, _, value, _ in is_written_alike(client, connect(), events)] == [each.value for each in events]


def test_keys_values_headers_and_times_are_written_as_one_by_one(client: dict[str, Any], connect: Connect) -> None:
    found = is_written_alike(
        client,
        connect(),
        [
            event(0, None, None),
            event(1, b"", b""),
            event(2, b"v" * 70_000, b"k" * 70_000, when=1),
            event(3, headers=[("none", None), ("empty", b""), ("größe", b"\xff\x00"), ("none", b"")], when=1 << 45),
            *(event(count, headers=[(f"h{n}", b"%d" % n) for n in range(count)]) for count in (13, 14, 15, 16, 20)),
            event(2**62, headers=[("n" * size, b"x" * size) for size in (31, 32, 255, 256, 65_535, 65_536)]),
        ],
    )
    assert [(key, value) for _, key, value, _ in found[:2]] == [(None, None), (b"", b"")]
    assert found[3] == (
        (1, 1 << 45), b"k", b"v",
        [
            ("none", None), ("empty", b""), ("größe", b"\xff\x00"), ("none", b""),
            OPERATION, (SOURCE_HEADER, (ORIGINS % 3).encode()),
        ],
    )  # fmt: skip


def test_it_stops_at_a_full_queue_and_goes_on_from_there(client: dict[str, Any], connect: Connect) -> None:
    producer = connect(**{"queue.buffering.max.messages": 5, "linger.ms": 60_000})
    events = columns([event(number, b"%d" % number) for number in range(12)])
    done, code = produce(producer, events, 0, operation=OPERATION, source=SOURCE_HEADER)
    assert (done, code) == (5, KafkaError._QUEUE_FULL)
    assert produce(producer, events, done, operation=OPERATION, source=SOURCE_HEADER) == (5, KafkaError._QUEUE_FULL)
    producer.flush(10)
    done, code = produce(producer, events, done, operation=OPERATION, source=SOURCE_HEADER)
    assert (done, code) == (10, KafkaError._QUEUE_FULL)
    producer.flush(10)
    assert produce(producer, events, done, operation=OPERATION, source=SOURCE_HEADER) == (12, 0)
    assert producer.flush(10) == 0
    assert [value for _, _, value, _ in written(client, BY_COLUMNS)] == [b"%d" % number for number in range(12)]


def test_one_that_is_too_large_is_named_by_its_number(client: dict[str, Any], connect: Connect) -> None:
    producer = connect(**{"message.max.bytes": 2000})
    events = columns([event(number, b"v" * (5000 if number in {3, 4} else 5)) for number in range(6)])
    for at in (3, 4):
        stopped = produce(producer, events, at if at == 4 else 0, operation=OPERATION, source=SOURCE_HEADER)
        assert stopped == (at, KafkaError.MSG_SIZE_TOO_LARGE)
    assert produce(producer, events, 5, operation=OPERATION, source=SOURCE_HEADER) == (6, 0)
    assert produce(producer, events, 6, operation=OPERATION, source=SOURCE_HEADER) == (6, 0)
    assert producer.flush(10) == 0
    assert [headers[-1][1] for _, _, _, headers in written(client, BY_COLUMNS)] == [
        (ORIGINS % number).encode() for number in (0, 1, 2, 5)
    ]


def test_a_closed_producer_is_told_from_one_that_can_be_used(client: dict[str, Any]) -> None:
    producer = Producer(client)
    assert handle(producer)
    producer.close()
    with pytest.raises(UnavailableError, match="its client is closed"):
        produce(producer, columns([event(0)]), 0, operation=OPERATION, source=SOURCE_HEADER)


def chunk() -> tuple[list[Event], Joined]:
    """Make more events than the sink's client keeps: some as columns, some in lists."""
    events = [event(number, b"%d" % number, headers=[("h", b"v")]) for number in range(200)]
    together = Joined()
    for first, last in ((0, 90), (90, 95), (95, 100), (100, 101), (101, 200)):
        some = events[first:last]
        together.add(some if len(some) < 10 else columns(some))
    return events, together


def test_the_sink_commits_columns_and_lists_in_their_order(
    client: dict[str, Any], sink: TransactionalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[tuple[int, int]] = []

    def heard(*given: Any, **more: Any) -> tuple[int, int]:
        stops.append(produce(*given, **more))
        return stops[-1]

    monkeypatch.setattr("redrive.columnar.writing.produce", heard)
    events, together = chunk()
    sink.commit(together, b"cursor")
    assert (stops[0], stops[-1]) == ((90, 0), (99, 0))
    assert KafkaError._QUEUE_FULL in {code for _, code in stops}
    sink.commit(together[85:105], b"later")
    assert [(when, key, value, headers) for (_, when), key, value, headers in written(client, BY_COLUMNS)] == [
        (each.timestamp, each.key, each.value, [*each.headers, OPERATION, (SOURCE_HEADER, each.origin.encode())])
        for each in [*events, *events[85:105]]
    ]


def test_the_sink_says_which_of_all_are_too_large_and_commits_none(
    client: dict[str, Any], sink: TransactionalSink
) -> None:
    sink._tuning["message.max.bytes"] = 2000
    sink._tuning["batch.size"] = sink._batch_size = 2000
    sink.start()
    events, together = chunk()
    large = {7, 89, 92, 150}
    for number in large:
        events[number] = event(number, b"v" * 5000)
    together = Joined()
    for some in (columns(events[:90]), events[90:100], columns(events[100:])):
        together.add(some)
    with pytest.raises(RefusedError) as refused:
        sink.commit(together, b"cursor")
    assert refused.value.refused.keys() == large
    assert {reason.split(":")[0] for reason in refused.value.refused.values()} == {"MSG_SIZE_TOO_LARGE"}
    sink.commit([each for number, each in enumerate(together) if number not in large], b"cursor")
    kept = [each.value for number, each in enumerate(events) if number not in large]
    assert [value for _, _, value, _ in written(client, BY_COLUMNS)[-len(kept) :]] == kept
