"""Topics that a topic is copied to, or from, by backfills that are not over: both topics are still there."""

from __future__ import annotations

from redrive.config import Config
from redrive.migrations.unit import Unit
from redrive.pump.cursors import read_cursors


def copied_with(config: Config, topic: str, there: dict[str, int]) -> str | None:
    """Name a topic that this one is copied to, or from; None: none of the settings is.

    Args:
        config: the platform.
        topic: the topic.
        there: the topics of its cluster, with how many partitions each has.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    cluster = config.topic(topic).cluster
    units = {
        Unit(cluster, *way, partition).name: other.name
        for other in config.topics_of(cluster)
        if other.name != topic and other.name in there
        for way in ((topic, other.name), (other.name, topic))
        for partition in range(there[topic])
    }
    found = read_cursors(config.cluster(cluster).client_config(), units)
    return next((units[unit] for unit in found), None)
