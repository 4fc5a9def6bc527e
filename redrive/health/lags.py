"""How far behind consumer groups are."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from redrive.config import Cluster
from redrive.errors import UnavailableError
from redrive.health.facts import Lag
from redrive.partitions.state import Key
from redrive.pump.group_admin import GroupAdmin
from redrive.pump.readback import LATEST, ask_leaders, cluster_name, offset_reader

MOST_GROUPS = 500
"""So many groups are asked about, the first by name; each is a request of its own."""


class Lags(NamedTuple):
    """How far behind groups are.

    Attributes:
        groups: those that have committed offsets, those furthest behind first.
        unasked: how many groups there are beyond `MOST_GROUPS`; the one furthest behind may be among them.
    """

    groups: tuple[Lag, ...]
    unasked: int


class Committed(NamedTuple):
    """What groups have committed.

    Attributes:
        offsets: of each partition, those of all groups together.
        unasked: as of `Lags`.
    """

    offsets: dict[Key, int]
    unasked: int


def read_lags(cluster: Cluster, timeout: float) -> Lags:
    """Give each group that has committed offsets, those furthest behind first.

    Ends are those of what is committed, since that is what consumers see. Partitions without a leader, which can't say
    where they end, and those of deleted topics don't count.

    Raises:
        UnavailableError: the cluster does not answer in time, or refuses to say.
    """
    client = cluster.client_config()
    groups, named = GroupAdmin(client), f"Kafka {cluster_name(client)}"
    try:
        committed, unasked = _committed_by_group(groups, timeout)
        if not committed:
            return Lags((), unasked)
        with groups.asking():
            described = groups.client.describe_consumer_groups(list(committed), request_timeout=timeout)
            members = {name: len(future.result().members) for name, future in described.items()}
            topics = groups.client.list_topics(timeout=timeout).topics
        led = {(topic, number) for topic, about in topics.items() for number, partition in about.partitions.items()
               if partition.leader >= 0}  # fmt: skip
        places = {place for offsets in committed.values() for place in offsets} & led
        wanted = [TopicPartition(*place, LATEST) for place in sorted(places)]
        ends = ask_leaders(offset_reader(client, committed=True), wanted, timeout) if wanted else {}
        found = [
            Lag(
                name,
                sum(max(0, ends[place] - offset) for place, offset in offsets.items() if place in ends),
                len({topic for topic, _ in offsets}),
                members[name],
            )
            for name, offsets in committed.items()
            if offsets
        ]
    except KafkaException as error:
        raise UnavailableError(named, f"lag of consumer groups: {error.args[0].str()}") from error
    return Lags(tuple(sorted(found, key=lambda lag: (-lag.events, lag.group))), unasked)


def read_committed(cluster: Cluster, timeout: float) -> Committed:
    """Give for each partition the offsets that groups have committed, those of all groups together.

    Of two looks the difference is what was consumed in between, an event by each group once.

    Raises:
        UnavailableError: the cluster does not answer in time, or refuses to say.
    """
    client = cluster.client_config()
    found = Counter[Key]()
    try:
        by_group, unasked = _committed_by_group(GroupAdmin(client), timeout)
    except KafkaException as error:
        named = f"Kafka {cluster_name(client)}"
        raise UnavailableError(named, f"offsets of consumer groups: {error.args[0].str()}") from error
    for offsets in by_group.values():
        found.update(offsets)
    return Committed(dict(found), unasked)


def _committed_by_group(groups: GroupAdmin, timeout: float) -> tuple[dict[str, dict[Key, int]], int]:
    """Give what each group has committed, and how many groups were not asked about."""
    with groups.asking():
        every = groups.names(timeout)
        names = every[:MOST_GROUPS]
        # All at once: one request can ask about one group only.
        asked = {
            name: groups.client.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(name)], request_timeout=timeout
            )[name]
            for name in names
        }
        return {name: _committed(future) for name, future in asked.items()}, len(every) - len(names)


def _committed(future: Future[Any]) -> dict[Key, int]:
    partitions = future.result().topic_partitions
    return {(each.topic, each.partition): each.offset for each in partitions if each.offset >= 0}
