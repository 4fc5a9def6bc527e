"""How the replicas of one partition are spread over racks.

Kafka places a new topic's replicas so that each rack gets the same number of a partition's replicas, or one more where
they do not divide evenly (KIP-36, "Rack aware replica assignment"); in KRaft its ``StripedReplicaPlacer`` does so. A
rack can't hold more replicas of a partition than it has brokers, so the rule is, for r replicas and racks of m brokers:

    U is the smallest number with Σ min(m, U) ≥ r;  each rack holds at least min(m, U − 1) and at most min(m, U).

With r = 2 on three racks that is 0 or 1 each; r = 4 on three racks: 1 or 2; r = 3 on two racks: 1 or 2. How many
replicas are too many or missing is what a partition's spread is *off* by. No move may make that more. Racks count only
if every broker names one, as in Kafka's ``RackAwareMode.Safe``; else all brokers are one rack, which asks for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property


class Rule:
    """The rule for partitions of one replication factor.

    Args:
        replicas: the replication factor.
        brokers: rack → how many brokers of it may hold replicas.
    """

    def __init__(self, replicas: int, brokers: Sequence[int]) -> None:
        level = 1
        while level < replicas and sum(min(m, level) for m in brokers) < replicas:
            level += 1
        self.most = [min(m, level) for m in brokers]
        self.least = [min(m, level - 1) for m in brokers]
        self._replicas = replicas

    @cached_property
    def bounds(self) -> tuple[list[int], list[int]]:
        """The fewest and the most replicas of one partition that each rack has where the rule is kept."""
        spare = self._replicas - sum(self.least)
        open_racks = sum(most > least for most, least in zip(self.most, self.least, strict=True))
        if spare >= open_racks:
            return self.most, self.most
        return self.least, self.most if spare > 0 else self.least

    @cached_property
    def rigid(self) -> bool:
        """Whether each rack has one possible number of replicas, so that nothing moves between racks."""
        return self.bounds[0] == self.bounds[1]

    def off(self, rack: int, held: int) -> int:
        """Give by how many replicas a rack is off that holds so many of a partition's."""
        return max(0, held - self.most[rack], self.least[rack] - held)

    def off_in_all(self, held: Sequence[int]) -> int:
        """Give by how many replicas the spread over all racks is off."""
        return sum(self.off(rack, number) for rack, number in enumerate(held))

    def allows(self, held: Sequence[int], source: int, target: int) -> bool:
        """Say whether a replica may go from one rack to another: the spread must not be further off than before."""
        if source == target:
            return True
        before = self.off(source, held[source]) + self.off(target, held[target])
        return self.off(source, held[source] - 1) + self.off(target, held[target] + 1) <= before
