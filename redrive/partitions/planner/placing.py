"""Moves that must be made whatever they cost: what is to leave a broker, and what breaks the rack rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redrive.partitions.planner.board import Board


def mend(board: Board, off: Iterable[int], aim: Sequence[float]) -> set[int]:
    """Spread over racks as well as may be the partitions that are not; give those that were mended.

    A replica leaves the fullest of the brokers whose rack has too many, or more than the fewest, and goes to the
    emptiest broker of a rack that lacks one. What can't be mended stays as it is.
    """
    mended = set()
    for p in _largest_first(board, off):
        while board.off(p) and _mend_once(board, p, aim):
            mended.add(p)
    return mended


def _mend_once(board: Board, p: int, aim: Sequence[float]) -> bool:
    rule, racks = board.rule(len(board.replicas[p])), board.per_rack(p)
    fullness = [load - aim[b] for b, load in enumerate(board.load)]
    ways = []
    for source in board.replicas[p]:
        home = board.rack[source]
        if board.gives[source]:
            less = rule.off(home, racks[home]) - rule.off(home, racks[home] - 1)
            for rack, held in enumerate(racks):
                gain = less + rule.off(rack, held) - rule.off(rack, held + 1)
                if rack != home and gain > 0:
                    ways.append((-gain, -fullness[source], source, rack))
    for _, _, source, rack in sorted(ways):
        able = [b for b in board.brokers_of[rack] if board.allows(p, source, b)]
        if able:
            board.move(p, source, min(able, key=lambda b: (fullness[b], b)))
            return True
    return False


def evacuate(board: Board, aim: Sequence[float], target_count: Sequence[float]) -> list[int]:
    """Move everything that gives way off its broker, the largest first; give what has no place to go to.

    Each replica goes to the broker that is emptiest for its aim; one of no size to the one with the fewest for its
    target.
    """
    stuck = set()
    for p in _largest_first(board, {p for held in board.held_by() for p in held}):
        for source in [b for b in board.replicas[p] if board.gives[b]]:
            able = [b for b in range(len(board.ids)) if board.allows(p, source, b)]
            if not able:
                stuck.add(p)
                continue
            load, full = (board.load, aim) if board.size[p] else (board.count, target_count)
            first = board.topic[p] * len(board.ids)
            board.move(p, source, min((load[b] - full[b], board.tally[first + b], b) for b in able)[2])
    return sorted(stuck)


def _largest_first(board: Board, partitions: Iterable[int]) -> list[int]:
    return sorted(partitions, key=lambda p: (-board.size[p], p))
