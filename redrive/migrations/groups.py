"""Consumer groups: where they stand on a topic, and moving them to another, to exactly the same place."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from redrive.errors import GroupInUseError, UnavailableError
from redrive.pump.group_admin import GroupAdmin
from redrive.pump.readback import ClientConfig, cluster_name

_TIMEOUT = 15.0
_EMPTY = {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group's place on a topic.

    Attributes:
        name: the group's id.
        active: it has members now; nobody else can then set its offsets.
        offsets: partition → committed offset; partitions without one are left out.
    """

    name: str
    active: bool
    offsets: Mapping[int, int]


class Groups:
    """Reads and sets positions of consumer groups.

    Raises:
        UnavailableError: the cluster does not answer in time, or refuses to say.
    """

    def __init__(self, client_config: ClientConfig) -> None:
        self._admin = GroupAdmin(client_config)
        self._named = f"Kafka {cluster_name(client_config)}"

    def on(self, topic: str, names: Sequence[str] = ()) -> list[Group]:
        """Give the groups that have a place on a topic, by name.

        Args:
            topic: the topic.
            names: only these; none: all.
        """
        with self._translated("listing consumer groups"):
            wanted = list(names) or self._admin.names(_TIMEOUT)
            if not wanted:
                return []
            described = self._admin.client.describe_consumer_groups(wanted, request_timeout=_TIMEOUT)
            found = []
            for name in sorted(wanted):
                offsets = self._offsets(name, topic)
                if offsets:
                    found.append(Group(name, described[name].result().state not in _EMPTY, offsets))
            return found

    def place(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Set a group's position on a topic; what it has committed on others stays.

        Raises:
            GroupInUseError: it has members.
        """
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        request = ConsumerGroupTopicPartitions(group, wanted)
        with self._translated(f"moving group {group}", group):
            answer = self._admin.client.alter_consumer_group_offsets([request], request_timeout=_TIMEOUT)[
                group
            ].result()
            for partition in answer.topic_partitions:
                if partition.error is not None:
                    raise KafkaException(partition.error)

    def _offsets(self, group: str, topic: str) -> dict[int, int]:
        request = ConsumerGroupTopicPartitions(group)
        answer = self._admin.client.list_consumer_group_offsets([request], request_timeout=_TIMEOUT)[group].result()
        return {
            partition.partition: partition.offset
            for partition in answer.topic_partitions
            if partition.topic == topic and partition.offset >= 0
        }

    @contextmanager
    def _translated(self, doing: str, group: str = "") -> Iterator[None]:
        try:
            with self._admin.asking():
                yield
        except KafkaException as error:
            cause = error.args[0]
            if group and cause.code() in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP):
                raise GroupInUseError(group) from error
            raise UnavailableError(self._named, f"{doing}: {cause.str()}") from error
