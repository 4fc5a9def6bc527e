"""Giving each partition the number of replicas that is asked for, with no other move."""

from __future__ import annotations

from redrive.partitions.planner.board import Board


def replicate(board: Board, replicas: int) -> list[int]:
    """Add or remove replicas, the largest partitions first; give the partitions that can't have as many as asked for.

    A new replica goes where the spread over racks gets best, of these to the broker that holds least. A replica goes
    from where the spread over racks stays best, of these from the broker that holds most, the leader's last of all.
    Every added replica is one copy, so that the plan moves the least bytes that there can be.
    """
    short = []
    for p in sorted(range(len(board.size)), key=lambda p: (-board.size[p], p)):
        if board.stays[p] or not board.replicas[p]:
            continue
        while len(board.replicas[p]) < replicas and (target := _emptiest(board, p, replicas)) is not None:
            board.add(p, target)
        while len(board.replicas[p]) > replicas and (source := _fullest(board, p, replicas)) is not None:
            board.remove(p, source)
        if len(board.replicas[p]) != replicas:
            short.append(p)
    return short


def _emptiest(board: Board, p: int, replicas: int) -> int | None:
    held, size = board.replicas[p], board.size[p]
    able = [b for b in range(len(board.ids)) if board.takes[b] and b not in held and board.fits(size, b)]
    off = _off(board, p, replicas, 1)
    return min(able, key=lambda b: (off[board.rack[b]], board.load[b], board.count[b], b), default=None)


def _fullest(board: Board, p: int, replicas: int) -> int | None:
    held = board.replicas[p]
    able = [b for b in held if board.gives[b]]
    off = _off(board, p, replicas, -1)
    return min(
        able,
        key=lambda b: (off[board.rack[b]], -board.load[b], -board.count[b], b == held[0], b),
        default=None,
    )


def _off(board: Board, p: int, replicas: int, change: int) -> list[int]:
    """Give for each rack how far off the spread would be with one replica more (fewer) there."""
    held, rule = board.per_rack(p), board.rule(replicas)
    now = rule.off_in_all(held)
    return [now - rule.off(rack, number) + rule.off(rack, number + change) for rack, number in enumerate(held)]
