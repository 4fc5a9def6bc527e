"""Reading dead-letter topics, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from redrive.deadletters.dialects import Record
from redrive.events import Headers
from redrive.pump.readback import ClientConfig, scan


def read_records(
    client_config: ClientConfig, cluster: str, topic: str, start: Mapping[int, int], end: Mapping[int, int]
) -> Iterator[list[Record]]:
    """Yield what is committed of a dead-letter topic in batches, each partition in order.

    Args:
        client_config: the cluster.
        cluster: its name.
        topic: the dead-letter topic.
        start: partition → first offset.
        end: partition → offset to stop before; only these partitions are read.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    for messages in scan(client_config, topic, start, end=end):
        yield _records(cluster, topic, messages)


def _records(cluster: str, topic: str, messages: Sequence[Message]) -> list[Record]:
    return [
        Record(
            cluster,
            topic,
            cast(int, message.partition()),
            cast(int, message.offset()),
            0 if message.timestamp()[0] == TIMESTAMP_NOT_AVAILABLE else message.timestamp()[1],
            cast("Headers | None", message.headers()),
            message.key(),
            message.value(),
        )
        for message in messages
    ]
