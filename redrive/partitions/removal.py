"""Whether a broker that was drained may be taken away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
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
        voter: it is one of the controllers' quorum as well, which would have one vote fewer; None: not known.
    """

    broker: int
    left: tuple[Key, ...]
    led: int
    voter: bool | None = False

    @property
    def safe(self) -> bool:
        """Whether it holds nothing, and has no vote."""
        return not (self.left or self.voter)

    def __str__(self) -> str:
        reasons = []
        if self.left:
            names = ", ".join(f"{topic}/{number}" for topic, number in self.left[:_SHOWN])
            more = f" and {len(self.left) - _SHOWN} more" if len(self.left) > _SHOWN else ""
            reasons.append(f"it holds {names}{more}, and leads {self.led} of them")
        if self.voter:
            reasons.append("it is a controller as well, with a vote in the quorum: take that from it first")
        if reasons:
            return f"broker {self.broker} is not safe to remove: {'; '.join(reasons)}"
        unless = ", unless it is a controller as well, which the cluster does not tell" if self.voter is None else ""
        return f"broker {self.broker} is safe to remove{unless}"


@dataclass(frozen=True, slots=True)
class Drained:
    """Whether brokers that were drained may be taken away.

    Attributes:
        removals: of each.
        together: why none of them may, as they are not those that have to go together; empty if they may.
    """

    removals: tuple[Removal, ...]
    together: str

    @property
    def safe(self) -> list[int]:
        """Those that may be taken away."""
        return [] if self.together else [each.broker for each in self.removals if each.safe]

    def __str__(self) -> str:
        if not self.together:
            return "; ".join(map(str, self.removals))
        each = [f"broker {one.broker} is empty" if one.safe else str(one) for one in self.removals]
        return "; ".join([*each, self.together])

    def evidence(self) -> dict[str, Any]:
        """Give it for the ledger."""
        held = {str(each.broker): [f"{topic}/{number}" for topic, number in each.left] for each in self.removals}
        votes = [each.broker for each in self.removals if each.voter]
        return {
            "safe_to_remove": self.safe,
            "still_held": held,
            **({"controllers": votes} if votes else {}),
            **({"not_together": self.together} if self.together else {}),
        }


def drained(
    ids: Iterable[int],
    brokers: Iterable[BrokerState],
    partitions: Mapping[Key, PartitionState],
    voters: Collection[int] | None,
) -> Drained:
    """Say whether brokers may be taken away.

    Args:
        ids: theirs.
        brokers: all of the cluster.
        partitions: all of the cluster, as they are now.
        voters: ids of the controllers' quorum, see `redrive.partitions.reader.PartitionReader.voters`.
    """
    leaving, found = sorted(ids), []
    for broker in leaving:
        held = [
            each
            for each in partitions.values()
            if (broker in each.replicas or each.leader == broker) and not each.topic.startswith(CANARY)
        ]
        led = sum(each.leader == broker for each in held)
        voter = None if voters is None else broker in voters
        found.append(Removal(broker, tuple(each.key for each in held), led, voter))
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
    return (
        f"Amazon MSK takes away as many brokers in each zone, and these are {told}: drain as many in each, in one run, "
        "with those that are empty already"
    )
