"""Where corrected events go: the main topics of a batch, and how values of each are encoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from redrive.errors import SchemaError, UnknownTopicError
from redrive.pump.readback import partition_count
from redrive.schemas import SchemaRegistry, Writer

if TYPE_CHECKING:
    from redrive.config import Config

Targets = dict[str, Writer | str]
"""Main topic → what encodes its values, or, as a code, why nothing can be published to it."""

NO_TOPIC = "no-main-topic"
OTHER_CLUSTER = "other-cluster"
TOPIC_GONE = "main-topic-gone"
NO_SCHEMA = "no-schema"

REASONS = {
    NO_TOPIC: "the letter does not say which topic it is for, or the settings do not have that topic",
    OTHER_CLUSTER: "its main topic lives on another cluster",
    TOPIC_GONE: "its main topic does not exist on the cluster",
    NO_SCHEMA: "its main topic has no Avro schema in the registry",
}


def find_targets(config: Config, registry: SchemaRegistry, cluster: str, topics: Iterable[str]) -> Targets:
    """Find out where letters of a cluster can go.

    Args:
        config: the platform.
        registry: has the main topics' schemas; the latest version of each is the one to encode with.
        cluster: on which the letters stand. What is published goes into one transaction with what is left behind there:
            so only its own topics can be published to.
        topics: the letters' main topics.

    Raises:
        UnavailableError: the cluster or the registry does not answer.
    """
    targets: Targets = {}
    client = config.cluster(cluster).client_config()
    for topic in topics:
        if topic not in config.topics:
            targets[topic] = NO_TOPIC
        elif config.topic(topic).cluster != cluster:
            targets[topic] = OTHER_CLUSTER
        else:
            try:
                partition_count(client, topic)
                targets[topic] = registry.writer(topic)
            except UnknownTopicError:
                targets[topic] = TOPIC_GONE
            except SchemaError:
                targets[topic] = NO_SCHEMA
    return targets
