"""Settings, and the systems that they name."""

from __future__ import annotations

from redrive.errors.base import RedriveError


class ConfigError(RedriveError):
    """A setting is missing or wrong.

    Attributes:
        setting: its dotted name, such as ``domains.orders.cluster``.
        reason: what is wrong, and what to write instead.
        where: file and line, if known.
    """

    def __init__(self, setting: str, reason: str, where: str = "") -> None:
        self.setting, self.reason, self.where = setting, reason, where
        super().__init__(f"{where + ': ' if where else ''}{setting}: {reason}")


class UnavailableError(RedriveError):
    """A system that is needed does not answer in time; trying again later is right.

    Attributes:
        system: which one, such as ``registry http://127.0.0.1:8081``.
        reason: what was tried and what came back.
    """

    def __init__(self, system: str, reason: str) -> None:
        self.system, self.reason = system, reason
        super().__init__(f"{system} is unavailable: {reason}")


class RefusedByClusterError(RedriveError):
    """A cluster answers, and says no to a request of its administrator.

    Attributes:
        cluster: its name and bootstrap servers.
        doing: what was asked, such as ``creating topic orders``.
        reason: what the cluster said.
    """

    def __init__(self, cluster: str, doing: str, reason: str) -> None:
        self.cluster, self.doing, self.reason = cluster, doing, reason
        super().__init__(f"{cluster} refuses {doing}: {reason}")


class UnknownTopicError(RedriveError):
    """A topic does not exist on the cluster, or this principal may not see it.

    Attributes:
        topic: its name.
        cluster: the cluster's bootstrap servers.
    """

    def __init__(self, topic: str, cluster: str) -> None:
        self.topic, self.cluster = topic, cluster
        super().__init__(
            f"topic {topic!r} is not known at {cluster}: create it, or allow this principal to describe it"
        )


class FleetError(RedriveError):
    """What runs a cluster's brokers can't tell their load, or can't add any.

    Attributes:
        fleet: the setting or the system that it is about, such as ``clusters.local.fleet.add``.
        reason: what went wrong, and what to do.
    """

    def __init__(self, fleet: str, reason: str) -> None:
        self.fleet, self.reason = fleet, reason
        super().__init__(f"{fleet}: {reason}")
