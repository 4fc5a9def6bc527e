"""What a plan says of a broker that it leaves outside its band is true: nobody finds one move or exchange more."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from redrive.errors import GoalError
from redrive.partitions.planner import Goal, Plan, plan
from tests.properties.test_plans_exact import case

Way = dict[int, int]
"""Broker → bytes that it has more by it."""


class Result:
    """Where a plan ends, worked out from its moves alone."""

    def __init__(self, made: Plan) -> None:
        self.made, goal = made, made.goal
        self.size = {(each.topic, each.number): each.size for each in made.layout.partitions}
        self.before = {(each.topic, each.number): each.replicas for each in made.layout.partitions}
        self.after = self.before | {(move.topic, move.number): move.after for move in made.moves}
        self.rack = {broker.id: broker.rack for broker in made.layout.brokers}
        self.load = dict.fromkeys(self.rack, 0)
        for key, replicas in self.after.items():
            for broker in replicas:
                self.load[broker] += self.size[key]
        self.takes = goal.adds or self.rack.keys() - goal.drains
        self.gives = goal.drains or self.rack.keys() - goal.adds
        self.outside = {broker for broker, load in self.load.items() if self.miss(broker, load) > 1}

    def miss(self, broker: int, load: int) -> float:
        target = self.made.targets[broker]
        band = self.made.goal.band * target
        return max(0.0, abs(load - target) - band - 1)  # targets are rounded

    def may(self, key: tuple[str, int], source: int, target: int) -> bool:
        """Whether a replica may go, leaving alone how many of the partition each rack has, in any order."""
        replicas = self.after[key]
        if target in replicas or target not in self.takes:
            return False
        if source not in self.gives and source in self.before[key]:
            return False
        changed = [target if broker == source else broker for broker in replicas]
        spread, then = (Counter(self.rack[broker] for broker in each) for each in (replicas, changed))
        return sorted(spread.values()) == sorted(then.values())

    def ways(self) -> Iterator[Way]:
        held = [(key, broker) for key, replicas in self.after.items() for broker in replicas]
        for key, source in held:
            for target in self.load:
                if self.may(key, source, target):
                    yield {source: -self.size[key], target: self.size[key]}
            for other, target in held:
                if other != key and self.may(key, source, target) and self.may(other, target, source):
                    more = self.size[other] - self.size[key]
                    yield {source: more, target: -more}

    def brings_in(self, way: Way) -> bool:
        """Whether by a way a broker comes into its band, and no other is further outside than before."""
        then = {broker: self.miss(broker, self.load[broker] + more) for broker, more in way.items()}
        comes_in = any(broker in self.outside and not miss for broker, miss in then.items())
        return comes_in and all(miss <= self.miss(broker, self.load[broker]) for broker, miss in then.items())


def test_no_single_move_or_exchange_brings_a_broker_in_that_a_plan_has_left_outside() -> None:
    chance = random.Random(2026)
    missed = Counter[str]()
    for _ in range(150):
        layout, goal = case(chance)
        some = frozenset({chance.choice(layout.brokers).id})
        for each in (goal, Goal("drain_brokers", band=goal.band, brokers=some)):
            try:
                result = Result(plan(layout, each))
            except GoalError:  # too few brokers would be left
                continue
            if result.outside and not any("can't leave" in finding for finding in result.made.findings):
                missed[each.mode] += 1
                assert not [way for way in result.ways() if result.brings_in(way)], result.made.findings
    assert missed["balance"] + missed["add_brokers"] >= 10
    assert missed["drain_brokers"] >= 10
