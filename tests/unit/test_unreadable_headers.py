"""A header's name that is not UTF-8, which Kafka takes and confluent-kafka does not give, stops nothing around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from redrive.avro.schema import parse
from redrive.coding import Reader
from redrive.consumer import EventConsumer
from redrive.deadletters.correction.batch import Wanted
from redrive.deadletters.correction.order_guard import MainTopic
from redrive.deadletters.dialects import Record, sight
from redrive.deadletters.judging.judge import LOSSY, Judge
from redrive.deadletters.opening import open_letter
from redrive.deadletters.reading import read_records
from redrive.events import UNREADABLE, headers_of
from redrive.pump import readback
from redrive.pump.evidence import Evidence
from redrive.pump.proof import prove
from redrive.received import ReceivedEvent
from redrive.schemas import SchemaRegistry
from tests.unit.mock_kafka import MockKafka
from tests.unit.one_cluster import one_cluster

BAD = (b"bad\xff\xfe", b"v")
GOOD = (b"good", b"v")


@pytest.fixture
def client(mock_kafka: MockKafka) -> dict[str, str]:
    return {"bootstrap.servers": mock_kafka.bootstrap}


def letters(client: dict[str, str], topic: str, count: int) -> list[Record]:
    return [record for some in read_records(client, "local", topic, {0: 0}, {0: count}) for record in some]


def test_such_a_letter_is_unknown_and_can_t_be_corrected_and_those_around_it_are_read(
    mock_kafka: MockKafka, client: dict[str, str]
) -> None:
    for header in (GOOD, BAD, GOOD):
        mock_kafka.produce("dlq.shop", b"k", b"hello", header)
    seen = [sight(record) for record in letters(client, "dlq.shop", 3)]
    assert [(each.offset, each.dialect, each.correctable) for each in seen] == [
        (0, "unknown", True),
        (1, "unknown", False),
        (2, "unknown", True),
    ]
    judge = Judge(None, {}, _reader(), attempts=3)
    assert judge.judge(letters(client, "dlq.shop", 3)[1], "o").reason == LOSSY


def test_such_an_event_counts_for_the_order_guard_and_is_none_of_a_proof_s_business(
    mock_kafka: MockKafka, client: dict[str, str]
) -> None:
    mock_kafka.produce("orders", b"k", b"v", BAD)
    topic = MainTopic(client, "orders", Wanted({b"k"}, readback.EARLIEST))
    topic.read_on()
    assert topic.newest.keys() == {b"k"}
    assert prove(client, {"unit": {"orders": Evidence()}}, operation="op").verdict == "proved"


def test_it_stays_so_however_often_headers_are_asked_for(mock_kafka: MockKafka, client: dict[str, str]) -> None:
    """confluent-kafka fails with a broken list in its hand, which crashes who gets it."""
    for header in [GOOD] * 100 + [BAD]:
        mock_kafka.produce("orders", b"k", b"v", header)
    messages = [each for some in readback.scan(client, "orders", end={0: 101}) for each in some]
    for _ in range(3):
        assert [headers_of(each) for each in messages] == [[("good", b"v")]] * 100 + [[UNREADABLE]]


def test_a_consumer_dead_letters_such_an_event_and_goes_on(
    mock_kafka: MockKafka, client: dict[str, str], tmp_path: Path
) -> None:
    for key, header in ((b"1", GOOD), (b"2", BAD), (b"3", GOOD)):
        mock_kafka.produce("orders", key, None, header)
    config = one_cluster(tmp_path, "orders", "dlq.billing", bootstrap=mock_kafka.bootstrap)
    handled: list[bytes | None] = []

    def handle(event: ReceivedEvent) -> None:
        handled.append(event.key)
        if event.key == b"3":
            consumer.stop()

    with EventConsumer("billing", config, ["orders"]) as consumer:
        consumer.run(handle, idle=15)
        assert consumer.counts["dead_lettered"] == 1
    assert handled == [b"1", b"3"]
    ends = dict(enumerate(readback.end_offsets(client, "dlq.billing")))
    records = [record for some in read_records(client, "local", "dlq.billing", {}, ends) for record in some]
    assert [record.key for record in records] == [b"2"]
    assert (sight(records[0]).dialect, sight(records[0]).reason) == ("own", "unreadable-headers")
    assert not sight(records[0]).correctable
    assert not open_letter(records[0]).lossless


def _reader() -> Reader:
    registry = SchemaRegistry({"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0})
    registry._schemas[7] = parse('"string"')
    return registry.reader()
