"""An independent reader: a plain confluent-kafka consumer that knows nothing of Redrive but the event's id header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition


@dataclass(frozen=True, slots=True)
class Findings:
    """What is in a topic, beside what was acknowledged.

    Attributes:
        records: records in the topic.
        lost: rows that were acknowledged, and are not there.
        duplicated: records too many.
        out_of_order: records that stand after a later one of the same key.
        unknown: rows that are there, but were not acknowledged.
        returned: rows that Kafka itself acknowledged, and whose records are from after its return.
    """

    records: int
    lost: int
    duplicated: int
    out_of_order: int
    unknown: int
    returned: int


def read_back(bootstrap: str, topic: str, by_kafka: Iterable[int], by_store: Iterable[int], back: int) -> Findings:
    """Read a topic from its beginning to its end, as consumers that read committed see it.

    Args:
        bootstrap: brokers.
        topic: what to read.
        by_kafka: rows that Kafka acknowledged.
        by_store: rows that the standby store acknowledged.
        back: when Kafka was back, milliseconds since 1970. A record's time is that of its publishing.
    """
    direct = set(by_kafka)
    times: dict[int, int] = {}
    latest: dict[bytes, int] = {}
    records = out_of_order = returned = 0
    for key, event_id, published in _records(bootstrap, topic):
        records += 1
        row = int(event_id.removeprefix(b"flight-"))
        times[row] = times.get(row, 0) + 1
        returned += published >= back and row in direct
        if key is not None:
            out_of_order += row < latest.get(key, -1)
            latest[key] = max(row, latest.get(key, -1))
    wanted = direct.union(by_store)
    return Findings(
        records=records,
        lost=len(wanted - times.keys()),
        duplicated=records - len(times),
        out_of_order=out_of_order,
        unknown=len(times.keys() - wanted),
        returned=returned,
    )


def count_rows(bootstrap: str, topic: str, rows: Iterable[int]) -> dict[int, int]:
    """Return how often each of some rows is in a topic."""
    times = dict.fromkeys(rows, 0)
    for _, event_id, _ in _records(bootstrap, topic):
        row = int(event_id.removeprefix(b"flight-"))
        if row in times:
            times[row] += 1
    return times


def topic_ids(bootstrap: str, topic: str) -> set[bytes]:
    """Return the event ids in a topic."""
    return {event_id for _, event_id, _ in _records(bootstrap, topic)}


def _records(bootstrap: str, topic: str) -> Iterator[tuple[bytes | None, bytes, int]]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "independent-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    ended: set[int] = set()
    while len(ended) < len(partitions):
        for message in consumer.consume(10_000, 0.2):
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                ended.add(message.partition() or 0)
                continue
            event_id = dict(message.headers() or [])["ce_id"]
            assert isinstance(event_id, bytes)
            yield message.key(), event_id, message.timestamp()[1]
    consumer.close()
