"""Dead letters that no triage has read: how many there are, by offsets alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from confluent_kafka import KafkaException, TopicPartition

from redrive.deadletters.triage import read_to
from redrive.errors import UnavailableError
from redrive.ledger.letters import Letters
from redrive.pump.readback import (
    EARLIEST,
    LATEST,
    ClientConfig,
    admin_client,
    ask_leaders,
    cluster_name,
    offset_reader,
)


def unread_letters(
    client_config: ClientConfig, cluster: str, topics: Collection[str], letters: Letters, timeout: float
) -> dict[str, int]:
    """Say how many letters there are at most that no triage has read, by dead-letter topic; none: left out.

    All topics are asked about at once, and no record is read. Topics that are not there, and partitions without a
    leader, are left out; so are those that end before the ledger's position, which triage leaves alone, too.

    Args:
        client_config: the cluster.
        cluster: its name.
        topics: dead-letter topics.
        letters: the ledger's.
        timeout: seconds for each of three questions to the cluster.

    Raises:
        UnavailableError: the cluster or the ledger does not answer.
    """
    known = {place: at for place, (_, at) in read_to(letters, cluster).items()}
    try:
        there = admin_client(client_config).list_topics(timeout=timeout).topics
        places = [
            (topic, number)
            for topic in sorted(topics)
            if topic in there
            for number, partition in there[topic].partitions.items()
            if partition.leader >= 0
        ]
        if not places:
            return {}
        reader = offset_reader(client_config)
        lows, ends = (
            ask_leaders(reader, [TopicPartition(*place, when) for place in places], timeout)
            for when in (EARLIEST, LATEST)
        )
    except KafkaException as error:
        named = f"Kafka {cluster_name(client_config)}"
        raise UnavailableError(named, f"ends of dead-letter topics: {error.args[0].str()}") from error
    found = Counter[str]()
    for topic, number in places:
        at = known.get((topic, number), 0)
        found[topic] += max(0, ends[topic, number] - max(at, lows[topic, number]))
    return {topic: letters for topic, letters in found.items() if letters}
