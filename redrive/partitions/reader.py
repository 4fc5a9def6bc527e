"""`PartitionReader`: what a cluster says of its brokers and partitions. It can change nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Self

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
    for_code,
)

from redrive.config import Cluster
from redrive.errors import RefusedByClusterError, UnavailableError
from redrive.partitions.connection import BROKER_PATIENCE, PATIENCE, Connection
from redrive.partitions.state import BrokerState, Key, LogDirs, Ongoing, PartitionState, Resource, Setting

_DYNAMIC = {"broker": "DYNAMIC_BROKER_CONFIG", "topic": "DYNAMIC_TOPIC_CONFIG"}
_ALIKE = 0.001
"""The part of a volume by which what is free on it may differ for two directories that are asked about together."""
_AT_ONCE = 1_000  # topics that are asked about in one request
# Of a topic that does not exist, and of one of which a partition has no leader: that is told partition by partition.
_NO_ERRORS = {0, UnknownTopicOrPartitionError.errno, LeaderNotAvailableError.errno}


class PartitionReader:
    """Reads. What only plans gets one of these, and so can't change a cluster by mistake.

    All calls raise the same two errors.

    Raises:
        UnavailableError: the cluster does not answer in time.
        RefusedByClusterError: it answers, and says no.

    Attributes:
        cluster: the cluster's name.
    """

    def __init__(self, cluster: Cluster, patience: float = PATIENCE) -> None:
        self.cluster = cluster.name
        self._connection = Connection(cluster, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self._connection.close()

    def brokers(self) -> dict[int, BrokerState]:
        """Give the brokers by id."""
        found = self._connection.ask("listing brokers", lambda admin: admin.describe_cluster())["brokers"]
        # Clusters that don't tell which brokers are down name those that are up.
        return {
            broker["broker_id"]: BrokerState(broker["broker_id"], broker["rack"], not broker.get("is_fenced", False))
            for broker in sorted(found, key=lambda broker: int(broker["broker_id"]))
        }

    def controller(self) -> int | None:
        """Give the id of the active controller; None if the cluster does not say (it has no KRaft, or may not).

        What brokers name as the controller to clients is any of them (KIP-590).
        """
        try:
            leader = int(self._quorum("asking for the controller", patience=BROKER_PATIENCE)["leader_id"])
        except (RefusedByClusterError, UnavailableError):
            return None
        return leader if leader >= 0 else None

    def voters(self) -> frozenset[int] | None:
        """Give the ids of the controllers that vote, which may be brokers as well; None if the cluster does not tell.

        Without KRaft there are none.

        Raises:
            UnavailableError: the cluster does not answer in time.
        """
        try:
            found = self._quorum("asking for the controllers")
        except RefusedByClusterError as error:
            return frozenset() if isinstance(error.__cause__, UnsupportedVersionError) else None
        return frozenset(int(voter["replica_id"]) for voter in found["current_voters"]) or None

    def _quorum(self, doing: str, **how: float) -> dict[str, Any]:
        found = self._connection.ask(doing, lambda admin: admin.describe_metadata_quorum(), **how)
        quorum: dict[str, Any] = found["topics"][0]["partitions"][0]
        return quorum

    def partitions(self, topics: Iterable[str] | None = None) -> dict[Key, PartitionState]:
        """Give all partitions, those of internal topics too, or those of ``topics``, by topic and number.

        Topics that do not exist are left out.
        """
        names = None if topics is None else sorted(set(topics))
        if names == []:
            return {}
        described = self._connection.ask("listing partitions", lambda admin: admin.describe_topics(names))
        found: dict[Key, PartitionState] = {}
        for topic in sorted(described, key=lambda topic: str(topic["name"])):
            if topic["error_code"] not in _NO_ERRORS:
                raise self._refused(f"describing topic {topic['name']}", topic["error_code"])
            for one in sorted(topic["partitions"], key=lambda one: int(one["partition_index"])):
                state = PartitionState(
                    topic["name"],
                    one["partition_index"],
                    tuple(one["replica_nodes"]),
                    one["leader_id"] if one["leader_id"] >= 0 else None,
                    frozenset(one["isr_nodes"]),
                )
                found[state.key] = state
        return found

    def log_dirs(self, brokers: Iterable[int], of: Iterable[Key] | None = None) -> dict[int, LogDirs]:
        """Give the log directories of brokers.

        A broker that does not answer says so in its `LogDirs.unknown`, and keeps nobody from answering.

        Args:
            brokers: their ids; not worth asking for one that is down.
            of: only the sizes of these partitions.
        """
        asked = None if of is None else _by_topic(of)

        def question(broker: int) -> LogDirs:
            ((answer),) = self._connection.ask(
                f"reading log directories of broker {broker}",
                lambda admin: admin.describe_log_dirs(asked, [broker]),
                patience=BROKER_PATIENCE,
            )
            return _log_dirs(answer["log_dirs"])

        found = {}
        for broker in brokers:
            try:
                found[broker] = question(broker)
            except (UnavailableError, RefusedByClusterError) as error:
                found[broker] = LogDirs(unknown=str(error))
        return found

    def offsets(self, partitions: Iterable[Key], *, first: bool = False) -> dict[Key, int]:
        """Give where the logs of partitions end, or what their ``first`` offset is.

        None are given if one of their leaders does not tell.
        """
        asked = {TopicPartition(*key): OffsetSpec.EARLIEST if first else OffsetSpec.LATEST for key in partitions}
        if not asked:
            return {}
        try:
            found = self._connection.ask(
                "reading offsets", lambda admin: admin.list_partition_offsets(asked), patience=BROKER_PATIENCE
            )
        except (UnavailableError, RefusedByClusterError):
            return {}
        return {(where.topic, where.partition): int(one.offset) for where, one in found.items()}

    def ongoing(self) -> dict[Key, Ongoing]:
        """Give the reassignments under way, whoever has ordered them."""
        found = self._connection.ask("listing reassignments", lambda admin: admin.list_partition_reassignments())
        return {
            (where.topic, where.partition): Ongoing(
                # While it goes on, Kafka lists the new replicas first, in their order, then those to be removed.
                target=tuple(broker for broker in one["replicas"] if broker not in one["removing_replicas"]),
                adding=tuple(one["adding_replicas"]),
                removing=tuple(one["removing_replicas"]),
            )
            for where, one in found.items()
        }

    def settings(self, resources: Iterable[Resource], names: Iterable[str]) -> dict[Resource, dict[str, Setting]]:
        """Give settings in force, by resource and name; those that nobody has set and that have no default are absent.

        Only a broker itself can say how it is set: one that does not answer is left out. A topic that does not exist
        has no settings.
        """
        wanted, names = sorted(set(resources)), list(names)
        topics = [resource for resource in wanted if resource.kind == "topic"]
        batches = [topics[at : at + _AT_ONCE] for at in range(0, len(topics), _AT_ONCE)]
        found: dict[Resource, dict[str, Setting]] = {}
        for batch in batches:
            found |= self._settings(batch, names)
        for broker in (resource for resource in wanted if resource.kind == "broker"):
            try:
                found |= self._settings([broker], names, patience=BROKER_PATIENCE)
            except UnavailableError:
                continue
        return found

    def _settings(
        self, resources: list[Resource], names: list[str], **how: float
    ) -> dict[Resource, dict[str, Setting]]:
        asked = [ConfigResource(kafka_kind(resource), resource.name, names) for resource in resources]

        def question(admin: Any) -> Any:
            return admin.describe_configs(asked, include_synonyms=True, config_filter="all")

        described = self._connection.ask(f"reading settings of {resources[0]}", question, **how)
        return {
            resource: {
                name: _setting(resource, name, one)
                for name, one in described.get(resource.kind, {}).get(resource.name, {}).items()
                if one["value"] is not None
            }
            for resource in resources
        }

    def _refused(self, doing: str, code: int) -> RefusedByClusterError:
        return RefusedByClusterError(self._connection.named, doing, for_code(code).__name__)


def kafka_kind(resource: Resource) -> Any:
    """Give kafka-python's word for a resource's kind."""
    return ConfigResourceType.BROKER if resource.kind == "broker" else ConfigResourceType.TOPIC


def why(error: type[KafkaError] | None) -> str:
    """Say why one partition's part of an order was refused; empty if it was not."""
    return "" if error is None else error.__name__


