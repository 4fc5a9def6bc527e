"""The last try for brokers outside their band: each single move, and each exchange of two, that would bring one in.

What comes before it looks at the sizes that are nearest, for the sake of speed. This looks at all that fit, so that
what is said of a broker that stays outside is true; with an end to it where there are very many.

A replica may move that may leave its broker, and one that has come there by this plan, which may as well go elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

from redrive.partitions.planner.board import Board
from redrive.partitions.planner.targets import Band

MOST = 200_000
"""So much is looked at in all: a second or less."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried for a broker without success.

    Attributes:
        moves, exchanges: of a size that fits, whether the rules on brokers, racks and disks allow them or not.
        all: there are no more of them.
    """

    moves: int = 0
    exchanges: int = 0
    all: bool = True


_Way = tuple[tuple[int, int, int], ...]
"""Moves to make: partition, source, target of each."""


class _Search:
    def __init__(self, board: Board, band: Band) -> None:
        self._board, self._band, self._left = board, band, MOST
        self._leaving = board.held_by()
        for p in board.moved():
            for b in board.replicas[p]:
                if not board.gives[b] and b not in board.original[p]:
                    insort(self._leaving[b], p, key=board.size.__getitem__)

    def run(self) -> dict[int, Tried]:
        board, band = self._board, self._band
        while True:
            tried: dict[int, Tried] = {}
            for b in [b for b, load in enumerate(board.load) if band.outside(b, load)]:
                found = self._for(b)
                if not isinstance(found, Tried):
                    self._make(found)
                    break
                tried[b] = found
            else:
                return tried

    def _for(self, b: int) -> _Way | Tried:
        board, counts = self._board, [0, 0]
        for kind, ways in enumerate((self._moves(b), self._exchanges(b))):
            for way in ways:
                counts[kind] += 1
                if all(board.allows(*move) for move in way):
                    return way
        return Tried(counts[0], counts[1], all=self._left >= 0)

    def _pairs(self, b: int) -> Iterator[tuple[int, int]]:
        """Give the pairs of source and target that would bring a broker nearer its band."""
        above = self._board.load[b] > self._band.high[b]
        for other in range(len(self._board.ids)):
            source, target = (b, other) if above else (other, b)
            if other != b and self._board.takes[target]:
                yield source, target

    def _moves(self, b: int) -> Iterator[_Way]:
        size = self._board.size
        least, most = self._wanted(b)
        for source, target in self._pairs(b):
            for p in _between(self._leaving[source], size, least, most):
                if not self._looks():
                    return
                if self._is_better(b, source, target, size[p]):
                    yield ((p, source, target),)

    def _exchanges(self, b: int) -> Iterator[_Way]:
        board, size = self._board, self._board.size
        least, most = self._wanted(b)
        for source, target in self._pairs(b):
            if board.takes[source]:
                for p in self._leaving[source]:
                    if not self._looks():
                        return
                    for q in _between(self._leaving[target], size, size[p] - most, size[p] - least):
                        if not self._looks():
                            return
                        if p != q and self._is_better(b, source, target, size[p] - size[q]):
                            yield (p, source, target), (q, target, source)

    def _looks(self) -> bool:
        """Count one more; False: there were enough."""
        self._left -= 1
        return self._left >= 0

    def _wanted(self, b: int) -> tuple[int, int]:
        """Give how many bytes, at least and at most, have to leave a broker, or come to it, to bring it in."""
        load, low, high = self._board.load[b], self._band.low[b], self._band.high[b]
        least, most = (load - high, load - low) if load > high else (low - load, high - load)
        return floor(least), ceil(most)

    def _is_better(self, b: int, source: int, target: int, bytes_: int) -> bool:
        """Say whether a broker is in its band by so many bytes, and the other one no further outside than it was."""
        other, load, band = target if b == source else source, self._board.load, self._band
        after = {source: load[source] - bytes_, target: load[target] + bytes_}
        if band.outside(b, after[b]):
            return False
        return not band.outside(other, after[other]) or band.miss(other, after[other]) <= band.miss(other, load[other])

    def _make(self, way: _Way) -> None:
        board = self._board
        for p, source, target in way:
            board.move(p, source, target)
            self._leaving[source].remove(p)
            if board.gives[target] or target not in board.original[p]:
                insort(self._leaving[target], p, key=board.size.__getitem__)


def _between(held: Sequence[int], size: Sequence[int], least: float, most: float) -> Sequence[int]:
    """Give those of a broker's partitions, given by size, whose size is between two."""
    by = size.__getitem__
    return held[bisect_left(held, least, key=by) : bisect_right(held, most, key=by)]


def bring_in(board: Board, band: Band) -> dict[int, Tried]:
    """Bring each broker into its band that one move, or one exchange, brings there; give what was tried for the others.

    No other broker leaves its band for it, or is further outside than before.
    """
    if not any(band.outside(b, load) for b, load in enumerate(board.load)):
        return {}
    return _Search(board, band).run()
