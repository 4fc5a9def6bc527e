"""A Kafka cluster, as its administrator sees it: its topics as they are, and the few changes Redrive makes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from redrive.config import Cluster
from redrive.errors import RefusedByClusterError, UnavailableError

ClusterTopic = tuple[str, str]
"""A topic: its cluster's name in the settings, and its own."""

_REQUEST_TIMEOUT = 15.0  # seconds
_UNTIL_WRITABLE = 30.0  # seconds
_logger = logging.getLogger(__name__)
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_UNAVAILABLE = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.NOT_CONTROLLER,
    KafkaError.LEADER_NOT_AVAILABLE,
}


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is.

    Attributes:
        replication: replicas of each partition; the smallest number, should they differ.
        without_leader: partitions that can't be written now.
        out_of_sync: partitions that have fewer replicas in sync than replicas.
        config: the settings made for this topic; what it takes from the broker is not among them.
    """

    name: str
    partitions: int
    replication: int
    without_leader: int = 0
    out_of_sync: int = 0
    config: dict[str, str] = field(default_factory=dict)


class ClusterAdmin:
    """Reads and changes a cluster's topics. All calls raise the same two errors.

    Raises:
        UnavailableError: the cluster does not answer in time.
        RefusedByClusterError: it answers, and says no.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.name = cluster.name
        self._named = f"cluster {cluster.name} ({cluster.config.bootstrap})"
        # Without a logger, librdkafka writes each failed connection to standard error.
        self._admin = AdminClient(cluster.client_config(), logger=_logger)

    def topics(self) -> dict[str, TopicState]:
        """Give all topics but Kafka's internal ones, by name."""
        with self._translated("listing topics"):
            metadata = self._admin.list_topics(timeout=_REQUEST_TIMEOUT).topics
            names = sorted(name for name in metadata if not name.startswith("__"))
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
            described = self._admin.describe_configs(resources, request_timeout=_REQUEST_TIMEOUT) if names else {}
            configs = {resource.name: _unless_gone(future) for resource, future in described.items()}
        return {name: _state(metadata[name], config) for name, config in configs.items() if config is not None}

    def create_topic(self, name: str, partitions: int, replication: int, config: Mapping[str, str]) -> None:
        """Create a topic; one that is there already, because somebody else was first, is left as it is."""
        topic = NewTopic(name, partitions, replication, config=dict(config))
        with self._translated(f"creating topic {name}"):
            try:
                self._admin.create_topics([topic], request_timeout=_REQUEST_TIMEOUT)[name].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def delete_topic(self, name: str) -> None:
        """Delete a topic, with all that it holds; one that is not there is fine."""
        with self._translated(f"deleting topic {name}"):
            try:
                self._admin.delete_topics([name], request_timeout=_REQUEST_TIMEOUT)[name].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise

    def add_partitions(self, name: str, total: int) -> None:
        """Raise the number of a topic's partitions to ``total``."""
        with self._translated(f"adding partitions to topic {name}"):
            more = [NewPartitions(name, total)]
            self._admin.create_partitions(more, request_timeout=_REQUEST_TIMEOUT)[name].result()

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Set these settings of a topic; all others stay."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        with self._translated(f"configuring topic {name}"):
            altered = self._admin.incremental_alter_configs([resource], request_timeout=_REQUEST_TIMEOUT)
            altered[resource].result()

    def create_acls(self, acls: Sequence[AclBinding]) -> None:
        """Add ACLs; those that are there stay."""
        with self._translated("adding ACLs"):
            for future in self._admin.create_acls(list(acls), request_timeout=_REQUEST_TIMEOUT).values():
                future.result()

    def wait_until_writable(self, name: str, partitions: int) -> None:
        """Return when the topic is known with that many partitions, each of which has a leader.

        Raises:
            UnavailableError: that is not so within 30 seconds, or the cluster does not answer.
        """
        deadline = time.monotonic() + _UNTIL_WRITABLE
        while True:
            with self._translated(f"looking at topic {name}"):
                topic = self._admin.list_topics(name, timeout=_REQUEST_TIMEOUT).topics[name]
            ready = sum(partition.leader >= 0 for partition in topic.partitions.values())
            if ready >= partitions:
                return
            if time.monotonic() > deadline:
                reason = f"topic {name}: {ready} of {partitions} partitions have a leader after {_UNTIL_WRITABLE:g} s"
                raise UnavailableError(self._named, reason)
            time.sleep(0.1)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() in _UNAVAILABLE:
                raise UnavailableError(self._named, f"{doing}: {cause.str()}") from error
            reason = cause.str()
            if cause.code() in _FORBIDDEN:  # Kafka may say so by a dump of the request
                reason = "this principal may not do that; what a role needs is given by `redrive security acls`"
            raise RefusedByClusterError(self._named, doing, reason) from error


def _unless_gone(described: Future[dict[str, ConfigEntry]]) -> dict[str, ConfigEntry] | None:
    """Return a topic's settings; None if it was deleted since it was listed."""
    try:
        return described.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise


def _state(metadata: TopicMetadata, config: Mapping[str, ConfigEntry]) -> TopicState:
    partitions = metadata.partitions.values()
    return TopicState(
        name=str(metadata.topic),
        partitions=len(partitions),
        replication=min((len(partition.replicas) for partition in partitions), default=0),
        without_leader=sum(partition.leader < 0 for partition in partitions),
        out_of_sync=sum(len(partition.isrs) < len(partition.replicas) for partition in partitions),
        config={
            key: entry.value
            for key, entry in config.items()
            if ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG and entry.value is not None
        },
    )
