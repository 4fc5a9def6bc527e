"""Bytes: as few as possible are moved, so that every broker is within the band of its target.

What has to move follows from two sums over the brokers: what those under their band lack, and what those over theirs
have too much. Whatever the plan, the larger one is moved at least: each byte that is copied reduces either sum by one
at most. So only brokers under the band are filled, up to its lower edge, from those that have most too much; then those
that are still over it give to those that have most room.

Of what a broker gives, the replica is taken whose size is nearest to the bytes that the receiver lacks, divided by the
replicas that it lacks: so both numbers come right together. Among those of about that size, one of a topic of which the
giver has many and the receiver few.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence

from redrive.partitions.planner.placement import Placement
from redrive.partitions.planner.shelf import Shelf

_CANDIDATES = 3  # looked at for the topic's sake
_TRIES = 200  # replicas that may be in the way of the constraints before the next giver is asked


class Edges:
    """The band of each broker, in bytes.

    Attributes:
        low, high: its edges.
    """

    def __init__(self, targets: Sequence[float], band: float) -> None:
        self.low = [(1 - band) * target for target in targets]
        self.high = [(1 + band) * target for target in targets]


def least_bytes(loads: Sequence[float], targets: Sequence[float], band: float) -> float:
    """Give the bytes that have to be copied, at least, to bring every broker within the band of its target."""
    lack = sum(max(0.0, (1 - band) * target - load) for load, target in zip(loads, targets, strict=True))
    surplus = sum(max(0.0, load - (1 + band) * target) for load, target in zip(loads, targets, strict=True))
    return max(lack, surplus)


def balance_bytes(placement: Placement, targets: Sequence[float], band: float) -> None:
    """Move replicas until every broker is within the band of its target, or nothing more can be done."""
    shelves, edges, mean = _shelves(placement), Edges(targets, band), _mean_count(placement)
    _fill(placement, shelves, edges, (1 - band) * mean)
    _empty(placement, shelves, edges, mean)


def balance_counts(placement: Placement, targets: Sequence[float], band: float, spread: float = 0.1) -> None:
    """Move the smallest replicas until no broker's number of them is further from the mean than ``spread``.

    Only as long as bytes stay in the band: and, but for empty partitions, only brokers that are further off than that.
    """
    mean = _mean_count(placement)
    if all(placement.sizes) and max(placement.count) <= (1 + spread) * mean:
        return
    shelves = _shelves(placement)
    low = [(1 - band) * target for target in targets]
    high = [(1 + band) * target for target in targets]
    open_ = [at for at in range(len(placement.ids)) if shelves[at] is not None or placement.takes[at]]
    for source in sorted(open_, key=lambda at: -placement.count[at]):
        shelf = shelves[source]
        if shelf is None:
            continue
        for partition in list(shelf.smallest()):
            size = placement.sizes[partition]
            far = (1 + spread) * mean if size else mean
            if placement.count[source] <= far or (size and placement.load[source] - size < low[source]):
                break
            target = _fewest(placement, partition, source, high, (1 + spread) * mean if size else mean - 0.5)
            if target is not None:
                placement.move(partition, source, target)
                shelf.take(partition, size)


def _fewest(placement: Placement, partition: int, source: int, high: Sequence[float], below: float) -> int | None:
    size = placement.sizes[partition]
    found = [
        at
        for at in range(len(placement.ids))
        if placement.count[at] < min(below, placement.count[source] - 1)
        and (not size or placement.load[at] + size <= high[at])
        and placement.allows(partition, source, at)
    ]
    return min(found, key=lambda at: (placement.count[at], at)) if found else None


def _shelves(placement: Placement) -> list[Shelf | None]:
    held: list[list[int]] = [[] for _ in placement.ids]
    for partition, replicas in enumerate(placement.replicas):
        if not placement.fixed[partition]:
            for broker in replicas:
                held[broker].append(partition)
    return [
        Shelf(partitions, placement.sizes) if gives else None
        for partitions, gives in zip(held, placement.gives, strict=True)
    ]


def _mean_count(placement: Placement) -> float:
    used = [
        count
        for at, count in enumerate(placement.count)
        if (placement.takes[at] or placement.gives[at]) and at not in placement.drained
    ]
    return sum(used) / max(1, len(used))


def _fill(placement: Placement, shelves: Sequence[Shelf | None], edges: Edges, mean: float) -> None:
    """Fill brokers that are under the band."""
    load, low, high, sizes = placement.load, edges.low, edges.high, placement.sizes
    givers = _Givers(placement, shelves, edges)
    lacking = [(load[at] - low[at], at) for at, takes in enumerate(placement.takes) if takes and load[at] < low[at]]
    heapq.heapify(lacking)
    while lacking:
        _, target = heapq.heappop(lacking)
        lack = low[target] - load[target]
        size = lack / max(1.0, mean - placement.count[target])  # so the last one is hardly more than what is lacking

        def fits(partition: int, source: int, target: int = target) -> bool:
            some = sizes[partition]
            return some > 0 and load[target] + some <= high[target] and load[source] - some >= low[source]

        for source in givers.by_surplus(target):
            # What suits the giver as well: it has bytes and replicas too many.
            spare = max(0.0, load[source] - high[source]) / max(1.0, placement.count[source] - mean)
            wanted = min(lack, max(size / 4, min(size * 4, spare)))
            if _move_best(placement, shelves[source], source, target, wanted, fits):
                if load[target] < low[target]:
                    heapq.heappush(lacking, (load[target] - low[target], target))
                break


class _Givers:
    """Brokers that may give, those of the receiver's rack first: from there, any replica can come."""

    def __init__(self, placement: Placement, shelves: Sequence[Shelf | None], edges: Edges) -> None:
        self._placement, self._edges = placement, edges
        self._all = [at for at, shelf in enumerate(shelves) if shelf is not None]
        racks = range(len(placement.brokers_in))
        self._of_rack = [[at for at in self._all if placement.racks[at] == rack] for rack in racks]

    def by_surplus(self, target: int) -> Iterator[int]:
        """Give those that could give to a broker, the one with most too much first."""
        load, high = self._placement.load, self._edges.high
        here = self._of_rack[self._placement.racks[target]]
        first = max((at for at in here if at != target), key=lambda at: load[at] - high[at], default=None)
        if first is not None:
            yield first  # nearly always the one: so the others are not put in order
        others = [at for at in self._all if at not in (target, first)]
        yield from _by_rack(self._placement, target, others, lambda at: high[at] - load[at])


