"""What a plan is, once it is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import msgspec

from redrive.partitions.layout import Layout, Move
from redrive.partitions.planner.goal import Goal


@dataclass(frozen=True, slots=True)
class Figures:
    """What one broker holds.

    Attributes:
        bytes: of all its replicas.
        replicas: how many there are.
        leaders: how many of these are preferred leaders.
    """

    broker: int
    bytes: int
    replicas: int
    leaders: int


@dataclass(frozen=True)
class Plan:
    """Moves that bring a layout to a goal.

    Attributes:
        layout, goal: what it was made from.
        moves: by topic and number of the partition; those that only change an order, and cost nothing, among them.
        mended: how many of the moves spread a partition over racks better that broke the rack rule.
        targets: broker → bytes that it should hold; empty in the modes that do not balance bytes.
        before, after: each broker's figures, by id.
        bytes: what has to be copied.
        least_bytes: what no plan that ends within the band could do without.
        findings: what can't be reached, and why, in sentences.
    """

    layout: Layout
    goal: Goal
    moves: tuple[Move, ...]
    mended: int
    targets: dict[int, int]
    before: tuple[Figures, ...]
    after: tuple[Figures, ...]
    bytes: int
    least_bytes: int
    findings: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Bytes moved over the least; below 1 only where a finding says that the band is not met."""
        return self.bytes / self.least_bytes if self.least_bytes else 1.0 if not self.bytes else float("inf")

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of the moves and the state they were made from.

        The state is the brokers with their racks, and every partition with its replicas in order. Sizes are no part of
        it, in a cluster in use they change all the time: the same moves from the same replicas are the same plan.
        """
        layout = self.layout
        sha = hashlib.sha256()
        brokers = sorted((broker.id, broker.rack) for broker in layout.brokers)
        partitions = sorted((partition.topic, partition.number, partition.replicas) for partition in layout.partitions)
        moves = [(move.topic, move.number, move.before, move.after) for move in self.moves]
        for part in (brokers, partitions, moves):
            sha.update(msgspec.json.encode(part) + b"\n")
        return sha.hexdigest()
