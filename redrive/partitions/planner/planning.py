"""From a layout and a goal to a plan."""

from __future__ import annotations

from redrive.partitions.layout import Layout, Move
from redrive.partitions.planner import findings, leaders
from redrive.partitions.planner.board import Board
from redrive.partitions.planner.bringing_in import bring_in
from redrive.partitions.planner.counting import even_out
from redrive.partitions.planner.goal import Goal, check
from redrive.partitions.planner.moving import finish, give_back, shift
from redrive.partitions.planner.placing import evacuate, mend
from redrive.partitions.planner.replication import replicate
from redrive.partitions.planner.result import Figures, Plan
from redrive.partitions.planner.targets import aims, byte_band, count_band, least_bytes


def plan(layout: Layout, goal: Goal) -> Plan:
    """Plan the moves that bring a layout to a goal; the same arguments give the same plan.

    Args:
        layout: all brokers, and all partitions. A broker that holds replicas and is not named, as it is
            down, is left alone unless it is drained.
        goal: what to reach.

    Raises:
        GoalError: no plan could reach it.
    """
    check(layout, goal)
    board = Board(layout, goal)
    before = _figures(board)
    said = findings.about_layout(board)
    mended: set[int] = set()
    targets: dict[int, int] = {}
    least = 0.0
    if goal.mode == "replication_factor":
        assert goal.replication is not None
        said += findings.about_replication(board, replicate(board, goal.replication), goal.replication)
        least = board.bytes_moved
    elif goal.mode != "leaders":
        least, mended, targets = _balance(board, goal, said)
    if goal.mode != "replication_factor":
        said += findings.about_leaders(board, leaders.balance(board))
    return Plan(
        layout=layout,
        goal=goal,
        moves=_moves(board),
        mended=len(mended),
        targets=targets,
        before=before,
        after=_figures(board),
        bytes=board.bytes_moved,
        least_bytes=int(least),
        findings=tuple(said),
    )


def _balance(board: Board, goal: Goal, said: list[str]) -> tuple[float, set[int], dict[int, int]]:
    """Bring bytes, then replicas, near their targets; give the least bytes, what was mended, and the targets."""
    held = board.held_by()
    band = byte_band(board, goal, held)
    off = {p: off for p in range(len(board.size)) if not board.stays[p] and (off := board.off(p))}
    balancing = least_bytes(board, band, off)
    counts = count_band(board, goal, held)
    mended = mend(board, off, band.target)
    mending = sum((off[p] - board.off(p) + 1) // 2 * board.size[p] for p in mended)
    aim = aims(board, band)
    shift(board, board.held_by() if mended else held, aim, counts.target)
    if goal.mode == "drain_brokers":
        said += findings.about_stuck(board, evacuate(board, aim, counts.target))
    else:
        finish(board, band)
        give_back(board, band)
    even_out(board, band, counts)
    tried = bring_in(board, band)
    said += findings.about_racks(board, off)
    said += findings.about_bytes(board, goal, band, tried)
    said += findings.about_counts(board, counts)
    said += findings.about_topics(board)
    return max(balancing, mending), mended, {board.ids[b]: round(target) for b, target in enumerate(band.target)}


def _figures(board: Board) -> tuple[Figures, ...]:
    led = [0] * len(board.ids)
    for held in board.replicas:
        if held:
            led[held[0]] += 1
    return tuple(
        Figures(broker, load, count, leaders)
        for broker, load, count, leaders in zip(board.ids, board.load, board.count, led, strict=True)
    )


def _moves(board: Board) -> tuple[Move, ...]:
    ids = board.ids
    return tuple(
        Move(partition.topic, partition.number, partition.replicas, tuple(ids[b] for b in held), partition.size)
        for partition, held, original in zip(board.partitions, board.replicas, board.original, strict=True)
        if tuple(held) != original
    )
