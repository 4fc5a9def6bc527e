"""Plans for 30 brokers on three racks that become 36: bytes beside the least, time, leaders, racks, the band."""

from __future__ import annotations

import random
import time
from pathlib import Path

from bench.measure import Row
from redrive.partitions.layout import Broker, Layout, Partition
from redrive.partitions.planner import Goal, Plan, plan

OLD, NEW, RACKS = 30, 6, 3
BAND = 0.005
PARTITIONS_OF_A_TOPIC = 50


def rows(_folder: Path) -> list[Row]:
    """Return the rows about plans. Beside Kafka's own tool see `bench.generate`: it takes a live cluster to ask."""
    found = []
    for partitions in (10_000, 50_000, 200_000):
        layout = cluster(partitions)
        began = time.perf_counter()
        made = plan(layout, Goal("add_brokers", band=BAND, brokers=frozenset(range(OLD, OLD + NEW))))
        seconds = time.perf_counter() - began
        what = f"plan for {partitions:,} partitions, {OLD} to {OLD + NEW} brokers"
        leaders = [figures.leaders for figures in made.after]
        mean = sum(leaders) / len(leaders)
        found += [
            at_most(f"{what}: bytes moved beside the least (MB)", made.bytes / 1e6, made.least_bytes / 1e6, 1.01),
            at_most(f"{what}: largest miss of a target beside the band (‰)", 1000 * off(made), 1000 * BAND, 1.0),
            at_most(f"{what}: partitions, beside those with a replica in each rack", partitions, spread(made), 1.0),
            at_most(f"{what}: most leaders less fewest, beside the mean", max(leaders) - min(leaders), mean, 0.01),
            at_most(f"{what}: seconds beside 5", seconds, 5.0, 1.0),
        ]
    return found


def cluster(partitions: int) -> Layout:
    """Make a cluster: one replica in each rack, on any broker of it; sizes lognormal, 9 MB at the median."""
    chance = random.Random(partitions)
    brokers = tuple(Broker(i, f"rack {i % RACKS}") for i in range(OLD + NEW))
    in_rack = [[broker.id for broker in brokers[:OLD] if broker.id % RACKS == rack] for rack in range(RACKS)]
    return Layout(
        brokers,
        tuple(
            Partition(
                f"topic {i // PARTITIONS_OF_A_TOPIC}",
                i % PARTITIONS_OF_A_TOPIC,
                tuple(chance.choice(in_rack[rack]) for rack in chance.sample(range(RACKS), RACKS)),
                int(chance.lognormvariate(16, 1.5)),
            )
            for i in range(partitions)
        ),
    )


def off(made: Plan) -> float:
    """Give the largest part of its target by which a broker's bytes miss it."""
    return max(abs(figures.bytes / made.targets[figures.broker] - 1) for figures in made.after)


def spread(made: Plan) -> int:
    """Give how many partitions have their replicas in as many racks as they have replicas, after the plan."""
    rack = {broker.id: broker.rack for broker in made.layout.brokers}
    after = {(move.topic, move.number): move.after for move in made.moves}
    held = (after.get((each.topic, each.number), each.replicas) for each in made.layout.partitions)
    return sum(len({rack[id_] for id_ in replicas}) == len(replicas) == RACKS for replicas in held)


def at_most(name: str, ours: float, limit: float, ratio: float) -> Row:
    """Make a row of a figure and what it is measured by."""
    found = ours / limit
    holds = found <= ratio + 1e-6  # targets are rounded to bytes
    return Row(name, round(ours, 3), round(limit, 3), round(found, 4), f"<= {ratio}", holds, (ours, ours, limit, limit))
