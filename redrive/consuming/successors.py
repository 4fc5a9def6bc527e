"""Which topics a group may go over to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redrive.config import Config
from redrive.errors import ConfigError

_FOLLOWING = {"enable.partition.eof": True, "partition.assignment.strategy": "cooperative-sticky"}
"""Settings of the client without which a group can't go over to another topic."""


def successors_by_cluster(
    config: Config, topics: Mapping[str, list[str]], successors: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return cluster → topic → its successor.

    Args:
        config: the platform.
        topics: cluster → what is read there.
        successors: topic → its successor.

    Raises:
        ConfigError: one of them is not read, not on the other's cluster, or would be read twice.
    """
    found: dict[str, dict[str, str]] = {}
    read = [topic for names in topics.values() for topic in names]
    for successor in successors.values():
        if successor in read:
            raise ConfigError("successors", f"{successor} is among the topics that are read: name it as successor only")
        if list(successors.values()).count(successor) > 1:
            raise ConfigError("successors", f"{successor} is named twice; a topic succeeds one other")
    for topic, successor in successors.items():
        clusters = config.topic(topic).clusters
        if topic not in topics.get(clusters[0], ()):
            raise ConfigError("successors", f"{topic} is not among the topics that are read")
        if config.topic(successor).clusters != clusters:
            where = ", ".join(clusters)
            raise ConfigError("successors", f"{successor} is not on the cluster of {topic}, which is {where}")
        for cluster in clusters:
            found.setdefault(cluster, {})[topic] = successor
    return found


def see_that_it_can_follow(client_config: Mapping[str, Any]) -> None:
    """Raise a `ConfigError` if a client's settings keep a group from going over to another topic."""
    for name, value in _FOLLOWING.items():
        if str(client_config.get(name, value)).lower() != str(value).lower():
            raise ConfigError(
                f"client.{name}",
                f"is {client_config[name]!r}, and a group that has successors needs {value!r}: leave it out",
            )
