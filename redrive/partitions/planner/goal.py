"""What a plan is to reach, and what it must not touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from redrive.errors import GoalError
from redrive.partitions.layout import Layout

Mode = Literal["balance", "add_brokers", "drain_brokers", "leaders", "replication_factor"]
"""What a plan is for:

- ``balance``: bytes, replicas and leaders evenly over all brokers;
- ``add_brokers``: some brokers are new: they take their share, the others only give;
- ``drain_brokers``: everything leaves some brokers, so that they can be removed;
- ``leaders``: leaders evenly, by the order of replicas alone: copies nothing;
- ``replication_factor``: so many replicas for each partition.
"""

CANARY = "__amazon_msk_canary"
"""How topics begin that Amazon MSK keeps on each broker itself; they need not leave one that is to be removed.

Source: MSK developer guide, "Remove a broker from an Amazon MSK cluster".
"""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a plan is to reach.

    Attributes:
        mode: see `Mode`.
        brokers: those that are new, or that are drained; for ``add_brokers``, none: those without a replica.
        band: how far, as a fraction of it, a broker's bytes may be from their target.
        replication: for ``replication_factor``.
        excluded_topics: left as they are; what they take counts.
        excluded_brokers: nothing comes to them, nothing leaves them.
        disk: the fraction of a broker's capacity that no move may fill it beyond.
    """

    mode: Mode = "balance"
    brokers: frozenset[int] = frozenset()
    band: float = 0.05
    replication: int | None = None
    excluded_topics: frozenset[str] = frozenset()
    excluded_brokers: frozenset[int] = frozenset()
    disk: float = 0.85

    def check(self, layout: Layout) -> None:
        """Refuse what makes no sense for a cluster.

        Raises:
            GoalError: with what is wrong and what to do.
        """
        known = {broker.id for broker in layout.brokers}
        if unknown := sorted((self.brokers | self.excluded_brokers) - known):
            raise GoalError("brokers", f"there is no broker {_list(unknown)}; there are {_list(sorted(known))}")
        if twice := sorted(self.brokers & self.excluded_brokers):
            raise GoalError("excluded_brokers", f"broker {_list(twice)} can't be left alone and {_DOING[self.mode]}")
        if not 0 < self.band < 1:
            raise GoalError("band", f"must be between 0 and 1; it is {self.band:g}")
        if not 0 < self.disk <= 1:
            raise GoalError("disk", f"must be above 0, and 1 at most; it is {self.disk:g}")
        if self.mode in ("balance", "leaders", "replication_factor") and self.brokers:
            raise GoalError("brokers", f"mean nothing for {self.mode}; to leave some alone, exclude them")
        if (self.mode == "replication_factor") != (self.replication is not None):
            raise GoalError("replication", f"goes with replication_factor, and only with it; the mode is {self.mode}")
        if self.mode == "drain_brokers":
            self._check_drain(layout, known)
        elif self.mode == "add_brokers" and not self.brokers:
            used = {broker for partition in layout.partitions for broker in partition.replicas}
            if not known - used - self.excluded_brokers:
                raise GoalError("brokers", "name the new ones: there is no broker without replicas")
        elif self.replication is not None and not 1 <= self.replication <= len(known - self.excluded_brokers):
            at_most = len(known - self.excluded_brokers)
            raise GoalError("replication", f"must be 1 to {at_most}, as many as there are brokers to take replicas")

    def new_brokers(self, layout: Layout) -> frozenset[int]:
        """Give the brokers that take, for ``add_brokers``."""
        if self.brokers:
            return self.brokers
        used = {broker for partition in layout.partitions for broker in partition.replicas}
        return frozenset(broker.id for broker in layout.brokers if broker.id not in used) - self.excluded_brokers

    def is_fixed(self, topic: str) -> bool:
        """Say whether a topic's partitions stay where they are."""
        return topic in self.excluded_topics or topic.startswith(CANARY)

    def _check_drain(self, layout: Layout, known: set[int]) -> None:
        if not self.brokers:
            raise GoalError("brokers", "name those that are to be drained")
        left = known - self.brokers - self.excluded_brokers
        for partition in layout.partitions:
            leaving = self.brokers.intersection(partition.replicas)
            stay = [broker for broker in partition.replicas if broker not in self.brokers]
            if leaving and not self.is_fixed(partition.topic) and len(left - set(stay)) < len(leaving):
                raise GoalError(
                    "brokers",
                    f"{partition.topic}/{partition.number} has {len(partition.replicas)} replicas, and without broker "
                    f"{_list(sorted(self.brokers))} there are too few brokers for them; drain fewer, or lower the "
                    "replication factor first",
                )


_DOING = {
    "drain_brokers": "drained",
    "add_brokers": "filled",
    "balance": "balanced",
    "leaders": "balanced",
    "replication_factor": "used",
}


def _list(ids: list[int]) -> str:
    return ", ".join(map(str, ids))
