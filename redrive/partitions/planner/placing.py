"""Moves that must be made whatever they cost: what is to leave a broker, and what breaks the rack rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redrive.partitions.planner.board import Board


def mend(board: Board, off: Iterable[int], aim: Sequence[float]) -> set[int]:
    """Spread over racks as well as may be the partitions that are not; give those that were mended.

    A replica leaves the fullest of the brokers whose rack has too many, or more than the fewest, and goes to the emptiest
    broker of a rack that lacks one. What can't be mended stays as it is.
    """
    mended = set()
    for p in _largest_first(board, off):
        while board.off(p) and _mend_once(board, p, aim):
            mended.add(p)
    return mended


def _mend_once(board: Board, p: int, aim: Sequence[float]) -> bool:
    rule, racks = board.rule(len(board.replicas[p])), board.per_rack(p)
    now = rule.off_in_all(racks)
    best: tuple[float, float, int, int] | None = None
    for source in board.replicas[p]:
        if not board.gives[source]:
            continue
        for target, takes in enumerate(board.takes):
            if not takes or board.rack[source] == board.rack[target] or not board.allows(p, source, target):
                continue
            racks[board.rack[source]] -= 1
            racks[board.rack[target]] += 1
            gain = now - rule.off_in_all(racks)
            racks[board.rack[source]] += 1
            racks[board.rack[target]] -= 1
            fullness = board.load[target] - aim[target] - (board.load[source] - aim[source])
            if gain > 0 and (best is None or (-gain, fullness, source, target) < best):
                best = (-gain, fullness, source, target)
    if best is None:
        return False
    board.move(p, best[2], best[3])
    return True


def evacuate(board: Board, aim: Sequence[float], target_count: Sequence[float]) -> list[int]:
    """Move everything that gives way off its broker, the largest first; give what has no place to go to.

    Each replica goes to a broker that it does not bring over its aim, of these to the one with the fewest replicas of its
    topic, of these to the emptiest; replicas of no size go by count.
    """
    stuck = []
    n = len(board.ids)
    for p in _largest_first(board, {p for held in board.held_by() for p in held}):
        size, base = board.size[p], board.topic[p] * n
        for source in [b for b in board.replicas[p] if board.gives[b]]:
            best: tuple[float, float, float, int] | None = None
            for target in range(n):
                if not board.allows(p, source, target):
                    continue
                tally, room = board.tally[base + target], aim[target] - board.load[target]
                short = board.count[target] - target_count[target]
                key = (room < size, tally, -room, target) if size else (0, short, tally, target)
                if best is None or key < best:
                    best = key
            if best is None:
                stuck.append(p)
            else:
                board.move(p, source, best[3])
    return sorted(set(stuck))


def _largest_first(board: Board, partitions: Iterable[int]) -> list[int]:
    return sorted(partitions, key=lambda p: (-board.size[p], p))
