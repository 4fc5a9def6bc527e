"""Leaders: as many on each broker, by changing the order of as few partitions' replicas as possible.

A minimum-cost flow. Partitions with the same replicas and the same leader are one node: so there are as many nodes as
there are combinations, not as many as there are partitions. From such a node, units flow to its brokers, at no cost to
the present leader and at a cost of 1 to another one; and on to the sink, where as many of a broker as the mean are
worth a lot, the next one is worth nothing, and every further one costs a lot. So leaders are spread evenly if that is
possible at all, else as far as it is; and of all ways to do so, one with the fewest changes is found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

from redrive.partitions.planner.placement import Placement

_Group = tuple[int, tuple[int, ...]]  # leader, and all brokers with a replica


def balance_leaders(placement: Placement) -> None:
    """Put another replica first where that is needed for each broker to lead as many partitions."""
    groups: dict[_Group, list[int]] = defaultdict(list)
    led = [0] * len(placement.ids)
    for partition, replicas in enumerate(placement.replicas):
        if placement.fixed[partition]:
            led[replicas[0]] += 1
        elif replicas:
            groups[replicas[0], tuple(sorted(replicas))].append(partition)
    for group, sent in _flow(placement, groups, led).items():
        partitions = groups[group]
        at = 0
        for broker, units in sorted(sent.items()):
            for partition in partitions[at : at + units]:
                replicas = placement.replicas[partition]
                if replicas[0] != broker:
                    replicas.remove(broker)
                    replicas.insert(0, broker)
            at += units


def _flow(placement: Placement, groups: dict[_Group, list[int]], led: Sequence[int]) -> dict[_Group, dict[int, int]]:
    """Give for each group how many of its partitions each of its brokers is to lead."""
    may_lead = {broker for _, brokers in groups for broker in brokers if broker not in placement.drained}
    total = sum(map(len, groups.values())) + sum(led)
    least, rest = divmod(total, max(1, len(may_lead)))
    dear = 2 * total + 1
    flow, sink = SimpleMinCostFlow(), len(groups)
    arcs: list[tuple[_Group, int, int]] = []
    for node, (group, partitions) in enumerate(groups.items()):
        leader, brokers = group
        flow.set_node_supply(node, len(partitions))
        able = [broker for broker in brokers if broker in may_lead] or list(brokers)
        for broker in able:
            cost = 0 if broker == leader else 1
            arcs.append(
                (
                    group,
                    broker,
                    flow.add_arc_with_capacity_and_unit_cost(node, sink + 1 + broker, len(partitions), cost),
                )
            )
    for broker, already in enumerate(led):
        node = sink + 1 + broker
        steps = [(least - already, -dear), (1 if rest or already > least else 0, 0)]
        room = max(1, total // 20)
        for capacity, cost in (*steps, (room, dear), (total, dear * 3)):
            if capacity > 0:
                flow.add_arc_with_capacity_and_unit_cost(node, sink, capacity, cost)
    flow.set_node_supply(sink, -sum(map(len, groups.values())))
    status = flow.solve()
    assert status == flow.OPTIMAL, status
    sent: dict[_Group, dict[int, int]] = defaultdict(dict)
    for group, broker, arc in arcs:
        if units := flow.flow(arc):
            sent[group][broker] = units
    return sent


def why_uneven(placement: Placement) -> str:
    """Say why leaders can't be spread more evenly; empty if they are, to within one.

    The proof: take a broker that leads too many, those that have replicas of what it leads, those that have replicas of
    what they lead, and so on. What the brokers of such a set lead has no replica outside it: so they lead all of that,
    whoever plans.
    """
    counts = Counter(replicas[0] for replicas in placement.replicas if replicas)
    brokers = [
        at for at in range(len(placement.ids)) if at not in placement.drained and (counts[at] or placement.count[at])
    ]
    if not brokers or max(counts[at] for at in brokers) - min(counts[at] for at in brokers) <= 1:
        return ""
    beside: dict[int, set[int]] = defaultdict(set)
    for partition, replicas in enumerate(placement.replicas):
        if not placement.fixed[partition]:
            beside[replicas[0]].update(replicas)
    most = max(brokers, key=lambda at: (counts[at], -at))
    closed, new = {most}, [most]
    while new:
        for broker in beside[new.pop()] - closed:
            if broker not in placement.drained:
                closed.add(broker)
                new.append(broker)
    names = ", ".join(str(placement.ids[at]) for at in sorted(closed))
    together = sum(counts[at] for at in closed)
    if len(closed) == len(brokers):
        return ""
    return (
        f"leaders can't be spread more evenly: {together:,} partitions have replicas on broker {names} only, which so "
        f"lead {together / len(closed):,.1f} each"
    )
