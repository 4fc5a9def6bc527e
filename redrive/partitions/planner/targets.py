"""How many bytes (or replicas) each broker should hold, the band around it, and the least that must move.

**Target.** All brokers the same, as far as the hard rules let it be: a broker can't get below what may not leave it
(`Room.low`), nor above what may come to it (`Room.high`), and a rack's brokers together can't get below or above what
the rack rule makes of the partitions' sizes. So one level is found, as water in a vessel with steps, at which every
broker holds ``min(max(level, low), high)``, each rack's total is put back within its bounds by a level of its own, and
the totals come to what there is. Where each rack must hold one replica of everything and racks differ in brokers, each
rack gets its own level that way: its bytes over its brokers.

**A giant**, a replica that is larger than the band allows a broker to hold, lies somewhere: its broker's `low` is
raised to its size, and the others share the rest. (One giant a broker: a second one should leave.)

**Least bytes.** Let t be the targets, b the band, l the loads. In any plan whose loads end within the band:
a broker with less than (1 − b)·t receives at least (1 − b)·t − l; and one with more than (1 + b)·t sends at least
l − (1 + b)·t, which some other broker receives. Bytes received are bytes moved, so neither sum can be undercut, and
neither can the larger. If every partition's number of replicas in each rack is given (a rigid `Rule`, kept before),
nothing comes to a rack from another one, so that this holds in each rack by itself, and the racks' larger sums add up.
Independently, one move of a replica takes at most 2 from what a partition's spread over racks is off by (one too many
here, one missing there), so that to mend w takes at least ⌈w/2⌉ copies. The larger of the two bounds is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor, inf

from redrive.partitions.planner.board import Board
from redrive.partitions.planner.goal import Goal

_PART_OF_CROSSING = 0.1
"""How much of the bytes that may go from rack to rack `aims` lets go; it does not look at replicas one by one."""


@dataclass(frozen=True, slots=True)
class Band:
    """Where each broker should end.

    Attributes:
        target: broker → what it should hold.
        low, high: broker → the least and the most that counts as balanced.
        giants: broker → the partition on it which is larger than the band by itself.
    """

    target: list[float]
    low: list[float]
    high: list[float]
    giants: dict[int, int]

    def miss(self, b: int, load: float) -> float:
        """Give how far a load is outside."""
        return max(0.0, self.low[b] - load, load - self.high[b])

    def outside(self, b: int, load: float) -> bool:
        """Say whether a load is outside: by a byte or so, since bytes are whole and a target need not be."""
        return self.miss(b, load) > 0.999


@dataclass(frozen=True, slots=True)
class _Room:
    low: list[float]
    high: list[float]
    rack_low: list[float]
    rack_high: list[float]


def byte_band(board: Board, goal: Goal, held: Sequence[Sequence[int]]) -> Band:
    """Give the targets for bytes; see the module. `held` is what may leave each broker, see `Board.held_by`."""
    n = range(len(board.ids))
    free = [sum(board.size[p] for p in held[b]) for b in n]
    low, high = _edges(board, goal, board.load, free, board.limit)
    largest = [held[b][-1] if held[b] else -1 for b in n]
    giants: dict[int, int] = {}
    rack_low, rack_high = _rack_bounds(board, board.size)
    while True:
        target = _levels(board, _Room(low, high, rack_low, rack_high), float(sum(board.load)))
        new = {
            b: largest[b]
            for b in n
            if b not in giants
            and board.ids[b] not in goal.drains
            and largest[b] >= 0
            and board.size[largest[b]] > max(low[b], (1 + goal.band) * target[b])
        }
        if not new:
            break
        giants |= new
        for b, p in new.items():
            low[b] = float(min(board.size[p] + board.load[b] - free[b], board.load[b]))
            high[b] = max(high[b], low[b])
    return Band(
        target,
        [max(low[b], min(target[b] * (1 - goal.band), high[b])) for b in n],
        [min(max(target[b] * (1 + goal.band), low[b]), high[b]) for b in n],
        giants,
    )


def count_band(board: Board, goal: Goal, held: Sequence[Sequence[int]]) -> Band:
    """Give the targets for replicas: each broker should have the whole numbers next to its fair share."""
    low, high = _edges(board, goal, board.count, [len(partitions) for partitions in held], [inf] * len(held))
    bounds = _rack_bounds(board, [1] * len(board.size))
    target = _levels(board, _Room(low, high, *bounds), float(sum(board.count)))
    return Band(target, [float(floor(t + 1e-6)) for t in target], [float(ceil(t - 1e-6)) for t in target], {})


def _edges(
    board: Board, goal: Goal, now: Sequence[int], free: Sequence[int], limit: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Give the least and the most that each broker can hold, for what may leave it and may come to it."""
    low, high = [], []
    for b, (all_, may_leave) in enumerate(zip(now, free, strict=True)):
        drained = board.ids[b] in goal.drains
        only_takes = goal.mode == "drain_brokers" and not drained
        low.append(float(all_ if only_takes else all_ - may_leave))
        most = limit[b] if board.takes[b] else float(all_)
        high.append(low[b] if drained else max(most, low[b]))
    return low, high


