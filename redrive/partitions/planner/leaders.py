"""Which replica of each partition is its preferred leader: as even as can be, with the fewest changes.

The preferred leader is the first of a partition's replicas; to change it costs no bytes. Partitions that have the same
brokers and the same leader are one node of a flow network, with arcs to the brokers that may lead them; each broker has
arcs to the sink, its fair share for nothing and what goes beyond at a price that rises. A flow of least cost (OR-tools'
``SimpleMinCostFlow``, exact) is thus first as even as possible, then changes the fewest leaders, of these rather those
of partitions that move anyway.

**When it can't be even.** Take a broker with the most leaders, and the set S of brokers to which leadership could be
passed on from it, step by step: from a member to any other replica of a partition which it leads. Then every partition
that a member leads has all replicas that may lead within S: these partitions must be led within S, however it is done
(S is the source's side of a minimum cut). If their number is more than |S| times the fair share rounded up, no choice
of leaders is even. For too few leaders the same holds the other way round.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from ortools.graph.python import min_cost_flow

from redrive.partitions.planner.board import Board

_STAYS, _CHANGE_OF_MOVED, _CHANGE = 0, 1, 2
"""What it costs to keep a leader, and to change that of a partition that moves, or does not."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A set of brokers whose partitions can be led by them alone, and are too many (or too few) for them.

    Attributes:
        brokers: their indexes.
        partitions: how many they must lead (can lead at most).
        share: the fair share of one broker.
        many: whether they are too many.
    """

    brokers: tuple[int, ...]
    partitions: int
    share: float
    many: bool


class _Kinds:
    """Partitions by what matters for leadership."""

    def __init__(self, board: Board) -> None:
        self._board = board
        moved = set(board.moved())
        self.may_lead = [board.leads[b] for b in range(len(board.ids))]
        self.led = [0] * len(board.ids)  # by partitions that are not asked
        groups: dict[tuple[int, bool, tuple[int, ...]], list[int]] = {}
        for p, held in enumerate(board.replicas):
            if not held:
                continue
            leader = held[0]
            able = tuple(sorted(b for b in held if self.may_lead[b]))
            fixed = board.stays[p] or not able or (not self.may_lead[leader] and leader in board.closed)
            if fixed:
                self.led[leader] += 1
            else:
                # A leader that has just come has to be given leadership in any case, so any replica will do.
                keeps = leader in board.original[p][:1] and self.may_lead[leader]
                groups.setdefault((leader if keeps else -1, p in moved, able), []).append(p)
        self.groups = sorted(groups.items())
        self.total = sum(len(partitions) for _, partitions in self.groups)


def balance(board: Board) -> list[Cut]:
    """Choose leaders, and give the proof if they can't be even."""
    kinds = _Kinds(board)
    able = [b for b, may in enumerate(kinds.may_lead) if may]
    if not kinds.groups or not able:
        return []
    share = _share(kinds, able)
    flows = _solve(kinds, able, share)
    _even_out(kinds, flows)
    _enter(board, kinds, flows)
    return _cuts(kinds, flows, able, share)


def _share(kinds: _Kinds, able: list[int]) -> float:
    """Give the number of leaders that each broker should have, those that it has in any case counted."""
    level = 0.0
    open_brokers = sorted(able, key=lambda b: kinds.led[b])
    total = float(kinds.total)
    for i in range(len(open_brokers)):
        total += kinds.led[open_brokers[i]]
        level = total / (i + 1)
        if i + 1 == len(open_brokers) or level <= kinds.led[open_brokers[i + 1]]:
            break
    return level


def _solve(kinds: _Kinds, able: list[int], share: float) -> list[dict[int, int]]:
    """Give, for each kind, how many of its partitions each broker leads."""
    count = len(kinds.groups)
    price = _CHANGE * kinds.total + 1  # more than all changes together
    tails, heads, capacities, costs = [], [], [], []
    for i, ((leader, moved, held), partitions) in enumerate(kinds.groups):
        change = _CHANGE_OF_MOVED if moved else _CHANGE
        for b in held:
            tails.append(i)
            heads.append(count + b)
            capacities.append(len(partitions))
            costs.append(_STAYS if leader in (b, -1) else change)
    sink = count + len(kinds.may_lead)
    for b in able:
        for capacity, step in _steps(share, kinds.led[b], kinds.total):
            tails.append(count + b)
            heads.append(sink)
            capacities.append(capacity)
            costs.append(step * price)
    flow = min_cost_flow.SimpleMinCostFlow()
    arcs = flow.add_arcs_with_capacity_and_unit_cost(
        np.array(tails), np.array(heads), np.array(capacities), np.array(costs)
    )
    supplies = [len(partitions) for _, partitions in kinds.groups]
    flow.set_nodes_supplies(np.arange(count), np.array(supplies))
    flow.set_node_supply(sink, -kinds.total)
    status = flow.solve()
    if status != flow.OPTIMAL:
        raise AssertionError(f"every partition has a broker that may lead it, and still no flow: {status}")
    result: list[dict[int, int]] = [{} for _ in kinds.groups]
    found = flow.flows(arcs)
    for tail, head, amount in zip(tails, heads, found.tolist(), strict=True):
        if tail < count and amount:
            result[tail][head - count] = amount
    return result


