"""Which broker of which cluster a node is, by its name.

The stack's first cluster has the nodes ``kafka-1`` to ``kafka-3``, and on as brokers join; a further cluster, ``menu``,
has the single broker ``kafka-menu-1``. That keeps it small: a broker takes about 360 MB.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redrive.errors import ConfigError

# Brokers with these ids are controllers as well; later ones are brokers only.
CONTROLLERS = (1, 2, 3)
_KAFKA = "kafka-"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker.

    Attributes:
        further: the name of its cluster; empty for the first one, whatever that is called.
        number: its id in its cluster.
    """

    further: str
    number: int

    @property
    def node(self) -> str:
        """The name of its node."""
        return f"{_KAFKA}{self.further}{'-' if self.further else ''}{self.number}"

    @property
    def controllers(self) -> tuple[int, ...]:
        """The ids of its cluster's controllers."""
        return (1,) if self.further else CONTROLLERS

    @property
    def is_controller(self) -> bool:
        """Whether it is one of them."""
        return self.number in self.controllers


def broker_of(node: str) -> Broker | None:
    """The broker that a node is; None for another node."""
    if not node.startswith(_KAFKA):
        return None
    further, _, number = node.removeprefix(_KAFKA).rpartition("-")
    return Broker(further, int(number))


def first_nodes(clusters: Sequence[str]) -> list[str]:
    """The nodes that fresh clusters begin with."""
    further = [Broker(name, 1) for name in clusters[1:]]
    return [broker.node for broker in (*(Broker("", number) for number in CONTROLLERS), *further)]


def brokers(nodes: Iterable[str], further: str = "") -> list[Broker]:
    """Those of the nodes that are brokers of the first cluster, or of a further one."""
    found = map(broker_of, nodes)
    return [broker for broker in found if broker is not None and broker.further == further]


def checked(clusters: Sequence[str]) -> list[str]:
    """The names of clusters as they were given, if they will do.

    Raises:
        ConfigError: they won't.
    """
    for name in clusters:
        # They become parts of environment variables, which no shell sets with a dash in the name.
        if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
            reason = f"{name!r} can't be a cluster's name here: use lower-case letters, digits and underscores"
            raise ConfigError("--clusters", reason)
    if not clusters or len(set(clusters)) < len(clusters):
        raise ConfigError("--clusters", "give different names, with commas between, such as orders,menu")
    return list(clusters)


def cluster_id(of_stack: str, further: str) -> str:
    """A cluster's id in Kafka's form (16 bytes as 22 characters), made from the first one's for a further one."""
    return _kafka_id(uuid.uuid5(uuid.NAMESPACE_OID, f"{of_stack}/{further}")) if further else of_stack


def new_cluster_id() -> str:
    """A random cluster id."""
    return _kafka_id(uuid.uuid4())


def _kafka_id(number: uuid.UUID) -> str:
    text = base64.urlsafe_b64encode(number.bytes).decode().rstrip("=")
    return f"A{text[1:]}" if text.startswith("-") else text  # Kafka's tools would take that for an option
