"""Layouts and goals to draw, and what of them can be told without the planner."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st

from redrive.partitions.layout import Broker, Layout, Partition
from redrive.partitions.planner import Goal, Plan

TOPICS = ("a", "b", "__amazon_msk_canary")


@st.composite
def layouts(draw: st.DrawFn, most_partitions: int = 14, capacities: bool = True) -> Layout:
    """Draw a few brokers, with racks or without, and partitions that lie anywhere on them."""
    ids = draw(st.lists(st.integers(0, 20), min_size=2, max_size=7, unique=True))
    racks = draw(st.sampled_from([(None,), ("x",), ("x", "y"), ("x", "y", "z"), ("x", "x", "x", "y"), (None, "x")]))
    sizes = draw(st.sampled_from([st.just(0), st.integers(0, 100), st.sampled_from([0, 1, 50, 1000])]))
    capacity = st.none() | st.integers(0, 2000) if capacities else st.none()
    silent = st.sampled_from([True, False, False, False]) if capacities else st.just(False)
    brokers = tuple(Broker(i, draw(st.sampled_from(racks)), draw(capacity), draw(silent)) for i in ids)
    factor = draw(st.none() | st.integers(1, min(4, len(ids))))
    partitions = []
    numbers: Counter[str] = Counter()
    for _ in range(draw(st.integers(0, most_partitions))):
        topic = draw(st.sampled_from(TOPICS))
        replicas = draw(st.permutations(ids))[: factor or draw(st.integers(1, min(4, len(ids))))]
        partitions.append(Partition(topic, numbers[topic], tuple(replicas), draw(sizes)))
        numbers[topic] += 1
    return Layout(brokers, tuple(partitions))


@st.composite
def goals(draw: st.DrawFn, layout: Layout) -> Goal:
    """Draw a goal; some can't be reached by any plan."""
    ids = [broker.id for broker in layout.brokers]
    mode = draw(st.sampled_from(["balance", "add_brokers", "drain_brokers", "leaders", "replication_factor"]))
    excluded = draw(st.just(frozenset[int]()) | st.frozensets(st.sampled_from(ids), max_size=2))
    brokers = frozenset[int]()
    if mode in ("add_brokers", "drain_brokers"):
        brokers = draw(st.frozensets(st.sampled_from(ids), min_size=1, max_size=2)) - excluded
    topics = sorted({partition.topic for partition in layout.partitions})
    return Goal(
        mode=mode,  # type: ignore[arg-type]
        band=draw(st.sampled_from([0.0, 0.005, 0.05, 0.3])),
        brokers=brokers,
        excluded_brokers=excluded,
        excluded_topics=draw(st.frozensets(st.sampled_from(topics), max_size=1)) if topics else frozenset(),
        replication=draw(st.integers(1, 4)) if mode == "replication_factor" else None,
    )


def applied(layout: Layout, plan: Plan) -> Layout:
    """Give the layout after all moves."""
    after = {(move.topic, move.number): move.after for move in plan.moves}
    return Layout(
        layout.brokers,
        tuple(
            Partition(p.topic, p.number, after.get((p.topic, p.number), p.replicas), p.size) for p in layout.partitions
        ),
    )


def figures(layout: Layout) -> dict[int, tuple[int, int, int]]:
    """Count each broker's bytes, replicas and leaders."""
    found = {broker.id: [0, 0, 0] for broker in layout.brokers}
    for partition in layout.partitions:
        for place, broker in enumerate(partition.replicas):
            found[broker][0] += partition.size
            found[broker][1] += 1
            found[broker][2] += place == 0
    return {broker: (a, b, c) for broker, (a, b, c) in found.items()}


def per_rack(layout: Layout, partition: Partition) -> list[int]:
    """Count a partition's replicas in each rack, in the order of the racks' names."""
    rack = {broker.id: str(broker.rack) for broker in layout.brokers}
    held = Counter(rack[broker] for broker in partition.replicas)
    return [held[name] for name in sorted(set(rack.values()))]