def _steps(share: float, led: int, total: int) -> list[tuple[int, int]]:
    """Give the capacities of a broker's arcs to the sink, each with what a leader on it costs."""
    even = max(0, int(share) - led)
    steps, width, left = [(even, 0)], 1, total - even
    while left > 0:
        steps.append((min(width, left), len(steps)))
        left -= width
        width = 1 if len(steps) < 4 else width * 2
    return steps


def _passes(kinds: _Kinds, flows: list[dict[int, int]]) -> list[dict[int, int]]:
    """Give for each broker the brokers that it can pass leadership to, each with a kind that lets it."""
    n = len(kinds.may_lead)
    passes: list[dict[int, int]] = [{} for _ in range(n)]
    for i, ((_, _, held), _) in enumerate(kinds.groups):
        for b in flows[i]:
            for other in held:
                if other != b:
                    passes[b].setdefault(other, i)
    return passes


def _led(kinds: _Kinds, flows: list[dict[int, int]]) -> list[int]:
    led = list(kinds.led)
    for flow in flows:
        for b, amount in flow.items():
            led[b] += amount
    return led


def _even_out(kinds: _Kinds, flows: list[dict[int, int]]) -> None:
    """Pass leadership on where the network's prices, which rise in steps, leave it uneven."""
    able = [b for b, may in enumerate(kinds.may_lead) if may]
    while True:
        led, passes = _led(kinds, flows), _passes(kinds, flows)
        way: list[int] = []
        for b in sorted(able, key=lambda b: (-led[b], b)):
            ends = {end for end in able if led[end] <= led[b] - 2}
            way = _way(passes, b, ends) if ends else []
            if way:
                break
        if not way:
            return
        steps = [(source, target, passes[source][target]) for source, target in itertools.pairwise(way)]
        amount = min((led[way[0]] - led[way[-1]]) // 2, *(flows[i][source] for source, _, i in steps))
        for source, target, i in steps:
            flows[i][source] -= amount
            if not flows[i][source]:
                del flows[i][source]
            flows[i][target] = flows[i].get(target, 0) + amount


def _way(passes: list[dict[int, int]], start: int, ends: set[int]) -> list[int]:
    """Find a shortest way for leadership from a broker to one of `ends`; empty if there is none."""
    came: dict[int, int] = {start: start}
    queue = deque([start])
    while queue:
        b = queue.popleft()
        if b in ends:
            way = [b]
            while way[-1] != start:
                way.append(came[way[-1]])
            return way[::-1]
        for other in sorted(passes[b]):
            if other not in came:
                came[other] = b
                queue.append(other)
    return []


def _enter(board: Board, kinds: _Kinds, flows: list[dict[int, int]]) -> None:
    """Put each partition's leader first, the others in the order they have."""
    for ((leader, _, _), partitions), flow in zip(kinds.groups, flows, strict=True):
        waiting = deque(partitions)
        for b in sorted(flow, key=lambda b: (b != leader, b)):
            for _ in range(flow[b]):
                held = board.replicas[waiting.popleft()]
                held.remove(b)
                held.insert(0, b)


def _cuts(kinds: _Kinds, flows: list[dict[int, int]], able: list[int], share: float) -> list[Cut]:
    led, passes = _led(kinds, flows), _passes(kinds, flows)
    back: list[dict[int, int]] = [{} for _ in passes]
    for b, others in enumerate(passes):
        for other, i in others.items():
            back[other][b] = i
    found: list[Cut] = []
    for many in (True, False):
        b = max(able, key=lambda b: (led[b], -b)) if many else min(able, key=lambda b: (led[b], b))
        brokers = _reach(passes if many else back, b)
        partitions = sum(led[b] for b in brokers)
        uneven = partitions > len(brokers) * math.ceil(share) if many else partitions < len(brokers) * math.floor(share)
        if uneven:
            found.append(Cut(tuple(sorted(brokers)), partitions, share, many))
    return found


def _reach(ways: list[dict[int, int]], start: int) -> set[int]:
    found, queue = {start}, deque([start])
    while queue:
        for other in ways[queue.popleft()]:
            if other not in found:
                found.add(other)
                queue.append(other)
    return found
