"""The fleet of a cluster, by the settings."""

from __future__ import annotations

from redrive.config import Cluster, MskFleetConfig
from redrive.errors import ConfigError
from redrive.fleets.command import CommandFleet
from redrive.fleets.fleet import Fleet
from redrive.fleets.msk import MskFleet


def open_fleet(cluster: Cluster) -> Fleet:
    """Give the fleet that runs a cluster's brokers.

    Raises:
        ConfigError: the settings name none.
    """
    setting, config = f"clusters.{cluster.name}.fleet", cluster.config.fleet
    if config is None:
        raise ConfigError(setting, 'is missing; say what adds brokers to the cluster: kind = "msk" or "command"')
    if isinstance(config, MskFleetConfig):
        return MskFleet.connect(config.arn)
    return CommandFleet(config, setting, cluster.folder)
