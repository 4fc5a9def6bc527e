"""The settings of a platform: which clusters there are, which topics live on them, what keeps them safe.

They stand in one TOML file (``redrive.toml``). Environment variables go over it: ``REDRIVE_`` and the path
of the setting with two underscores between its parts, such as ``REDRIVE_CLUSTERS__LOCAL__BOOTSTRAP``; an
empty one counts as not set. A secret is never in either: the settings say where it is, as
``{env = "NAME"}`` or ``{file = "path"}``. Paths are relative to the file.
"""

from redrive.config.aws import AwsConfig, MskConfig
from redrive.config.gateway import GatewayConfig, PartnerConfig, TokensConfig
from redrive.config.jobs import (
    BackfillsConfig,
    CorrectionsConfig,
    JobsConfig,
    NotificationsConfig,
    RebalancingConfig,
    ScalingConfig,
)
from redrive.config.sections import (
    ClusterConfig,
    CommandFleetConfig,
    DomainConfig,
    LedgerConfig,
    MskFleetConfig,
    RegistryConfig,
    Secret,
    StandbyConfig,
    TopicConfig,
)
from redrive.config.settings import Cluster, Config, Topic

__all__ = [
    "AwsConfig",
    "BackfillsConfig",
    "Cluster",
    "ClusterConfig",
    "CommandFleetConfig",
    "Config",
    "CorrectionsConfig",
    "DomainConfig",
    "GatewayConfig",
    "JobsConfig",
    "LedgerConfig",
    "MskConfig",
    "MskFleetConfig",
    "NotificationsConfig",
    "PartnerConfig",
    "RebalancingConfig",
    "RegistryConfig",
    "ScalingConfig",
    "Secret",
    "StandbyConfig",
    "TokensConfig",
    "Topic",
    "TopicConfig",
]
