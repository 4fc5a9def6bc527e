"""Gives a backfill up: the target is deleted, and how far it had come is forgotten. The source stays as it is."""

from __future__ import annotations

import time

from redrive.aliases.alias import read_alias
from redrive.aliases.restoring import lanes_have_led
from redrive.clusters import ClusterAdmin
from redrive.config import Config
from redrive.errors import (
    ConfigError,
    FedBackError,
    GroupInUseError,
    OthersEventsError,
    SwitchedBackError,
    SwitchedError,
    UnavailableError,
    UnknownTopicError,
)
from redrive.migrations.groups import Groups
from redrive.migrations.positions import Positions
from redrive.migrations.unit import Unit
from redrive.pump.cursors import read_cursors
from redrive.pump.readback import ClientConfig, end_offsets, start_offsets
from redrive.pump.sink import TransactionalSink

_PATIENCE = 90.0


def abandon(config: Config, source: str, target: str) -> int:
    """Give a backfill up; gives how many partitions had been begun. A run that is at work is fenced.

    If the control topic has lost the name's alias, lanes still say whether producers ever went to the target.

    Reads the whole target first: what is nowhere else must not be deleted, whoever has published it. If anybody has
    looked for what to feed back, also the source: what was must not be taken for copied by the next backfill. Then
    cursors go: were the topic gone and one of them left, the next backfill would leave out what it counts as copied.

    Raises:
        ConfigError: source and target are one topic: it was migrated in place, and is all that there is; or there is no
            standby table, or it may not be read.
        GroupInUseError: a consumer group consumes the target.
        SwitchedError: producers of the source publish to the target.
        SwitchedBackError: they did, and consumers followed.
        FedBackError: the source holds events that were published to the target.
        OthersEventsError: the target holds events that have not come from the source.
        UnavailableError: the cluster or the standby store does not answer, or somebody keeps a transaction open in the
            target.
    """
    if source == target:
        raise ConfigError("target", f"{target} is the source: what was migrated in place can't be given up")
    cluster = config.cluster(config.topic(source).cluster)
    client, admin = cluster.client_config(), ClusterAdmin(cluster)
    there = admin.topics()
    _see_that_nobody_is_there(config, client, source, target)
    partitions = max((there[topic].partitions for topic in (source, target) if topic in there), default=0)
    units = [Unit(cluster.name, source, target, partition).name for partition in range(partitions)]
    begun = read_cursors(client, units)
    back = [Unit(cluster.name, target, source, partition).name for partition in range(partitions)]
    returned = read_cursors(client, back)
    if returned and source in there:
        with Positions(client, cluster.name, target, source) as positions:
            if any(positions.first(back.index(unit), 0, None) is not None for unit in returned):
                raise FedBackError(source, target)
    if target in there:
        _wait_for_transactions(client, target)
        with Positions(client, cluster.name, source, target) as positions:
            for partition in range(there[target].partitions):
                if (other := positions.first_other(partition, 0, None)) is not None:
                    raise OthersEventsError(source, target, partition, other)
    for unit in (*begun, *returned):
        sink = TransactionalSink(client, unit)
        try:
            sink.start()
            sink.forget()
        finally:
            sink.close()
    if target in there:
        admin.delete_topic(target)
    return len(begun)


def _see_that_nobody_is_there(config: Config, client: ClientConfig, source: str, target: str) -> None:
    alias = read_alias(client, source)
    if alias is None:
        _see_that_lanes_never_led_there(config, source, target)
    elif alias.current == target:
        raise SwitchedError(source, target)
    elif alias.target == target and alias.has_been_followed:
        raise SwitchedBackError(source, target)
    for group in Groups(client).on(target):
        if group.active:
            raise GroupInUseError(group.name)


def _see_that_lanes_never_led_there(config: Config, source: str, target: str) -> None:
    """Refuse if a lane of the source was ever opened to the target: then there was an alias, and it is lost."""
    led = lanes_have_led(config, config.topic(source).cluster, source, target)
    if led == "now":
        raise SwitchedError(source, target)
    if led == "once":
        raise SwitchedBackError(source, target)


def _wait_for_transactions(client: ClientConfig, target: str) -> None:
    """Wait until all that is in a topic can be seen: a run that was killed leaves its transaction open for a minute."""
    until = time.monotonic() + _PATIENCE
    while end_offsets(client, target, committed=True) != end_offsets(client, target):
        if time.monotonic() > until:
            raise UnavailableError(
                f"topic {target}", "somebody keeps a transaction open there, and what it has written can't be seen"
            )
        time.sleep(0.5)


def held(config: Config, target: str) -> int | None:
    """Say how many offsets a topic holds, about as many events; None: there is no such topic.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    client = config.cluster(config.topic(target).cluster).client_config()
    try:
        return sum(end_offsets(client, target)) - sum(start_offsets(client, target))
    except UnknownTopicError:
        return None