def _by_topic(keys: Iterable[Key]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for topic, number in keys:
        found[topic].append(number)
    return dict(found)


def _log_dirs(directories: list[dict[str, Any]]) -> LogDirs:
    sizes: dict[Key, int] = {}
    bad = [f"{one['log_dir']}: {for_code(one['error_code']).__name__}" for one in directories if one["error_code"]]
    for one in directories:
        for topic in one["topics"]:
            for partition in topic["partitions"]:
                # A future replica is one that changes its directory within the broker; the present one counts.
                if not partition["is_future_key"]:
                    sizes[topic["name"], partition["partition_index"]] = partition["partition_size"]
    total, usable = _volumes(directories)
    return LogDirs(sizes, total, usable, ", ".join(bad))


def _volumes(directories: list[dict[str, Any]]) -> tuple[int, int] | tuple[None, None]:
    """Give the bytes of all volumes, and those that are free; see `LogDirs`."""
    found: list[tuple[int, int]] = []
    for one in directories:
        # Brokers before Kafka 3.3 don't say; -1 is for directories that can't.
        total, usable = int(one.get("total_bytes", -1)), int(one.get("usable_bytes", -1))
        if total < 0 or usable < 0:
            return None, None
        same = [each for each in found if each[0] == total and abs(each[1] - usable) <= _ALIKE * total]
        if same:
            found.remove(same[0])
            usable = min(usable, same[0][1])
        found.append((total, usable))
    return (sum(total for total, _ in found), sum(usable for _, usable in found)) if found else (None, None)


def _setting(resource: Resource, name: str, one: dict[str, Any]) -> Setting:
    dynamic = _DYNAMIC[resource.kind]
    own = next((each["value"] for each in one["synonyms"] if each["source"] == dynamic), None)
    return Setting(resource, name, one["value"], one["config_source"], own)
