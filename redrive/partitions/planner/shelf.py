"""`Shelf`: a broker's replicas in the order of their sizes, to take the one that fits best."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence


class Shelf:
    """Replicas by size; what was taken is passed over in next to no time.

    Args:
        partitions: those with a replica here.
        sizes: bytes of a replica of each partition.
    """

    def __init__(self, partitions: Sequence[int], sizes: Sequence[int]) -> None:
        self._partitions = sorted(partitions, key=sizes.__getitem__)
        self._sizes = [sizes[each] for each in self._partitions]
        self._up = list(range(len(self._partitions) + 1))  # the next one that is there, from here on
        self._down = list(range(len(self._partitions) + 1))  # likewise before, shifted by one: 0 is none

    def nearest(self, size: float) -> Iterator[int]:
        """Give the partitions whose size is nearest, one after the other."""
        at = bisect_left(self._sizes, size)
        above, below = self._find(self._up, at), self._find(self._down, at) - 1
        while above < len(self._partitions) or below >= 0:
            if below < 0 or (above < len(self._partitions) and self._sizes[above] - size <= size - self._sizes[below]):
                yield self._partitions[above]
                above = self._find(self._up, above + 1)
            else:
                yield self._partitions[below]
                below = self._find(self._down, below) - 1

    def smallest(self) -> Iterator[int]:
        """Give the partitions, the smallest first."""
        at = self._find(self._up, 0)
        while at < len(self._partitions):
            yield self._partitions[at]
            at = self._find(self._up, at + 1)

    def take(self, partition: int, size: int) -> None:
        """Take a partition from the shelf."""
        at = bisect_left(self._sizes, size)
        while self._partitions[at] != partition:
            at += 1
        self._up[at] = at + 1
        self._down[at + 1] = at

    @staticmethod
    def _find(links: list[int], at: int) -> int:
        root = at
        while links[root] != root:
            root = links[root]
        while links[at] != root:
            links[at], at = root, links[at]
        return root
