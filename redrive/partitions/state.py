"""What a cluster says of its partitions, brokers and settings, in our own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Key = tuple[str, int]
"""A partition: its topic and its number."""


@dataclass(frozen=True, slots=True)
class BrokerState:
    """A broker that the cluster knows.

    Attributes:
        rack: see `redrive.partitions.layout.Broker`.
        up: it serves. Clusters older than Kafka 4.0 don't name those that do not.
    """

    id: int
    rack: str | None
    up: bool


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition as it is.

    Attributes:
        replicas: brokers with a replica, the preferred leader first; while it moves, old and new ones.
        leader: None if it has none now, and can't be read or written.
        isr: those of the replicas that are in sync.
    """

    topic: str
    number: int
    replicas: tuple[int, ...]
    leader: int | None
    isr: frozenset[int]

    @property
    def key(self) -> Key:
        """Its topic and number."""
        return self.topic, self.number


@dataclass(frozen=True, slots=True)
class Ongoing:
    """A reassignment under way.

    Attributes:
        target: what the replicas will be, in this order.
        adding: those that do not have the data yet.
        removing: those that will be given up.
    """

    target: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LogDirs:
    """The log directories of a broker, taken together.

    Attributes:
        sizes: bytes of each of its replicas.
        total: bytes of the volumes that the directories are on; None if it does not say. Directories are taken to be on
            the same volume if they say as good as the same of it, as Kafka does not tell: rather too little than twice.
        usable: bytes of them that are free.
        unknown: why nothing, or not all, is known; empty if all is.
    """

    sizes: Mapping[Key, int] = field(default_factory=dict)
    total: int | None = None
    usable: int | None = None
    unknown: str = ""

    @property
    def capacity(self) -> int | None:
        """Bytes that its replicas can take up, if ``sizes`` has all: what they take now, and what is free."""
        return None if self.usable is None else sum(self.sizes.values()) + self.usable


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """What has settings of its own: a broker (by its id) or a topic."""

    kind: Literal["broker", "topic"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force.

    Attributes:
        value: what is in force.
        source: where it comes from, in Kafka's words: ``DYNAMIC_BROKER_CONFIG``, ``DYNAMIC_TOPIC_CONFIG``,
            ``DYNAMIC_DEFAULT_BROKER_CONFIG`` (for all brokers), ``STATIC_BROKER_CONFIG``, ``DEFAULT_CONFIG``.
        own: what is set, while the cluster runs, on this very resource; None if nothing is. Taking it away lets
            the next source take effect.
    """

    resource: Resource
    name: str
    value: str
    source: str
    own: str | None
