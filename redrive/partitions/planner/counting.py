"""Evening out the numbers of replicas, with what costs nothing or next to nothing.

By the bytes alone, brokers may differ in replicas. What can be moved for it: replicas of no size, replicas that move
anyway and may as well go elsewhere, and the smallest others, up to a small part of the bytes that move already. No broker
gets further out of its band of bytes by it.
"""

from __future__ import annotations

from redrive.partitions.planner.board import Board
from redrive.partitions.planner.moving import in_order
from redrive.partitions.planner.targets import Band

EXTRA = 0.002
"""The part of the bytes moved so far that may be moved besides for the sake of counts."""


def even_out(board: Board, band: Band, counts: Band) -> None:
    """Bring each broker's number of replicas next to its fair share, as far as that is all but free."""
    brokers = range(len(board.ids))
    outside = sum(counts.miss(b, board.count[b]) for b in brokers)
    if not outside:
        return
    budget = EXTRA * board.bytes_moved
    most = 4 * budget / outside
    held = _held(board)
    for source in sorted(brokers, key=lambda b: (counts.target[b] - board.count[b], b)):
        if board.count[source] <= counts.low[source]:
            continue
        candidates = [p for p in held[source] if _cost(board, p, source) <= most]
        for p in sorted(in_order(board, source, candidates), key=lambda p: _cost(board, p, source)):
            cost = _cost(board, p, source)
            if cost > budget or board.count[source] <= counts.low[source]:
                break
            target = _best(board, band, counts, p, source)
            if target is not None:
                board.move(p, source, target)
                budget -= cost


def _held(board: Board) -> list[list[int]]:
    """Give each broker's replicas that may leave it, those that only come to it by the plan among them."""
    held = board.held_by()
    for p in board.moved():
        for b in board.replicas[p]:
            if not board.gives[b] and b not in board.original[p]:
                held[b].append(p)
    return held


def _cost(board: Board, p: int, source: int) -> int:
    """Give the bytes that it costs to move a replica: none for one that moves already."""
    return board.size[p] if source in board.original[p] else 0


def _best(board: Board, band: Band, counts: Band, p: int, source: int) -> int | None:
    """Find the broker that lacks replicas most, if that one or the source is outside what is even."""
    n, size = len(board.ids), board.size[p]
    best: tuple[float, int, int] | None = None
    for target in range(n):
        count = board.count[target]
        if count >= counts.high[target] or not (
            board.count[source] > counts.high[source] or count < counts.low[target]
        ):
            continue
        key = (count - counts.target[target], board.tally[board.topic[p] * n + target], target)
        if (best is None or key < best) and _stays_in_band(board, band, source, target, size):
            if board.allows(p, source, target):
                best = key
    return best[2] if best else None


def _stays_in_band(board: Board, band: Band, source: int, target: int, size: int) -> bool:
    if not size:
        return True
    load = board.load
    return band.miss(source, load[source] - size) <= band.miss(source, load[source]) and band.miss(
        target, load[target] + size
    ) <= band.miss(target, load[target])
