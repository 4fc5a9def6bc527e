"""How far a consumer group is behind: a reason to hold what a job publishes. See `redrive.pump.governor`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from redrive.errors import UnavailableError
from redrive.pump.cursors import CURSORS_TOPIC
from redrive.pump.group_admin import GroupAdmin
from redrive.pump.readback import LATEST, ClientConfig, ask_leaders, cluster_name, offset_reader

_TIMEOUT = 10.0
_log = logging.getLogger("redrive.kafka")


Place = tuple[str, int]
"""Topic and partition."""


class LeftTopic(NamedTuple):
    """Where events of a topic go whose producers have left it.

    Attributes:
        to: the topic.
        places: partition → where the topic that was left ends for consumers, and where they go on in the other one.
    """

    to: str
    places: Mapping[int, tuple[int, int]]


class ConsumerLag:
    """Holds while a consumer group is too far behind on the topics that are published to."""

    def __init__(
        self,
        client_config: ClientConfig,
        group: str,
        topics: Sequence[str] | None,
        limit: int,
        left: Mapping[str, LeftTopic] | None = None,
    ) -> None:
        """Watch a group.

        Args:
            client_config: the cluster.
            group: the consumer group.
            topics: the topics to count; None: all that it has committed for.
            limit: hold while more events than this wait for the group, over all partitions it has committed for.
            left: of the topics, those that events no longer go to → where they go; see `still_to_go`.
        """
        self._client = client_config
        self._admin = GroupAdmin(client_config)
        self._reader = offset_reader(client_config, committed=True)
        self._cluster = f"Kafka {cluster_name(client_config)}"
        self._group, self._limit = group, limit
        self._topics = None if topics is None else frozenset(topics)
        self._left = left or {}

    def check(self) -> str | None:
        """Return the reason to hold, if any.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        lag = self.lag()
        if lag <= self._limit:
            return None
        return f"consumer group {self._group} is {lag:,} events behind (limit {self._limit:,})"

    def lag(self) -> int:
        """Count the events that wait for the group.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        try:
            committed = self._committed()
            if not committed:
                return 0
            going_over = still_to_go(committed, self._left)
            others = [TopicPartition(*place, LATEST) for place in committed if place not in going_over]
            ends = ask_leaders(self._reader, others, _TIMEOUT) if others else {}
            return sum(going_over.values()) + sum(max(0, end - committed[place]) for place, end in ends.items())
        except KafkaException as error:
            self._reader = offset_reader(self._client, committed=True)  # one that asks anew who leads
            raise UnavailableError(self._cluster, f"lag of {self._group}: {error.args[0].str()}") from error

    def knows(self) -> bool:
        """Say whether the group has committed anything that is counted.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        try:
            self._wait_for_coordinator()
            return bool(self._committed())
        except KafkaException as error:
            raise UnavailableError(self._cluster, f"offsets of {self._group}: {error.args[0].str()}") from error

    def _wait_for_coordinator(self) -> None:
        """On a cluster that no group has used yet, brokers first make the topic that keeps what groups commit.

        confluent-kafka 2.16's administrator ends the whole process (SIGSEGV) if it asks just then; a consumer waits.
        """
        consumer = Consumer({**self._client, "group.id": self._group}, logger=_log)
        try:
            consumer.committed([TopicPartition(CURSORS_TOPIC, 0)], timeout=_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:  # an answer, too
                raise
        finally:
            consumer.close()

    def _committed(self) -> dict[tuple[str, int], int]:
        asked = [ConsumerGroupTopicPartitions(self._group)]
        with self._admin.asking():
            future = self._admin.client.list_consumer_group_offsets(asked, request_timeout=_TIMEOUT)[self._group]
            answer = future.result()
        committed = {(tp.topic, tp.partition): tp.offset for tp in answer.topic_partitions if tp.offset >= 0}
        if self._topics is None:
            return committed
        return {place: offset for place, offset in committed.items() if place[0] in self._topics}


def still_to_go(committed: Mapping[Place, int], left: Mapping[str, LeftTopic]) -> dict[Place, int]:
    """Say of a group that goes over how many events wait for it in each partition of the topics that it leaves.

    It goes over partition by partition, and stays for ever where it was in the topic that it has left, where lag rises
    while a backfill fills that. So of a partition that it is over with nothing counts, and of the others what stands
    before the place where it goes over. Of a group that has read nothing of the other topic nothing is said: it may
    not follow, so its lag is that of any topic.

    Args:
        committed: where the group stands.
        left: the topics that events no longer go to.
    """
    read = {topic for topic, _ in committed}
    found: dict[Place, int] = {}
    for (topic, partition), at in committed.items():
        if (gone := left.get(topic)) and gone.to in read:
            end, begin = gone.places.get(partition, (0, 0))
            is_over = committed.get((gone.to, partition), -1) >= begin
            found[topic, partition] = 0 if is_over else max(0, end - at)
    return found
