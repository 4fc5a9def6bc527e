"""Plans where partitions should be: pure functions of a layout and a goal, the same plan each time."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from redrive.partitions.layout import Layout
from redrive.partitions.planner.balancing import balance_bytes, balance_counts, least_bytes
from redrive.partitions.planner.goal import Goal, Mode
from redrive.partitions.planner.leaders import balance_leaders, why_uneven
from redrive.partitions.planner.placement import Placement
from redrive.partitions.planner.placing import drain, mend_racks, replicate
from redrive.partitions.planner.plan import BrokerLoad, Plan

__all__ = ["BrokerLoad", "Goal", "Mode", "Plan", "plan"]


def plan(layout: Layout, goal: Goal) -> Plan:
    """Plan the moves that bring a cluster to a goal.

    Hard, always: replicas of a partition on distinct brokers, spread over racks; what is excluded stays; no disk is
    filled beyond its limit. Then, with as few bytes as possible, bytes within the band; then, where that costs little,
    numbers of replicas; then leaders, which cost nothing.

    Args:
        layout: the cluster.
        goal: what is to be reached.

    Raises:
        GoalError: the goal makes no sense for this cluster.
    """
    with _without_collector():
        return _plan(layout, goal)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python from looking through hundreds of thousands of lists for cycles, again and again: there are none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _plan(layout: Layout, goal: Goal) -> Plan:
    goal.check(layout)
    placement = Placement(layout, goal)
    findings: list[str] = []
    targets = placement.targets()
    least = 0.0
    if goal.mode == "drain_brokers":
        least = sum(
            size
            for size, replicas, fixed in zip(placement.sizes, placement.replicas, placement.fixed, strict=True)
            for broker in replicas
            if broker in placement.drained and not fixed
        )
        findings += drain(placement, targets)
    elif goal.mode == "replication_factor":
        assert goal.replication is not None
        least = sum(
            size * max(0, goal.replication - len(replicas))
            for size, replicas, fixed in zip(placement.sizes, placement.replicas, placement.fixed, strict=True)
            if not fixed
        )
        findings += replicate(placement, goal.replication, targets)
        targets = placement.targets()
    elif goal.mode != "leaders":
        least = least_bytes(placement.load, targets, goal.band)
        mend_racks(placement, targets)
        balance_bytes(placement, targets, goal.band)
        balance_counts(placement, targets, goal.band)
        findings += out_of_band(placement, targets, goal)
    balance_leaders(placement)
    if uneven := why_uneven(placement):
        findings.append(uneven)
    moves = tuple(sorted(placement.moves(), key=lambda move: (move.topic, move.number)))
    return Plan(goal, moves, _brokers(placement, targets), round(least), tuple(findings))


def _brokers(placement: Placement, targets: Sequence[float]) -> tuple[BrokerLoad, ...]:
    before, now = placement.before, placement.now()
    racks = {broker.id: broker.rack for broker in placement.layout.brokers}
    found = [
        BrokerLoad(
            id_,
            racks.get(id_),
            round(targets[at]),
            (before.size[at], now.size[at]),
            (before.replicas[at], now.replicas[at]),
            (before.leaders[at], now.leaders[at]),
        )
        for at, id_ in enumerate(placement.ids)
    ]
    return tuple(sorted(found, key=lambda each: each.broker))


def out_of_band(placement: Placement, targets: list[float], goal: Goal) -> list[str]:
    """Say of each broker that is out of the band what binds it."""
    found = []
    for at, (load, target) in enumerate(zip(placement.load, targets, strict=True)):
        if abs(load - target) <= goal.band * target:
            continue
        off = f"broker {placement.ids[at]} has {load:,} bytes, {abs(load / target - 1):.1%} " if target else ""
        side = "more" if load > target else "less"
        here = [p for p, replicas in enumerate(placement.replicas) if at in replicas and not placement.fixed[p]]
        smallest = min((placement.sizes[p] for p in here if placement.sizes[p]), default=0)
        if load > target and not placement.gives[at]:
            why = "it may give nothing away"
        elif load < target and not placement.takes[at]:
            why = "it may take nothing"
        elif load < target and load + max(placement.sizes, default=0) > placement.limit[at]:
            why = f"its disk may be filled to {goal.disk:.0%} only"
        elif load > target and smallest > load - (1 - goal.band) * target:
            why = f"the smallest partition that could leave has {smallest:,} bytes"
        else:
            why = "no partition fits that racks, replicas and the other brokers' bands let move"
        found.append(f"{off}{side} than it should: {why}" if off else f"broker {placement.ids[at]}: {why}")
    return found
