"""Why a plan can't reach what was asked for, each reason by the name of what binds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from redrive.partitions.planner.board import Board
from redrive.partitions.planner.bringing_in import Tried
from redrive.partitions.planner.goal import Goal
from redrive.partitions.planner.leaders import Cut
from redrive.partitions.planner.targets import Band

_MOST_NAMES = 5


def about_layout(board: Board) -> list[str]:
    """Tell what of the layout keeps a rule from being applied."""
    found = []
    closed = sorted(id_ for id_ in board.strangers if board.ids.index(id_) in board.closed)
    if closed:
        named = _named("broker", closed)
        found.append(f"{named}: down, yet with replicas. Nothing leaves there; if it is gone for good, drain it.")
    if board.racks_in_part:
        found.append("Some brokers name no rack, so racks are not regarded; set broker.rack on every broker.")
    return found


def about_racks(board: Board, partitions: Iterable[int]) -> list[str]:
    """Name those of the partitions that still break the rack rule."""
    off = [_name(board, p) for p in partitions if board.off(p)]
    if not off:
        return []
    return [
        f"{_listed(off)} can't be spread over the racks any better: no replica may leave to, or come to, a rack that "
        "lacks one (excluded brokers, the mode, or disk limits)."
    ]


def about_stuck(board: Board, stuck: Iterable[int]) -> list[str]:
    """Name the partitions that can't leave a broker which is drained."""
    names = [_name(board, p) for p in stuck]
    if not names:
        return []
    return [
        f"{_listed(names)} can't leave: no broker that keeps the spread over racks and does not hold it yet has disk "
        "below its limit. The broker is not safe to remove before that is solved."
    ]


def about_replication(board: Board, short: Iterable[int], replication: int) -> list[str]:
    """Name the partitions that don't get the replication factor that is asked for."""
    names = [_name(board, p) for p in short]
    if not names:
        return []
    return [
        f"{_listed(names)} can't have {replication} replicas: the brokers that could give or take one are excluded, or "
        "have no disk below their limit."
    ]


def about_bytes(board: Board, goal: Goal, band: Band, tried: Mapping[int, Tried]) -> list[str]:
    """Tell why the brokers' bytes are not all alike; ``tried`` is what `bring_in` has given."""
    found = []
    for b, p in sorted(band.giants.items()):
        found.append(
            f"broker {board.ids[b]}: {_name(board, p)} has {board.size[p]:,} bytes, more than a broker's band by "
            "itself. It stays there, and the others share the rest; more partitions for that topic would help."
        )
    for b, load in enumerate(board.load):
        if band.outside(b, load):
            side = "above" if load > band.high[b] else "below"
            off = abs(load - band.target[b]) / max(1.0, band.target[b])
            found.append(
                f"broker {board.ids[b]} ends with {load:,} bytes, {off:.1%} {side} its target of "
                f"{band.target[b]:,.0f}, outside the band of {goal.band:.1%}: {_binds(board, b, side, tried[b])}."
            )
    return found + _about_targets(board, goal, band)


def _binds(board: Board, b: int, side: str, tried: Tried) -> str:
    if side == "below" and board.near_limit(b):
        return "its disk limit binds"
    full = [board.ids[c] for c, takes in enumerate(board.takes) if takes and board.near_limit(c)]
    if side == "above" and full:
        return f"the disk limit of {_named('broker', full)} binds"
    if tried.all and not tried.moves and not tried.exchanges:
        return "no single move, and no exchange of two replicas, has a size that fits both brokers"
    looked = "all" if tried.all else "not all, as there are too many,"
    return (
        f"of single moves and exchanges of two replicas {looked} were tried: {tried.moves:,} and {tried.exchanges:,} "
        "have a size that fits both brokers, and the rules on brokers, racks and disks forbid each"
    )


def _about_targets(board: Board, goal: Goal, band: Band) -> list[str]:
    """Tell what makes a broker's target another one than most have."""
    if goal.mode in ("leaders", "drain_brokers"):
        return []
    found = []
    per_rack = {
        board.racks[rack]: sum(band.target[b] for b in brokers) / len(brokers)
        for rack, brokers in enumerate(board.brokers_of)
        if brokers and board.room[rack]
    }
    if per_rack and max(per_rack.values()) > (1 + goal.band) * min(per_rack.values()):
        figures = ", ".join(f"{rack} {figure:,.0f}" for rack, figure in sorted(per_rack.items()))
        found.append(f"The racks can't hold the same per broker, by the spread over racks or who may move: {figures}.")
    level = sorted(band.target)[len(band.target) // 2]
    for b, target in enumerate(band.target):
        if board.takes[b] and target < (1 - goal.band) * level and target >= 0.99 * board.limit[b]:
            found.append(
                f"broker {board.ids[b]}: its disk limit of {board.limit[b]:,.0f} bytes keeps it below the others."
            )
    return found


def about_counts(board: Board, counts: Band) -> list[str]:
    """Tell that the numbers of replicas differ, if they do by more than one in a hundred and more than one."""
    off = [
        b
        for b, count in enumerate(board.count)
        if counts.miss(b, count) > max(1.0, 0.01 * counts.target[b]) and (board.gives[b] or board.takes[b])
    ]
    if not off:
        return []
    figures = ", ".join(
        f"broker {board.ids[b]} has {board.count[b]:,} for {counts.target[b]:,.0f}" for b in off[:_MOST_NAMES]
    )
    more = ", …" if len(off) > _MOST_NAMES else ""
    return [
        f"Replicas are not even on {len(off)} brokers ({figures}{more}): it would take bytes "
        "that the balance of bytes does not need, or brokers that may take them."
    ]


def about_topics(board: Board) -> list[str]:
    """Name the topics that are mostly on one broker and need not be."""
    n, brokers = len(board.ids), sum(board.room) or 1
    partitions = Counter(board.topic)
    found = []
    for topic, name in enumerate(board.topics):
        most, b = max((board.tally[topic * n + b], -b) for b in range(n))
        if 2 * most > partitions[topic] and most > 2 * ceil(board.topic_replicas[topic] / brokers):
            found.append(f"{name} ({most} of {partitions[topic]} partitions on broker {board.ids[-b]})")
    if not found:
        return []
    return [
        f"Topics that are mostly on one broker: {_listed(found)}; to spread them takes bytes that the "
        "balance of bytes does not need."
    ]


def about_leaders(board: Board, cuts: Iterable[Cut]) -> list[str]:
    """Prove that leaders can't be even; see `redrive.partitions.planner.leaders`."""
    found = []
    for cut in cuts:
        who = _named("broker", [board.ids[b] for b in cut.brokers])
        share = f"{cut.share:,.1f} would be a broker's share"
        if cut.many:
            found.append(f"Leaders can't be even: {cut.partitions:,} partitions can be led by {who} alone; {share}.")
        else:
            found.append(f"Leaders can't be even: {who} can lead {cut.partitions:,} partitions at most; {share}.")
    return found


def _name(board: Board, p: int) -> str:
    return f"{board.partitions[p].topic}-{board.partitions[p].number}"


def _named(what: str, ids: Sequence[int]) -> str:
    return f"{what}{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
