"""Whether a broker that was drained may be taken away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redrive.partitions.planner.goal import CANARY
from redrive.partitions.state import BrokerState, Key, PartitionState

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Removal:
    """Whether a broker may be taken away.

    Attributes:
        left: its replicas that are still there; Amazon MSK's own topics don't count, see `CANARY`.
        led: how many of them it leads.
    """

    broker: int
    left: tuple[Key, ...]
    led: int

    @property
    def safe(self) -> bool:
        """Whether it holds nothing."""
        return not self.left

    def __str__(self) -> str:
        if self.safe:
            return f"broker {self.broker} is safe to remove"
        names = ", ".join(f"{topic}/{number}" for topic, number in self.left[:_SHOWN])
        more = f" and {len(self.left) - _SHOWN} more" if len(self.left) > _SHOWN else ""
        return f"broker {self.broker} is not safe to remove: it holds {names}{more}, and leads {self.led} of them"


@dataclass(frozen=True, slots=True)
class Drained:
    """Whether brokers that were drained may be taken away.

    Attributes:
        removals: of each.
        together: why all of them together may not, though each may; empty if they may.
    """

    removals: tuple[Removal, ...]
    together: str

    def __str__(self) -> str:
        return "; ".join([*map(str, self.removals), *([self.together] if self.together else [])])

    def evidence(self) -> dict[str, Any]:
        """Give it for the ledger."""
        held = {str(each.broker): [f"{topic}/{number}" for topic, number in each.left] for each in self.removals}
        return {"safe_to_remove": [each.broker for each in self.removals if each.safe], "still_held": held}


def drained(ids: Iterable[int], brokers: Iterable[BrokerState], partitions: Mapping[Key, PartitionState]) -> Drained:
    """Say whether brokers may be taken away.

    Args:
        ids: theirs.
        brokers: all of the cluster.
        partitions: all of the cluster, as they are now.
    """
    leaving, found = sorted(ids), []
    for broker in leaving:
        held = [
            each
            for each in partitions.values()
            if (broker in each.replicas or each.leader == broker) and not each.topic.startswith(CANARY)
        ]
        led = sum(each.leader == broker for each in held)
        found.append(Removal(broker, tuple(each.key for each in held), led))
    return Drained(tuple(found), _msk_refuses(set(leaving), list(brokers), partitions))


def _msk_refuses(leaving: set[int], brokers: Sequence[BrokerState], partitions: Mapping[Key, PartitionState]) -> str:
    """Say why Amazon MSK would not take brokers away together; empty if it would, or if it is not Amazon MSK.

    It takes away one for each availability zone at a time:
    https://docs.aws.amazon.com/msk/latest/developerguide/msk-remove-broker.html
    """
    if not any(topic.startswith(CANARY) for topic, _ in partitions):
        return ""
    zones = Counter({broker.rack: 0 for broker in brokers})
    zones.update(broker.rack for broker in brokers if broker.id in leaving)
    if len(set(zones.values())) <= 1:
        return ""
    told = ", ".join(f"{count} in {zone}" for zone, count in sorted(zones.items(), key=str))
    return f"Amazon MSK takes away as many brokers in each zone, and these are {told}"
