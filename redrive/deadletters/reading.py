"""Reading dead-letter topics, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from redrive.deadletters.dialects import Record, Sighting, sight
from redrive.deadletters.letter_id import LetterId, kafka_topic
from redrive.events import headers_of
from redrive.pump.readback import ClientConfig, end_offsets, scan


def read_records(
    client_config: ClientConfig, cluster: str, topic: str, start: Mapping[int, int], end: Mapping[int, int]
) -> Iterator[Iterator[Record]]:
    """Yield what is committed of a dead-letter topic in batches, each partition in order.

    A record is made when its batch is asked for it: so only what is kept of it takes memory.

    Args:
        client_config: the cluster.
        cluster: its name.
        topic: the dead-letter topic, as the ledger names it; so do the records.
        start: partition → first offset.
        end: partition → offset to stop before; only these partitions are read.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    for messages in scan(client_config, kafka_topic(topic), start, end=end):
        yield _records(cluster, topic, messages)


def read_record(client_config: ClientConfig, letter: LetterId, *, patience: float = 10.0) -> Record | None:
    """Read one letter; None if its topic no longer has it.

    Args:
        client_config: the cluster.
        letter: which one, with its cluster.
        patience: seconds to wait for it, as behind a transaction that somebody left open.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    cluster, topic, partition, offset = letter
    name = kafka_topic(topic)
    ends = end_offsets(client_config, name)
    if partition >= len(ends) or offset >= ends[partition]:
        return None  # of a topic of the same name that is gone
    for messages in scan(client_config, name, {partition: offset}, end={partition: offset + 1}, patience=patience):
        return next(_records(cluster or "", topic, messages))
    return None


def still_is(record: Record, seen: Sighting) -> bool:
    """Say whether a record is the letter that was seen, and not one of a later topic of the same name."""
    now = sight(record)
    return all(getattr(now, name) == getattr(seen, name) for name in ("timestamp", "event_id", "size"))


def _records(cluster: str, topic: str, messages: Iterable[Any]) -> Iterator[Record]:
    for message in messages:  # of confluent_kafka's Message
        known, timestamp = message.timestamp()
        yield Record(
            cluster,
            topic,
            message.partition(),
            message.offset(),
            0 if known == TIMESTAMP_NOT_AVAILABLE else timestamp,
            headers_of(message),
            message.key(),
            message.value(),
        )
