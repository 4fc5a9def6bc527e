"""Whether a throttle lets moving partitions ever catch up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import nlargest

from redrive.errors import ThrottleTooLowError
from redrive.partitions.layout import Move
from redrive.partitions.state import Key

HEADROOM = 1.1
"""What a rate must have over what it never gets below: else catching up takes for ever all the same."""


def needed(
    moves: Iterable[Move], inflow: Mapping[Key, float], leaders: Mapping[Key, int], at_once: int
) -> dict[int, float]:
    """Give for each broker the bytes a second of its throttle that new events of its moving partitions take.

    A new replica receives what is produced. A leader sends it to every follower, and Kafka counts all of it, though it
    holds back only those that are not in sync (``KafkaApis.sizeOfThrottledPartitions`` and
    ``ReplicaManager.shouldLeaderThrottle``).

    Args:
        moves: of which ``at_once`` are under way on a broker at the same time, the busiest ones if it comes to that.
        inflow: bytes a second produced to each partition; none for those not in it.
        leaders: who leads; the preferred leader for those not in it.
        at_once: moves.
    """
    received: defaultdict[int, list[float]] = defaultdict(list)
    sent: defaultdict[int, list[float]] = defaultdict(list)
    for move in moves:
        key = move.topic, move.number
        flow = inflow.get(key, 0.0)
        if not move.added or not move.before:
            continue
        sent[leaders.get(key, move.before[0])].append(flow * (len(move.before) - 1 + len(move.added)))
        for broker in move.added:
            received[broker].append(flow)
    brokers = {*received, *sent}
    return {id_: max(sum(nlargest(at_once, each.get(id_, []))) for each in (received, sent)) for id_ in brokers}


def least_rate(needs: Mapping[int, float]) -> int:
    """Give the least rate, in bytes a second, at which all brokers catch up in the end."""
    return int(max(needs.values(), default=0.0) * HEADROOM) + 1


def require_convergence(rate: int, needs: Mapping[int, float]) -> None:
    """Refuse a rate at which a broker would never catch up.

    Raises:
        ThrottleTooLowError: with what is needed, and where.
    """
    least = least_rate(needs)
    if rate < least:
        broker = max(needs, key=lambda id_: needs[id_], default=0)
        raise ThrottleTooLowError(rate, broker, needs.get(broker, 0.0), least)
