"""Moving no more bytes than it takes until each broker's load is within its band.

1. `shift`: each broker that has more than its aim gives replicas that are no larger than what it still has to give,
   each to a broker with that much room to its aim. First those of topics of which it has more than their fair share,
   then a sample of all its sizes, so that counts and topics are brought nearer their balance by what moves anyway.
2. `finish`: what is left is less than the smallest replica that fits. For each broker that is still outside its band,
   the single move, or else the exchange of two replicas, that makes the sum of all misses smallest; as long as it
   falls.
3. `give_back`: each moved replica that no broker's band needs where it is goes back, the largest first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from redrive.partitions.planner.board import Board
from redrive.partitions.planner.targets import Band

_LOOK = 64
"""How many replicas near the wanted size `finish` looks at, for each pair of brokers."""

_LOOK_FOR_EXCHANGE = 400
"""How many replicas of a broker are looked at for an exchange."""

_GOLDEN = 0x9E3779B97F4A7C15
"""2⁶⁴ over the golden ratio: multiples of it, modulo 2⁶⁴, are spread evenly however many there are."""


def shift(board: Board, held: Sequence[Sequence[int]], aim: Sequence[float], target_count: Sequence[float]) -> None:
    """Move bytes from where there are more than the aim to where there are fewer; see the module.

    Args:
        held: what each broker may give, see `Board.held_by`.
        aim: bytes that each broker should end with.
        target_count: replicas that each should have.
    """
    n = len(board.ids)
    give = [load - aim[b] for b, load in enumerate(board.load)]
    take = [-x if board.takes[b] else 0.0 for b, x in enumerate(give)]
    takers = [b for b in range(n) if take[b] > 0]
    in_rack = [[b for b in takers if board.rack[b] == rack] for rack in range(len(board.racks))]
    size, tally, allows = board.size, board.tally, board.allows
    # The mean size that a broker still wants: one with room for many bytes and few replicas gets the large ones.
    wants = [room / max(1.0, target_count[b] - board.count[b]) for b, room in enumerate(take)]
    mean = sum(board.load) / max(1, sum(board.count))
    for source in sorted(range(n), key=lambda b: (-give[b], b)):
        if give[source] <= 0 or not held[source]:
            continue
        left = give[source]
        near = in_rack[board.rack[source]]
        count = board.count[source] - target_count[source]
        for part in _parts_by_mean(board, held[source], left / count if count >= 1 else inf):
            for p in in_order(board, part[: bisect_right(part, left, key=size.__getitem__)]):
                bytes_ = size[p]
                if not 0 < bytes_ <= left:
                    continue
                base = board.topic[p] * n
                best, best_tally = -1, 0
                for target in near if board.rule(len(board.replicas[p])).rigid else takers:
                    if take[target] >= bytes_:
                        has = tally[base + target]
                        better = best < 0 or has < best_tally
                        if not better and has == best_tally:
                            better = (wants[target] > wants[best]) == (bytes_ > mean)
                        if better and allows(p, source, target):
                            best, best_tally = target, has
                if best >= 0:
                    board.move(p, source, best)
                    left -= bytes_
                    take[best] -= bytes_
                    wants[best] = take[best] / max(1.0, target_count[best] - board.count[best])


def _parts_by_mean(board: Board, held: Sequence[int], wanted: float) -> tuple[list[int], list[int]]:
    """Split a broker's replicas, given by size, in two; those of the first part have the wanted mean size.

    So that a broker which gives them gives as many replicas as it should. If the mean of all is less, the second part
    is the smallest of them, else the largest.
    """
    by_size = list(held[bisect_right(held, 0, key=board.size.__getitem__) :])
    sums = [0, *np.cumsum(board.sizes[by_size]).tolist()]
    n = len(by_size)
    cut = bisect_left(range(n), wanted, key=lambda i: (sums[n] - sums[i]) / (n - i))
    if cut:
        return by_size[cut:], by_size[:cut]
    cut = bisect_left(range(1, n + 1), wanted, key=lambda i: sums[i] / i) + 1
    return by_size[:cut], by_size[cut:]


def in_order(board: Board, held: Sequence[int]) -> list[int]:
    """Order a broker's replicas, given by size: first what it has too much of by topic, then a sample of all sizes.

    What is too much of a topic is what is more than the topic's replicas over the brokers, rounded up.
    """
    partitions = np.array(held, np.int64)
    topics, groups, counts = np.unique(board.topic_array[partitions], return_inverse=True, return_counts=True)
    by_topic = np.argsort(groups, kind="stable")
    rank = np.arange(len(partitions)) - np.repeat(np.cumsum(counts) - counts, counts)
    # With few of a topic, those at the start of a sample are always the same; so each topic starts elsewhere.
    by_topic = by_topic[np.lexsort((_keys(topics[groups[by_topic]] + rank), groups[by_topic]))]
    fair = -(-np.array(board.topic_replicas)[topics] // max(1, sum(board.room)))
    surplus = np.zeros(len(partitions), bool)
    surplus[by_topic[rank < np.repeat(counts - fair, counts)]] = True
    return _sample(partitions[surplus]) + _sample(partitions[~surplus])


def _sample(by_size: NDArray[np.int64]) -> list[int]:
    """Order partitions so that the first so many, whatever their number, are like all of them in size."""
    order: list[int] = by_size[np.argsort(_keys(np.arange(len(by_size))), kind="stable")].tolist()
    return order


def _keys(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    return (numbers + 1).astype(np.uint64) * np.uint64(_GOLDEN)


class _Finisher:
    """Makes single moves and exchanges; see `finish`."""

    def __init__(self, board: Board, band: Band) -> None:
        self._board, self._band = board, band
        self._held = board.held_by()
        self._steps = 20 * len(board.ids) + 200

    def run(self) -> None:
        """Make steps until none makes the sum of all misses smaller."""
        board, band = self._board, self._band
        stuck: set[int] = set()
        for _ in range(self._steps):
            outside = [(band.miss(b, load), b) for b, load in enumerate(board.load)]
            b = max(((miss, -b) for miss, b in outside if miss > 1e-6 and b not in stuck), default=None)
            if b is None:
                return
            if self._step(-b[1]):
                stuck.clear()
            else:
                stuck.add(-b[1])

    def _step(self, b: int) -> bool:
        board, band = self._board, self._band
        others = [other for other in range(len(board.ids)) if other != b]
        gives = board.load[b] > band.high[b]
        pairs = [(b, other) if gives else (other, b) for other in others]
        pairs = [(source, target) for source, target in pairs if board.gives[source] and board.takes[target]]
        want = band.miss(b, board.load[b])
        singles = [move for pair in pairs if (move := self._single(*pair, want)) is not None]
        if singles:
            _, _, p, source, target = min(singles)
            self._move(p, source, target)
            return True
        pairs = [(source, target) for source, target in pairs if board.gives[target] and board.takes[source]]
        exchanges = [found for pair in pairs if (found := self._exchange(*pair, want)) is not None]
        if exchanges:
            _, _, p, q, source, target = min(exchanges)
            self._move(p, source, target)
            self._move(q, target, source)
            return True
        return False

    def _gain(self, source: int, target: int, bytes_: int) -> float:
        """Give by how much the misses of two brokers fall if one gives the other so many bytes."""
        miss, load = self._band.miss, self._board.load
        before = miss(source, load[source]) + miss(target, load[target])
        return before - miss(source, load[source] - bytes_) - miss(target, load[target] + bytes_)

    def _single(self, source: int, target: int, want: float) -> tuple[float, int, int, int, int] | None:
        """Find the best replica to move, as (−gain, bytes, partition, source, target)."""
        board, held, size = self._board, self._held[source], self._board.size
        best: tuple[float, int, int, int, int] | None = None
        middle = bisect_left(held, want, key=size.__getitem__)
        for way in (range(middle, min(middle + _LOOK, len(held))), range(middle - 1, max(-1, middle - _LOOK), -1)):
            for i in way:
                p = held[i]
                gain = self._gain(source, target, size[p])
                if gain > 1e-6 and board.allows(p, source, target):
                    found = (-gain, size[p], p, source, target)
                    best = found if best is None or found < best else best
                    break
        return best

    def _exchange(self, source: int, target: int, want: float) -> tuple[float, int, int, int, int, int] | None:
        """Find the best two replicas to exchange, as (−gain, bytes, partition, other partition, source, target)."""
        board, theirs, size = self._board, self._held[target], self._board.size
        best: tuple[float, int, int, int, int, int] | None = None
        for p in self._held[source][-_LOOK_FOR_EXCHANGE:]:
            if size[p] <= want / 2 or not board.allows(p, source, target):
                continue
            at = bisect_left(theirs, size[p] - want, key=size.__getitem__)
            for q in theirs[max(0, at - 1) : at + 1]:
                gain = self._gain(source, target, size[p] - size[q])
                if gain > 1e-6 and board.allows(q, target, source):
                    found = (-gain, size[p] + size[q], p, q, source, target)
                    best = found if best is None or found < best else best
        return best

    def _move(self, p: int, source: int, target: int) -> None:
        self._board.move(p, source, target)
        self._held[source].remove(p)
        if self._board.gives[target]:
            insort(self._held[target], p, key=self._board.size.__getitem__)


def finish(board: Board, band: Band) -> None:
    """Bring into the band what is still outside; see the module."""
    if any(band.miss(b, load) for b, load in enumerate(board.load)):
        _Finisher(board, band).run()


def give_back(board: Board, band: Band) -> None:
    """Take back the moves that are not needed; see the module."""
    misses = any(band.miss(b, load) for b, load in enumerate(board.load))
    for p in sorted(board.moved(), key=lambda p: (-board.size[p], p)):
        size, original = board.size[p], board.original[p]
        if not size:
            break
        for b in [b for b in board.replicas[p] if b not in original]:
            if not misses and board.load[b] - size < band.low[b]:
                continue  # as for nearly all: the broker needs it
            for home in original:
                if home in board.replicas[p] or not board.keeps_spread(p, b, home):
                    continue
                before = band.miss(b, board.load[b]) + band.miss(home, board.load[home])
                after = band.miss(b, board.load[b] - size) + band.miss(home, board.load[home] + size)
                if after <= before:
                    board.move(p, b, home)
                    break
