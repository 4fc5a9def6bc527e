"""Making the topics that Redrive itself needs on a cluster."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from redrive.errors import ConfigError, UnavailableError, UnknownTopicError
from redrive.pump.readback import ClientConfig, admin_client, cluster_name, partition_count

_REPLICATION = 3


def ensure(client_config: ClientConfig, topic: str, partitions: int, config: Mapping[str, str], setting: str) -> int:
    """Create a topic if there is none, with as many replicas as the cluster has brokers, at most 3.

    Args:
        client_config: the cluster.
        topic: its name.
        partitions: how many it gets.
        config: its settings.
        setting: what it is for, named in errors.

    Returns:
        how many partitions it has.

    Raises:
        ConfigError: it may not be created.
        UnavailableError: the cluster does not answer.
    """
    try:
        return partition_count(client_config, topic, settle=0)
    except UnknownTopicError:
        pass
    admin = admin_client(client_config)
    try:
        brokers = len(admin.describe_cluster(request_timeout=15).result().nodes)
        replicas = min(_REPLICATION, brokers)
        new = NewTopic(topic, partitions, replicas, config={**config, "min.insync.replicas": str(max(1, replicas - 1))})
        admin.create_topics([new], request_timeout=30)[topic].result()
    except KafkaException as error:
        cause = error.args[0]
        if cause.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
            settings = ", ".join(f"{name}={value}" for name, value in config.items())
            way_out = f"create it with {partitions} partitions and {settings}, or allow it to be created"
            raise ConfigError(setting, f"this principal may not create topic {topic!r}: {way_out}") from error
        if cause.code() != KafkaError.TOPIC_ALREADY_EXISTS:  # else somebody else was first
            reason = f"creating {topic}: {cause.str()}"
            raise UnavailableError(f"Kafka {cluster_name(client_config)}", reason) from error
    return partition_count(client_config, topic, settle=15)
