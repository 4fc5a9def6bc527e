"""Planning: bytes beside the least that any plan moves, and how long it takes. What a plan must keep is asserted."""

from __future__ import annotations

import random
from pathlib import Path
from time import perf_counter

from bench.measure import Row, compare
from redrive.partitions.layout import Broker, Layout, Partition
from redrive.partitions.planner import Goal, plan

BROKERS, NEW, RACKS, BAND = 30, 6, 3, 0.005
MOST_PARTITIONS = 200_000
MOST_SECONDS = 5


def rows(_: Path) -> list[Row]:
    """Return the rows about planning."""
    return [row for partitions in (10_000, 50_000, MOST_PARTITIONS) for row in _planned(partitions)]


def _planned(partitions: int) -> list[Row]:
    layout = cluster(partitions)
    began = perf_counter()
    made = plan(layout, Goal("add_brokers", band=BAND))
    seconds = perf_counter() - began
    racks = {broker.id: broker.rack for broker in layout.brokers}
    assert not made.findings, made.findings
    assert all(abs(each.size[1] / each.target - 1) <= BAND for each in made.brokers)
    assert all(len({racks[broker] for broker in move.after}) == RACKS for move in made.moves)
    leaders = [each.leaders[1] for each in made.brokers]
    assert max(leaders) - min(leaders) <= 1, leaders
    of = f"{partitions:,} partitions, {BROKERS} to {BROKERS + NEW} brokers"
    ours, least = made.bytes / 1e9, made.least / 1e9
    found = [
        compare(
            f"GB that a plan moves, beside the least possible: {of}", lambda: ours, lambda: least, at_most=1.01, runs=1
        )
    ]
    if partitions == MOST_PARTITIONS:
        words = f"ms that a plan takes, beside what it may take: {of}"
        found.append(compare(words, lambda: seconds * 1e3, lambda: MOST_SECONDS * 1e3, at_most=1, runs=1))
    return found


def cluster(partitions: int) -> Layout:
    """Make a cluster whose partitions have three replicas in three racks, and sizes of all orders of magnitude."""
    chance = random.Random(1)
    brokers = tuple(Broker(at, f"az{at % RACKS}") for at in range(BROKERS + NEW))
    made = []
    for at in range(partitions):
        replicas = tuple(chance.choice(range(rack, BROKERS, RACKS)) for rack in chance.sample(range(RACKS), RACKS))
        made.append(Partition(f"topic-{at // 20}", at % 20, replicas, int(chance.lognormvariate(17, 1.5))))
    return Layout(brokers, tuple(made))