def _empty(placement: Placement, shelves: Sequence[Shelf | None], edges: Edges, mean: float) -> None:
    """Empty brokers that are over the band, towards those with most room."""
    load, low, high, sizes = placement.load, edges.low, edges.high, placement.sizes
    for source in sorted(range(len(load)), key=lambda at: high[at] - load[at]):
        while shelves[source] and load[source] > high[source]:
            surplus = load[source] - high[source]
            size = surplus / max(1.0, placement.count[source] - mean)
            takers = [at for at, takes in enumerate(placement.takes) if takes and load[at] < high[at]]
            for target in _by_rack(placement, source, takers, lambda at: load[at] - high[at]):

                def fits(partition: int, source: int, target: int = target) -> bool:
                    some = sizes[partition]
                    return 0 < some <= high[target] - load[target] and load[source] - some >= low[source]

                if _move_best(placement, shelves[source], source, target, size, fits):
                    break
            else:
                break


def _by_rack(placement: Placement, of: int, others: Sequence[int], key: Callable[[int], float]) -> list[int]:
    """Order the brokers for the other end of a move: first those of the same rack, where any replica can go."""
    rack, racks = placement.racks[of], placement.racks
    found = [(racks[at] != rack, key(at), at) for at in others if at != of]
    return [at for elsewhere, _, at in sorted(found) if not (elsewhere and placement.rack_bound)]


def _move_best(  # noqa: PLR0917
    placement: Placement,
    shelf: Shelf | None,
    source: int,
    target: int,
    size: float,
    fits: Callable[[int, int], bool],
) -> bool:
    """Move the replica that is best to move between two brokers; False if none can be."""
    best = None if shelf is None else _best(placement, shelf, source, target, size, fits)
    if shelf is None or best is None:
        return False
    shelf.take(best, placement.sizes[best])
    placement.move(best, source, target)
    return True


def _best(  # noqa: PLR0917
    placement: Placement,
    shelf: Shelf,
    source: int,
    target: int,
    size: float,
    fits: Callable[[int, int], bool],
) -> int | None:
    best, most, found = None, 0, 0
    for tries, partition in enumerate(shelf.nearest(size)):
        if fits(partition, source) and placement.allows(partition, source, target):
            apart = placement.apart(partition, source, target)
            if best is None or apart > most:
                best, most = partition, apart
            found += 1
        if found >= _CANDIDATES or tries >= _TRIES:
            break
    return best
