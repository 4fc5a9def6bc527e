"""A cluster's brokers and partitions as a planner sees them, and what it is to move a partition."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker.

    Attributes:
        rack: where it stands (``broker.rack``; an availability zone on AWS); None if it does not say.
        capacity: bytes that its replicas can take up: what they take now, and what is free on its disks, whoever else
            uses these; None if it has no figures of that, as before Kafka 3.3.
        silent: it does not answer what its disks hold, or one of them has failed: nothing is to come to it.
    """

    id: int
    rack: str | None = None
    capacity: int | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition.

    Attributes:
        replicas: ids of the brokers that hold a replica, the preferred leader first.
        size: bytes of one replica; the leader's, since a replica that lags may have less.
    """

    topic: str
    number: int
    replicas: tuple[int, ...]
    size: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """All partitions of a cluster, and all its brokers, those without a replica too."""

    brokers: tuple[Broker, ...]
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """New replicas for a partition, or the same ones in a new order, which costs no bytes.

    Attributes:
        before, after: ids of its brokers, the preferred leader first.
        size: bytes of one replica.
    """

    topic: str
    number: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    size: int = 0

    @property
    def added(self) -> tuple[int, ...]:
        """Brokers that get a replica which they do not have."""
        return tuple(broker for broker in self.after if broker not in self.before)

    @property
    def removed(self) -> tuple[int, ...]:
        """Brokers that give theirs up."""
        return tuple(broker for broker in self.before if broker not in self.after)

    @property
    def bytes(self) -> int:
        """What is copied over the network."""
        return self.size * len(self.added)

    def back(self) -> Move:
        """Give the move that undoes this one, the order of the replicas included."""
        return Move(self.topic, self.number, self.after, self.before, self.size)


def reassignment_json(moves: Iterable[Move]) -> str:
    """Write moves as ``kafka-reassign-partitions --reassignment-json-file`` reads them."""
    partitions = [{"topic": move.topic, "partition": move.number, "replicas": list(move.after)} for move in moves]
    return json.dumps({"version": 1, "partitions": partitions})
