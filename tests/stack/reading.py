"""What tests read back, with a client of confluent-kafka's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition


def read_whole(client: Mapping[str, Any], topic: str) -> list[Message]:
    """Read what is committed of a topic by now, each partition in order.

    Args:
        client: what confluent-kafka needs to connect.
        topic: the topic.
    """
    config = {"group.id": "reader", "enable.partition.eof": True, "enable.auto.commit": False}
    reader = Consumer({**client, **config, "auto.offset.reset": "earliest"})
    partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
    reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    messages, ends = [], 0
    while ends < len(partitions):
        message = reader.poll(15)
        assert message is not None, f"{topic} does not end"
        error = message.error()
        if error is None:
            messages.append(message)
        else:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ends += 1
    reader.close()
    return messages
