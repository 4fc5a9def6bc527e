"""`Plan`: the moves, what they cost, and how a cluster looks before and after."""

from __future__ import annotations

from dataclasses import dataclass

from redrive.partitions.layout import Move
from redrive.partitions.planner.goal import Goal


@dataclass(frozen=True, slots=True)
class BrokerLoad:
    """What a broker has, before and after.

    Attributes:
        target: bytes that it should have.
        size, replicas, leaders: before, and after.
    """

    broker: int
    rack: str | None
    target: int
    size: tuple[int, int]
    replicas: tuple[int, int]
    leaders: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to reach a goal.

    Attributes:
        goal: what is to be reached.
        moves: by topic and number.
        brokers: by id.
        least: bytes that any plan that reaches the goal copies, at least.
        findings: what could not be reached, and why.
    """

    goal: Goal
    moves: tuple[Move, ...]
    brokers: tuple[BrokerLoad, ...]
    least: int
    findings: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """What is copied over the network."""
        return sum(move.bytes for move in self.moves)

    @property
    def order_changes(self) -> int:
        """How many of the moves change the order of replicas only, which copies nothing."""
        return sum(not move.added and not move.removed for move in self.moves)
