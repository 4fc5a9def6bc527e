"""Which moves may be under way at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from redrive.partitions.layout import Move


@dataclass(frozen=True, slots=True)
class Limits:
    """What an execution may do at the same time, and how long it waits.

    Attributes:
        per_broker: moves in or out of one broker at a time.
        total: moves under way at a time.
        patience: seconds to wait for an unwell cluster, or for moves that don't get on, before it stops.
        poll: seconds between looks at the cluster.
    """

    per_broker: int = 5
    total: int = 100
    patience: float = 600.0
    poll: float = 2.0


def brokers_of(move: Move) -> set[int]:
    """Give the brokers that a move loads: those that get or give up a replica, and the one that sends, as a rule."""
    return {*move.added, *move.removed, *move.before[:1]}


def next_wave(pending: Iterable[Move], in_flight: Iterable[Move], limits: Limits) -> list[Move]:
    """Give the moves that may begin now: the first that fit beside those under way, in their order."""
    load: Counter[int] = Counter()
    total = 0
    for move in in_flight:
        load.update(brokers_of(move))
        total += 1
    wave = []
    for move in pending:
        if total >= limits.total:
            break
        brokers = brokers_of(move)
        if all(load[broker] < limits.per_broker for broker in brokers):
            load.update(brokers)
            total += 1
            wave.append(move)
    return wave
