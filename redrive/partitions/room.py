"""How much room brokers have for what moves to them.

A plan leaves each broker's disks at most as full as its goal says (`Goal.disk_limit`, 85 %). Until it is carried out,
what is written, and whoever else uses the disks, may have taken some of that; so room is looked at again before moves
begin, by a limit that is somewhat higher: else what was planned right up to the limit could not end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redrive.partitions.layout import Move
from redrive.partitions.picture import Picture
from redrive.partitions.reader import PartitionReader
from redrive.partitions.survey import key_of

MOST_FULL = 0.95
"""The part of what a broker's replicas can take up that no move begins beyond."""


def room(capacity: int, usable: int) -> int:
    """Give the bytes that may still come to a broker; below 0 if it is fuller than it should be.

    Args:
        capacity: see `redrive.partitions.state.LogDirs.capacity`.
        usable: bytes that are free.
    """
    return usable - round((1 - MOST_FULL) * capacity)


def short_of_room(moves: Iterable[Move], picture: Picture) -> list[str]:
    """Say which brokers have no room for all that moves to them; of those that do not tell nothing is said.

    Nothing that leaves is counted as gone. Partitions count as they are now, or as planned if that is more.
    """
    now = {(each.topic, each.number): each.size for each in picture.layout.partitions}
    coming: dict[int, int] = {}
    for move in moves:
        for broker in move.added:
            coming[broker] = coming.get(broker, 0) + max(move.size, now.get(key_of(move), 0))
    found = []
    for each in picture.brokers:
        if each.id in coming and each.size is not None and each.usable is not None:
            left = room(each.size + each.usable, each.usable)
            if coming[each.id] > max(0, left):
                found.append(_short(each.id, left, f"{coming[each.id]:,} are to come"))
    return found


class Room:
    """Looks at the disks of brokers that moves are to begin to, wave by wave."""

    def __init__(self, reader: PartitionReader) -> None:
        self._reader = reader
        # As it was at the first look: to add up all that a broker holds is too much for every wave.
        self._capacities: dict[int, int | None] = {}

    def fitting(self, wave: Sequence[Move], in_flight: Sequence[Move]) -> tuple[list[Move], str]:
        """Give the moves that there is room for beside those under way; and why not for the others, if there are any.

        Brokers that tell no figures of their disks (those before Kafka 3.3) have room for all; one that does not
        answer, or of which a disk has failed, has none.
        """
        left, silent = self._left({broker for move in wave if move.size for broker in move.added}, in_flight)
        fitting, short = list[Move](), dict[int, str]()
        for move in wave:
            tight = [broker for broker in move.added if move.size and left.get(broker, move.size) < move.size]
            for broker in tight:
                named = f"{move.topic}/{move.number} has {move.size:,}"
                short.setdefault(broker, silent.get(broker) or _short(broker, int(left[broker]), named))
            if not tight:
                fitting.append(move)
                for broker in left.keys() & set(move.added):
                    left[broker] -= move.size
        return fitting, "; ".join(short[broker] for broker in sorted(short))

    def _left(self, brokers: set[int], in_flight: Sequence[Move]) -> tuple[dict[int, float], dict[int, str]]:
        """Give for each broker the bytes that may come beside what is under way; and why none, if it does not tell."""
        new = self._reader.log_dirs(sorted(brokers - self._capacities.keys()))
        self._capacities |= {id_: each.capacity for id_, each in new.items() if not each.unknown}
        left, silent = dict[int, float](), dict[int, str]()
        for id_, each in self._reader.log_dirs(sorted(brokers), map(key_of, in_flight)).items():
            capacity = self._capacities.get(id_)
            if unknown := each.unknown or (new[id_].unknown if id_ not in self._capacities else ""):
                left[id_], silent[id_] = 0, f"broker {id_} does not tell what its disks hold: {unknown}"
            elif capacity is None or each.usable is None:
                left[id_] = float("inf")
            else:
                coming = [max(0, m.size - each.sizes.get(key_of(m), 0)) for m in in_flight if id_ in m.added]
                left[id_] = room(capacity, each.usable) - sum(coming)
        return left, silent


def _short(broker: int, left: int, needed: str) -> str:
    return f"broker {broker} has room for {max(0, left):,} bytes more, and {needed}"
