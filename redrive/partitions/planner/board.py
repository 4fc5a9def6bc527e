"""The state a plan is worked out on: who holds what, and which single move keeps all hard rules."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter

import numpy as np

from redrive.partitions.layout import Layout
from redrive.partitions.planner.goal import Goal
from redrive.partitions.planner.racks import Rule


class Board:
    """Brokers and partitions by index, brokers in the order of their ids, partitions in that of their names.

    Every change goes through `move`, `add`, `remove`; whoever calls them asks `allows` first.

    Attributes:
        ids: broker → its id.
        gives, takes, leads: broker → whether replicas may leave it, come to it; whether it may become a leader.
        closed: brokers that nothing goes to and nothing leaves.
        rack: broker → its rack's index.
        brokers_of: rack → its brokers.
        topic, size: partition → its topic's index, bytes of a replica; as arrays, `topic_array` and `sizes`.
        stays: partition → whether it is left alone.
        replicas: partition → its brokers; a replica that moves keeps its place in the order.
        original: the same, as the layout has it.
        load, count: broker → bytes and replicas it holds now.
        arrived: broker → bytes that have come to it; what leaves is not taken off.
        limit: broker → bytes that it may hold at most.
        tally: topic × number of brokers + broker → replicas of the topic that it holds.
    """

    def __init__(self, layout: Layout, goal: Goal) -> None:
        known = {broker.id: broker for broker in layout.brokers}
        self.partitions = sorted(layout.partitions, key=attrgetter("topic", "number"))
        self.strangers = {b for partition in self.partitions for b in partition.replicas}.difference(known)
        self.ids = sorted({*known, *self.strangers})
        index = {broker: i for i, broker in enumerate(self.ids)}
        self.size = [partition.size for partition in self.partitions]
        self.replicas = [[index[broker] for broker in partition.replicas] for partition in self.partitions]
        self.original = [tuple(held) for held in self.replicas]
        self._name_topics(goal)
        self._name_racks(layout, goal)
        closed = goal.excluded_brokers | (self.strangers - goal.drains)
        self.closed = {index[b] for b in closed}
        self.leads = [not (b in closed or b in goal.drains) for b in self.ids]
        self.gives = [not (b in closed or b in goal.adds or goal.mode == "leaders") for b in self.ids]
        if goal.mode == "drain_brokers":
            self.gives = [b in goal.drains for b in self.ids]
        self.takes = [not (b in closed or b in goal.drains or goal.mode == "leaders") for b in self.ids]
        if goal.mode == "add_brokers":
            self.takes = [b in goal.adds for b in self.ids]
        self.takes = [
            takes and not (b in known and known[b].silent) for b, takes in zip(self.ids, self.takes, strict=True)
        ]
        self.limit: list[float] = []
        for b in self.ids:
            capacity = known[b].capacity if b in known else None
            self.limit.append(float("inf") if capacity is None else capacity * goal.disk_limit)
        self._count_up()

    def _name_topics(self, goal: Goal) -> None:
        self.topics = sorted({partition.topic for partition in self.partitions})
        index = {topic: i for i, topic in enumerate(self.topics)}
        self.topic = [index[partition.topic] for partition in self.partitions]
        staying = [goal.stays(topic) for topic in self.topics]
        self.stays = [staying[topic] for topic in self.topic]

    def _name_racks(self, layout: Layout, goal: Goal) -> None:
        """Give each broker its rack; brokers that are not in the layout share one that may hold nothing."""
        names = {broker.id: broker.rack for broker in layout.brokers}
        unnamed = [name for name in names.values() if name is None]
        self.racks_in_part = 0 < len(unnamed) < len(names)
        if unnamed:
            names = dict.fromkeys(names, "")
        self.racks = sorted({str(name) for name in names.values()}) + ["?"] * bool(self.strangers)
        index = {rack: i for i, rack in enumerate(self.racks)}
        self.rack = [index[str(names[b])] if b in names else len(self.racks) - 1 for b in self.ids]
        self.brokers_of: list[list[int]] = [[] for _ in self.racks]
        for i, rack in enumerate(self.rack):
            self.brokers_of[rack].append(i)
        closed = goal.excluded_brokers | goal.drains | self.strangers
        self.room = [sum(self.ids[b] not in closed for b in brokers) for brokers in self.brokers_of]
        self._rules: dict[int, Rule] = {}
        self._off: dict[tuple[int, ...], int] = {}

    def _count_up(self) -> None:
        n = len(self.ids)
        self.sizes, self.topic_array = np.array(self.size, np.int64), np.array(self.topic, np.int64)
        held = np.fromiter(chain.from_iterable(self.replicas), np.int64)
        factors = np.fromiter(map(len, self.replicas), np.int64, len(self.replicas))
        load = np.zeros(n, np.int64)
        np.add.at(load, held, np.repeat(self.sizes, factors))
        topic = np.repeat(self.topic_array, factors)
        self.load, self.arrived = load.tolist(), [0] * n
        self.count = np.bincount(held, minlength=n).tolist()
        self.tally = np.bincount(topic * n + held, minlength=n * len(self.topics)).tolist()
        self.topic_replicas = np.bincount(topic, minlength=len(self.topics)).tolist()
        self.load_before = tuple(self.load)
        movable = np.flatnonzero(~np.array(self.stays, bool))
        self._by_size = movable[np.argsort(self.sizes[movable], kind="stable")].tolist()
        self._touched: set[int] = set()

    def rule(self, replicas: int) -> Rule:
        """Give the rack rule for a replication factor."""
        rule = self._rules.get(replicas)
        if rule is None:
            rule = self._rules[replicas] = Rule(replicas, self.room)
        return rule

    def per_rack(self, p: int) -> list[int]:
        """Give how many replicas of a partition each rack has."""
        held = [0] * len(self.racks)
        for b in self.replicas[p]:
            held[self.rack[b]] += 1
        return held

    def off(self, p: int) -> int:
        """Give by how many replicas a partition's spread over racks is off."""
        spread = tuple([self.rack[b] for b in self.replicas[p]])
        off = self._off.get(spread)
        if off is None:
            off = self._off[spread] = self.rule(len(spread)).off_in_all(self.per_rack(p))
        return off

    def fits(self, size: int, target: int) -> bool:
        """Say whether a broker has disk for so many bytes more, whatever else is under way."""
        return size == 0 or self.load_before[target] + self.arrived[target] + size <= self.limit[target]

    def allows(self, p: int, source: int, target: int) -> bool:
        """Say whether the replica of a partition that is on one broker may go to another; who gives is not asked."""
        if not self.takes[target] or target in self.replicas[p] or not self.fits(self.size[p], target):
            return False
        return self.keeps_spread(p, source, target)

    def keeps_spread(self, p: int, source: int, target: int) -> bool:
        """Say whether a partition's spread over racks gets no worse by a move from one broker to another."""
        if self.rack[source] == self.rack[target]:
            return True
        return self.rule(len(self.replicas[p])).allows(self.per_rack(p), self.rack[source], self.rack[target])

    def move(self, p: int, source: int, target: int) -> None:
        """Move a replica."""
        held, size, original = self.replicas[p], self.size[p], self.original[p]
        held[held.index(source)] = target
        self._touched.add(p)
        if target not in original:
            self.arrived[target] += size
        if source not in original:
            self.arrived[source] -= size
        self.load[source] -= size
        self.load[target] += size
        self.count[source] -= 1
        self.count[target] += 1
        first = self.topic[p] * len(self.ids)
        self.tally[first + source] -= 1
        self.tally[first + target] += 1

    def add(self, p: int, target: int) -> None:
        """Add a replica, as the last one."""
        self.replicas[p].append(target)
        self.topic_replicas[self.topic[p]] += 1
        self.arrived[target] += self.size[p]
        self._enter(p, target, 1)

    def remove(self, p: int, source: int) -> None:
        """Remove a replica."""
        self.replicas[p].remove(source)
        self.topic_replicas[self.topic[p]] -= 1
        self._enter(p, source, -1)

    def _enter(self, p: int, b: int, sign: int) -> None:
        self._touched.add(p)
        self.load[b] += sign * self.size[p]
        self.count[b] += sign
        self.tally[self.topic[p] * len(self.ids) + b] += sign

    def near_limit(self, target: int) -> bool:
        """Say whether a broker has all but reached its disk limit."""
        return self.load_before[target] + self.arrived[target] >= 0.99 * self.limit[target]

    @property
    def bytes_moved(self) -> int:
        """Bytes that have to be copied for all moves made so far."""
        return sum(self.arrived)

    def held_by(self) -> list[list[int]]:
        """Give each broker's partitions that may leave it, the smallest first; none for a broker that does not give."""
        found: list[list[int]] = [[] for _ in self.ids]
        for p in self._by_size:
            for b in self.replicas[p]:
                found[b].append(p)
        return [partitions if gives else [] for partitions, gives in zip(found, self.gives, strict=True)]

    def moved(self) -> list[int]:
        """Give the partitions with other brokers than they had, in order."""
        return sorted(p for p in self._touched if set(self.replicas[p]) != set(self.original[p]))