def _rack_bounds(board: Board, weight: Sequence[int]) -> tuple[list[float], list[float]]:
    """Give the least and the most that each rack can hold by the rack rule."""
    racks = range(len(board.racks))
    by_factor: dict[int, int] = {}
    low, high = [0.0] * len(racks), [0.0] * len(racks)
    for p, held in enumerate(board.replicas):
        if board.stays[p]:
            for b in held:
                low[board.rack[b]] += weight[p]
                high[board.rack[b]] += weight[p]
        else:
            by_factor[len(held)] = by_factor.get(len(held), 0) + weight[p]
    for replicas, total in by_factor.items():
        fewest, most = board.rule(replicas).bounds
        for rack in racks:
            low[rack] += fewest[rack] * total
            high[rack] += most[rack] * total
    return low, high


def _levels(board: Board, room: _Room, total: float) -> list[float]:
    """Give each broker's share of `total`."""

    def share(level: float, b: int) -> float:
        return min(max(level, room.low[b]), room.high[b])

    def in_rack(level: float, rack: int) -> float:
        held = sum(share(level, b) for b in board.brokers_of[rack])
        return min(max(held, room.rack_low[rack]), room.rack_high[rack])

    racks = range(len(board.racks))
    level = _solve(lambda x: sum(in_rack(x, rack) for rack in racks), total)
    result = [0.0] * len(board.ids)
    for rack in racks:
        wanted = in_rack(level, rack)
        brokers = board.brokers_of[rack]
        own = _solve(partial(_held, share, brokers), wanted)
        for b in brokers:
            result[b] = share(own, b)
    return result


def _held(share: Callable[[float, int], float], brokers: Sequence[int], level: float) -> float:
    return sum(share(level, b) for b in brokers)


def _solve(held: Callable[[float], float], total: float) -> float:
    """Give the level at which so much is held, or the end of the scale that comes nearest. `held` never falls."""
    low, high = 0.0, total + 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if held(middle) < total:
            low = middle
        else:
            high = middle
    return high


def least_bytes(board: Board, band: Band, off: Collection[int]) -> float:
    """Give the bytes that every plan which ends within the band must move, mending aside; see the module.

    Args:
        off: the partitions that break the rack rule.
    """
    n = range(len(board.ids))
    lacking = [max(0.0, band.low[b] - board.load[b]) for b in n]
    over = [max(0.0, board.load[b] - band.high[b]) for b in n]
    groups = [list(n)]
    factors = {len(held) for held, stays in zip(board.replicas, board.stays, strict=True) if not stays}
    if not off and len(board.racks) > 1 and all(board.rule(replicas).rigid for replicas in factors):
        groups = board.brokers_of
    return sum(max(sum(lacking[b] for b in group), sum(over[b] for b in group)) for group in groups)


def aims(board: Board, band: Band) -> list[float]:
    """Give what each broker should end with, if it is to be within the band for the least bytes.

    Whoever is outside goes to the near edge. If more must come than must go, or the other way round, the rest comes
    from those that are fullest (goes to those that are emptiest), down (up) to one level for all. That is settled among
    all brokers if what has to go from rack to rack for it is a small part of what may; else in each rack by itself, as
    far as its brokers' bands let it keep what it has.
    """
    loads = [float(load) for load in board.load]
    everyone = range(len(loads))
    result = _aims(loads, band, everyone, sum(loads))
    crossing = sum(abs(sum(result[b] - loads[b] for b in brokers)) for brokers in board.brokers_of) / 2
    may_cross = sum(
        size
        for size, held, stays in zip(board.size, board.replicas, board.stays, strict=True)
        if not stays and not board.rule(len(held)).rigid
    )
    if crossing <= _PART_OF_CROSSING * may_cross:
        return result
    rack_totals = []
    for brokers in board.brokers_of:
        held, low, high = (sum(figures[b] for b in brokers) for figures in (loads, band.low, band.high))
        rack_totals.append(min(max(held, low), high))
    _settle(rack_totals, band, board, sum(loads))
    for rack, brokers in enumerate(board.brokers_of):
        for b, aim in zip(brokers, _aims(loads, band, brokers, rack_totals[rack]), strict=True):
            result[b] = aim
    return result


def _settle(rack_totals: list[float], band: Band, board: Board, total: float) -> None:
    """Change the racks' totals, each by its share of the room that it has, until they come to `total`."""
    missing = total - sum(rack_totals)
    edge = band.high if missing > 0 else band.low
    rooms = [abs(sum(edge[b] for b in brokers) - rack_totals[rack]) for rack, brokers in enumerate(board.brokers_of)]
    if missing and sum(rooms) > 0:
        part = min(1.0, abs(missing) / sum(rooms))
        for rack, room in enumerate(rooms):
            if room:
                rack_totals[rack] += (room if missing > 0 else -room) * part


def _aims(loads: Sequence[float], band: Band, brokers: Sequence[int], total: float) -> list[float]:
    near = [min(max(loads[b], band.low[b]), band.high[b]) for b in brokers]
    if sum(near) > total:
        level = _solve(lambda x: sum(_down(x, near[i], b, band) for i, b in enumerate(brokers)), total)
        return [_down(level, near[i], b, band) for i, b in enumerate(brokers)]
    level = _solve(lambda x: sum(_up(x, near[i], b, band) for i, b in enumerate(brokers)), total)
    return [_up(level, near[i], b, band) for i, b in enumerate(brokers)]


def _down(level: float, near: float, b: int, band: Band) -> float:
    return min(near, max(band.low[b], level))


def _up(level: float, near: float, b: int, band: Band) -> float:
    return max(near, min(band.high[b], level))
