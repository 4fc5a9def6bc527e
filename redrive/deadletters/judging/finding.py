"""Finding out where the letters of a cluster can go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from redrive.aliases.alias import read_aliases
from redrive.deadletters.judging.targets import (
    MOVED,
    NO_SCHEMA,
    NO_TOPIC,
    ODD_ALIAS,
    OTHER_CLUSTER,
    TOPIC_GONE,
    Targets,
)
from redrive.errors import SchemaError, UnknownTopicError
from redrive.pump.readback import partition_count
from redrive.schemas import SchemaRegistry

if TYPE_CHECKING:
    from redrive.config import Config


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
    aliases = read_aliases(client)
    moved = {alias.name for alias in aliases.good.values() if alias.current != alias.name}
    for topic in topics:
        if topic not in config.topics:
            targets[topic] = NO_TOPIC
        elif cluster not in config.topic(topic).clusters:
            targets[topic] = OTHER_CLUSTER
        elif topic in moved:  # whoever reads its events goes over to where they are published now
            targets[topic] = MOVED
        elif topic in aliases.odd:
            targets[topic] = ODD_ALIAS
        else:
            try:
                partition_count(client, topic)
                targets[topic] = registry.writer(topic)
            except UnknownTopicError:
                targets[topic] = TOPIC_GONE
            except SchemaError:
                targets[topic] = NO_SCHEMA
    return targets
