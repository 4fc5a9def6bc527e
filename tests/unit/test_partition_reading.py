"""What is read of a partition by columns is what messages say: records, where it ends, what went wrong."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer, TopicPartition

from redrive.columnar import librdkafka
from redrive.columnar.librdkafka import usable
from redrive.columnar.loops import MARKED, ODD
from redrive.columnar.reading import PartitionQueue
from redrive.columnar.records import Record, Records
from redrive.errors import UnavailableError
from redrive.events import UNREADABLE, headers_of
from redrive.pump import partition_reading as reading_module
from redrive.pump.names import SOURCE_HEADER
from redrive.pump.partition_reading import PartitionReading, partition_reading, scan_partition
from redrive.pump.readback import reader
from tests.unit.mock_kafka import MockKafka

BACK = b"backfill/one/orders.v2/orders/0/"
BOTH_WAYS = pytest.mark.parametrize("by_columns", [True, False], ids=["columns", "messages"])
ODD_RECORDS: list[dict[str, Any]] = [
    {"key": None, "value": None},
    {"key": b"", "value": b""},
    {"key": b"k", "value": b"v" * 70_000, "timestamp": 1},
    {"key": b"k" * 70_000, "value": b"v", "timestamp": 1_700_000_000_000},
    {"headers": [("none", None), ("empty", b""), ("none", b"\x00\xff")]},
    {"headers": [(f"h{number}", b"%d" % number) for number in range(20)]},
    {"headers": [("h", b"v")] * 15},
    {"headers": [("h", b"v")] * 16},
    {"headers": [("größe", b"1"), ("", b"no name")]},
    {"headers": [("n" * size, b"x" * size) for size in (31, 32, 255, 256, 65_535, 65_536)]},
]


@pytest.fixture
def client(mock_kafka: MockKafka) -> dict[str, str]:
    return {"bootstrap.servers": mock_kafka.bootstrap}


def publish(client: dict[str, str], records: Iterable[dict[str, Any]]) -> None:
    """Write records to partition 0 of the topic, as few batches."""
    producer = Producer({**client, "linger.ms": 200})
    for record in records:
        producer.produce("orders", partition=0, **record)
    assert producer.flush(10) == 0


def facts(record: Message | Record) -> Any:
    return record.offset(), record.timestamp(), record.key(), record.value(), headers_of(record)


def scanned(client: dict[str, str], first: int, end: int, *, by_columns: bool) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_module, "usable", lambda: by_columns)
        blocks = [*scan_partition(client, "orders", 0, first, end, back=BACK)]
    assert all(isinstance(block, Records) == by_columns for block in blocks)
    return [facts(record) for block in blocks for record in block]


def some(reading: PartitionReading, count: int, end: int | None = None) -> tuple[list[int], int]:
    """Read so many records; returns their offsets, and where it stands then."""
    found: list[int] = []
    at, deadline = 0, time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline
        records, at, lost = reading.read(at, end, 0.1)
        assert not lost
        found += [record.offset() or 0 for record in records]
    return found, at


def test_records_are_the_same_as_by_messages(client: dict[str, str]) -> None:
    publish(client, ODD_RECORDS)
    records = scanned(client, 0, len(ODD_RECORDS), by_columns=True)
    assert records == scanned(client, 0, len(ODD_RECORDS), by_columns=False)
    assert [record[0] for record in records] == [*range(len(ODD_RECORDS))]
    assert [record[2:4] for record in records[:2]] == [(None, None), (b"", b"")]
    assert records[2][1] == (1, 1)
    assert [record[4] for record in records[4:]] == [record["headers"] for record in ODD_RECORDS[4:]]


def test_headers_with_a_name_that_is_not_utf_8_can_t_be_read_either_way(
    mock_kafka: MockKafka, client: dict[str, str]
) -> None:
    for name in (b"good", b"bad\xff\xfe", "gr\u00f6\u00dfe".encode(), b"surrogate\xed\xa0\x80"):
        mock_kafka.produce("orders", b"k", b"v", (b"first", b"1"), (name, b"v"))
    records = scanned(client, 0, 4, by_columns=True)
    assert records == scanned(client, 0, 4, by_columns=False)
    good = [[("first", b"1"), (name, b"v")] for name in ("good", "größe")]
    assert [record[4] for record in records] == [good[0], [UNREADABLE], good[1], [UNREADABLE]]


@BOTH_WAYS
@pytest.mark.parametrize(("first", "end"), [(0, 1), (7, 13), (19, 20), (0, 20), (20, 20), (5, 5)])
def test_an_end_may_be_within_a_batch(client: dict[str, str], first: int, end: int, *, by_columns: bool) -> None:
    publish(client, ({"value": b"%d" % number} for number in range(20)))
    assert [record[0] for record in scanned(client, first, end, by_columns=by_columns)] == [*range(first, end)]


@BOTH_WAYS
def test_where_it_stands_is_behind_what_was_read_and_at_the_end_it_was_given(
    client: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, by_columns: bool
) -> None:
    monkeypatch.setattr(reading_module, "usable", lambda: by_columns)
    publish(client, [{"value": b"v"}] * 10)
    with closing(reader(client)) as consumer, closing(partition_reading(consumer, "orders", 0, BACK)) as reading:
        reading.assign(2)
        assert some(reading, 8) == ([*range(2, 10)], 10)
        assert reading.read(10, None, 0.3)[1:] == (10, False)
        reading.assign(1)  # as after its place was gone
        assert some(reading, 9) == ([*range(1, 10)], 10)
        reading.assign(0)
        assert some(reading, 4, end=4) == ([*range(4)], 4)


@BOTH_WAYS
def test_what_was_read_ahead_is_forgotten_when_it_is_to_go_on_elsewhere(
    client: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, by_columns: bool
) -> None:
    monkeypatch.setattr(reading_module, "usable", lambda: by_columns)
    publish(client, ({"value": b"%d" % number} for number in range(3 * reading_module.BATCH)))
    with closing(reader(client)) as consumer, closing(partition_reading(consumer, "orders", 0, BACK)) as reading:
        for first in (0, 10, 4 * reading_module.BATCH // 3, 5):
            reading.assign(first)
            found, at = some(reading, 20)
            assert found == [*range(first, at)]


@BOTH_WAYS
def test_a_place_that_is_gone_is_said(
    client: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, by_columns: bool
) -> None:
    monkeypatch.setattr(reading_module, "usable", lambda: by_columns)
    publish(client, [{"value": b"v"}] * 3)
    consumer = reader(client, reset="error")
    with closing(consumer), closing(partition_reading(consumer, "orders", 0, BACK)) as reading:
        reading.assign(50)
        deadline, lost = time.monotonic() + 10, False
        while not lost:
            assert time.monotonic() < deadline
            records, at, lost = reading.read(50, None, 0.1)
            assert ([*records], at) == ([], 50)
        reading.assign(1)
        assert some(reading, 2) == ([1, 2], 3)


@BOTH_WAYS
def test_the_end_of_a_partition_is_heard(
    client: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, by_columns: bool
) -> None:
    monkeypatch.setattr(reading_module, "usable", lambda: by_columns)
    publish(client, [{"value": b"v"}] * 3)
    with closing(reader(client)) as consumer, closing(partition_reading(consumer, "orders", 0, BACK)) as reading:
        reading.assign(3)
        at, deadline = 0, time.monotonic() + 10
        while at < 3:
            assert time.monotonic() < deadline
            records, at, lost = reading.read(at, None, 0.1)
            assert ([*records], lost) == ([], False)
        assert at == 3


def test_the_end_of_a_partition_comes_with_its_offset(client: dict[str, str]) -> None:
    publish(client, [{"value": b"v"}] * 3)
    mark = SOURCE_HEADER, BACK
    with closing(reader(client)) as consumer, closing(PartitionQueue(consumer, "orders", 0, mark)) as queue:
        consumer.assign([TopicPartition("orders", 0, 1)])
        read, deadline = 0, time.monotonic() + 10
        heard: list[tuple[int, int]] = []
        while not heard:
            assert time.monotonic() < deadline
            found, heard = queue.take(10, 0.1)
            read += len(found)
    assert (read, heard[0]) == (2, (KafkaError._PARTITION_EOF, 3))


def test_records_are_marked_by_their_last_header(mock_kafka: MockKafka, client: dict[str, str]) -> None:
    source, mine, others = SOURCE_HEADER.encode(), BACK + b"events/7/0", b"backfill/one/else/orders/0/events/7/0"
    given: list[tuple[int, list[tuple[bytes, bytes]]]] = [
        (0, []),
        (0, [(b"h", b"v")]),
        (MARKED, [(source, mine)]),
        (MARKED, [(b"h", b"v"), (source, mine)]),
        (MARKED, [(source, others), (source, BACK)]),
        (0, [(source, mine), (b"h", b"v")]),
        (0, [(source, others)]),
        (0, [(source, BACK[:-1])]),
        (0, [(source[:-1], mine), (source + b"s", mine)]),
        (ODD, [("ä".encode(), b"v")]),
        (ODD, [(b"\xff", b"v"), (b"h", b"v")]),
        (ODD | MARKED, [(b"\xff", b"v"), (source, mine)]),
    ]
    for _, headers in given:
        mock_kafka.produce("orders", b"k", b"v", *headers)
    blocks = scan_partition(client, "orders", 0, 0, len(given), back=BACK)
    special = [each for block in blocks if isinstance(block, Records) for each in block.special.tolist()]
    assert special == [each for each, _ in given]


def test_a_consumer_that_was_closed_is_not_read(client: dict[str, str]) -> None:
    consumer = reader(client)
    reading = partition_reading(consumer, "orders", 0, BACK)
    consumer.close()
    with pytest.raises(UnavailableError, match="its client is closed"):
        reading.assign(0)
    reading.close()


def test_a_queue_that_was_closed_is_not_read(client: dict[str, str]) -> None:
    with closing(reader(client)) as consumer:
        queue = PartitionQueue(consumer, "orders", 0, (SOURCE_HEADER, BACK))
        queue.close()
        with pytest.raises(UnavailableError, match="what reads this partition is closed"):
            queue.take(1, 0)
        queue.close()


def test_what_compiled_loops_misread_is_noticed_and_read_by_messages(
    client: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish(client, [{"key": b"k%d" % number, "value": b"v"} for number in range(10)])
    take = PartitionQueue.take

    def misread(self: PartitionQueue, most: int, timeout: float) -> Any:
        found, errors = take(self, most, timeout)
        return replace(found, keys=found.values), errors

    monkeypatch.setattr(PartitionQueue, "take", misread)
    monkeypatch.setattr(librdkafka, "_distrusted", [])
    keys = [record.key() for block in scan_partition(client, "orders", 0, 0, 10) for record in block]
    assert keys == [b"k%d" % number for number in range(10)]
    assert "what they read of orders/0 from offset 0 on is not what is there" in caplog.text
    assert not usable()
