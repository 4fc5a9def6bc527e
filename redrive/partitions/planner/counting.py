"""Evening out the numbers of replicas, with what costs nothing or next to nothing.

By the bytes alone, brokers may differ in replicas. What can be moved for it: replicas of no size, replicas that move
anyway and may as well go elsewhere, and the smallest others, up to a small part of the bytes that move already. No
broker's bytes are brought near the edge of its band by it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from redrive.partitions.planner.board import Board
from redrive.partitions.planner.moving import in_order
from redrive.partitions.planner.targets import Band

EXTRA = 0.002
"""The part of the bytes moved so far that may be moved besides for the sake of counts."""

PLAY = 0.25
"""The part of its band up to which a broker's bytes may be brought for the sake of counts."""


def even_out(board: Board, band: Band, counts: Band) -> None:
    """Bring each broker's number of replicas next to its fair share, as far as that is all but free."""
    brokers = range(len(board.ids))
    outside = sum(counts.miss(b, board.count[b]) for b in brokers)
    if not outside:
        return
    band = _narrowed(band)
    budget = EXTRA * board.bytes_moved
    most = 4 * budget / outside
    cheap = _cheap(board, most)
    for source in sorted(brokers, key=lambda b: (counts.target[b] - board.count[b], b)):
        if board.count[source] <= counts.low[source]:
            continue
        lacking = _lacking(board, counts, source)
        for p in sorted(in_order(board, cheap[source]), key=lambda p: _cost(board, p, source)):
            cost = _cost(board, p, source)
            if cost > budget or board.count[source] <= counts.low[source] or not lacking:
                break
            target = _place(board, band, p, source, lacking)
            if target is not None:
                board.move(p, source, target)
                budget -= cost
                lacking = _lacking(board, counts, source)


def _narrowed(band: Band) -> Band:
    low = [target - PLAY * (target - low) for target, low in zip(band.target, band.low, strict=True)]
    high = [target + PLAY * (high - target) for target, high in zip(band.target, band.high, strict=True)]
    return Band(band.target, low, high, band.giants)


def _lacking(board: Board, counts: Band, source: int) -> list[int]:
    """Give the brokers that should have more replicas if the source is to have fewer, the emptiest first."""
    edge = counts.high if board.count[source] > counts.high[source] else counts.low
    lacking = [b for b, count in enumerate(board.count) if board.takes[b] and count < edge[b]]
    return sorted(lacking, key=lambda b: (board.count[b] - counts.target[b], b))


def _place(board: Board, band: Band, p: int, source: int, lacking: Sequence[int]) -> int | None:
    """Find the first broker that can take a replica so that its bytes and the source's stay within the band."""
    size = board.size[p]
    if size and board.load[source] - size < band.low[source]:
        return None
    able = (
        b for b in lacking if not size or board.load[b] + size <= band.high[b]
        if board.allows(p, source, b)
    )  # fmt: skip
    return next(able, None)


def _cheap(board: Board, most: float) -> list[list[int]]:
    """Give each broker's replicas that cost so much at most to move, the smallest first."""
    size = board.size
    cheap = [held[: bisect_right(held, most, key=size.__getitem__)] for held in board.held_by()]
    for p in board.moved():
        for b in board.replicas[p]:
            if b not in board.original[p] and (size[p] > most or not board.gives[b]):
                cheap[b].append(p)
    return [sorted(partitions, key=size.__getitem__) for partitions in cheap]


def _cost(board: Board, p: int, source: int) -> int:
    """Give the bytes that it costs to move a replica: none for one that moves already."""
    return board.size[p] if source in board.original[p] else 0
