"""Plans beside those of an exact solver: how many bytes more than need be, and is the lower bound one?"""

from __future__ import annotations

import random
import statistics

from redrive.partitions.layout import Broker, Layout, Partition
from redrive.partitions.planner import Goal, Plan, plan
from tests.properties.exact import least_bytes


def case(chance: random.Random) -> tuple[Layout, Goal]:
    """Make a cluster that keeps the rack rule, of 3 to 6 brokers on 1 to 3 racks, one of them new now and then."""
    racks = chance.randint(1, 3)
    old = racks * chance.randint(1, 2) if racks > 1 else chance.randint(3, 5)
    factor = chance.randint(1, min(3, old))
    new = chance.randint(0, 1)
    brokers = tuple(Broker(i, f"rack {i % racks}") for i in range(old + new))
    partitions = []
    for number in range(chance.randint(10, 25)):
        replicas: list[int] = []
        order = chance.sample(range(racks), racks)
        while len(replicas) < factor:
            able = [b for b in range(old) if b % racks == order[len(replicas) % racks] and b not in replicas]
            replicas.append(chance.choice(able))
        partitions.append(Partition("t", number, tuple(replicas), int(chance.lognormvariate(5, 1))))
    band = chance.choice([0.05, 0.1, 0.2])
    added = frozenset(range(old, old + new))
    return Layout(brokers, tuple(partitions)), Goal("add_brokers" if new else "balance", band=band, brokers=added)


def within(made: Plan) -> bool:
    return all(
        abs(after.bytes - made.targets[after.broker]) <= made.goal.band * made.targets[after.broker] + 1
        for after in made.after
    )


def test_bytes_are_within_a_tenth_of_the_optimum_on_average_and_the_bound_is_never_above_it() -> None:
    """The cases are small on purpose: with few replicas, sizes seldom fit, which is where a greedy planner is worst."""
    chance = random.Random(2026)
    ratios, solvable, missed = [], 0, 0
    for _ in range(50):
        layout, goal = case(chance)
        made = plan(layout, goal)
        everyone = frozenset(made.targets)
        optimum = least_bytes(
            layout,
            {b: target * (1 - goal.band) - 1 for b, target in made.targets.items()},
            {b: target * (1 + goal.band) + 1 for b, target in made.targets.items()},
            takes=goal.brokers or everyone,
            gives=everyone - goal.brokers,
        )
        if optimum is None:
            continue
        solvable += 1
        assert made.least_bytes <= optimum + 2 * len(everyone)  # targets are rounded, and a byte of play is given
        if not within(made):
            missed += 1
            assert made.findings
        elif optimum:
            ratios.append(made.bytes / optimum)
            assert ratios[-1] <= 2
    assert solvable >= 30
    assert missed <= 0.1 * solvable
    assert statistics.mean(ratios) <= 1.1
