"""The topic that is filled: with the source's partitions and settings, but for what redrive.toml says of it."""

from __future__ import annotations

from dataclasses import dataclass

from redrive.clusters import ClusterAdmin, TopicState
from redrive.config import Config
from redrive.errors import ConfigError, UnknownTopicError
from redrive.pump.readback import cluster_name


@dataclass(frozen=True, slots=True)
class Shadow:
    """The two topics of a backfill.

    Attributes:
        cluster: on which both are.
        source: as it is.
        target: as it is; None if it is to be created.
        name: the target's.
        config: settings that the target has, or is created with.
        differences: what of the target is not as the source's, in words; each has a reason to be looked at.
    """

    cluster: str
    source: TopicState
    target: TopicState | None
    name: str
    config: dict[str, str]
    differences: tuple[str, ...]


def look(config: Config, source: str, target: str) -> Shadow:
    """Look at both topics; changes nothing.

    Raises:
        ConfigError: they can't be source and target of a backfill; says why.
        UnknownTopicError: the source does not exist.
        UnavailableError: the cluster does not answer.
    """
    of, to = config.topic(source), config.topic(target)
    if source == target:
        raise ConfigError("target", f"{target} is the source; a backfill fills another topic")
    if of.cluster != to.cluster:
        raise ConfigError(
            f"topics.{target}.domain",
            f"it is on cluster {to.cluster}, and {source} on {of.cluster}; both must be on one",
        )
    if to.schema is None:
        raise ConfigError(f"topics.{target}.schema", "name the schema file that its events are to fit")
    there = ClusterAdmin(config.cluster(of.cluster)).topics()
    if source not in there:
        raise UnknownTopicError(source, cluster_name(config.cluster(of.cluster).client_config()))
    now, shadow = there[source], there.get(target)
    if shadow is not None and shadow.partitions != now.partitions:
        raise ConfigError(
            f"topics.{target}.partitions",
            f"topic {target} has {shadow.partitions} partitions, {source} has {now.partitions}; an event stays in its "
            "partition, so both must have the same: begin another backfill, with a target of another name. One that no "
            "group and no producer has moved to may be given up instead (`redrive backfill abandon SOURCE TARGET`), "
            "and a backfill creates it",
        )
    settings = _kept({**now.config, **to.config} if shadow is None else shadow.config)
    return Shadow(of.cluster, now, shadow, target, settings, tuple(_differences(now, shadow, settings)))


def create(config: Config, shadow: Shadow) -> None:
    """Create the target if it is not there."""
    if shadow.target is not None:
        return
    admin = ClusterAdmin(config.cluster(shadow.cluster))
    admin.create_topic(shadow.name, shadow.source.partitions, shadow.source.replication, shadow.config)
    admin.wait_until_writable(shadow.name, shadow.source.partitions)


def _kept(config: dict[str, str]) -> dict[str, str]:
    """Leave out what moves of partitions set for their own time."""
    return {name: value for name, value in config.items() if not name.endswith(".replication.throttled.replicas")}


def _differences(source: TopicState, target: TopicState | None, config: dict[str, str]) -> list[str]:
    found = [
        f"{name}: {source.config.get(name, 'the default')} → {config.get(name, 'the default')}"
        for name in sorted(_kept(source.config).keys() | config.keys())
        if source.config.get(name) != config.get(name)
    ]
    if target is not None and target.replication != source.replication:
        found.append(f"replicas: {source.replication} → {target.replication}")
    return found
