"""`Placement`: where all replicas are while a plan is made, and which moves the hard constraints allow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import NamedTuple

from redrive.partitions.layout import Layout, Move
from redrive.partitions.planner.goal import Goal
from redrive.partitions.planner.targets import level


class Loads(NamedTuple):
    """Bytes, replicas and leaders of each broker."""

    size: list[int]
    replicas: list[int]
    leaders: list[int]


class Placement:
    """Brokers and partitions by index, so that plans for hundreds of thousands take seconds.

    Racks count if every broker names one. The replicas of a partition are to be on distinct brokers, and in as many
    racks as there are: in each one ``c`` of them at most, and at least ``c - 1``, where ``c`` is the least number with
    which they all fit.

    Attributes:
        ids: of the brokers.
        racks: the rack of each, by index.
        takes: whether a broker may get replicas.
        gives: whether replicas may leave it.
        replicas: of each partition, as indices of brokers, the preferred leader first.
        sizes: bytes of one replica of each partition.
        fixed: whether a partition stays as it is.
        load, count: bytes and replicas of each broker.
        before: what the brokers had before anything was moved.
        rack_bound: no replica can go to another rack: each rack has as many of every partition as it has to.
    """

    def __init__(self, layout: Layout, goal: Goal) -> None:
        self.layout = layout
        brokers, partitions = layout.brokers, layout.partitions
        self.ids = [broker.id for broker in brokers]
        index = {id_: at for at, id_ in enumerate(self.ids)}
        # A broker that is down, and whose rack nobody knows, holds replicas all the same.
        for partition in partitions:
            for id_ in partition.replicas:
                if id_ not in index:
                    index[id_] = len(self.ids)
                    self.ids.append(id_)
        down = len(self.ids) - len(brokers)
        names = [broker.rack for broker in brokers]
        known = {name: at for at, name in enumerate(sorted(set(filter(None, names))))} if all(names) else {}
        self.racks = [known.get(name or "", 0) for name in names] + [0] * down
        drained = goal.brokers if goal.mode == "drain_brokers" else frozenset[int]()
        closed = drained | goal.excluded_brokers
        if goal.mode == "add_brokers":
            new = goal.new_brokers(layout)
            self.takes = [broker.id in new for broker in brokers] + [False] * down
            self.gives = [broker.id not in new | goal.excluded_brokers for broker in brokers] + [False] * down
        else:
            self.takes = [broker.id not in closed for broker in brokers] + [False] * down
            self.gives = [broker.id not in goal.excluded_brokers for broker in brokers] + [False] * down
        self.drained = [index[id_] for id_ in sorted(drained)]
        stays = [broker.id not in drained for broker in brokers] + [False] * down
        self.brokers_in = [0] * (max(self.racks, default=0) + 1)
        for rack, counts in zip(self.racks, stays, strict=True):
            self.brokers_in[rack] += counts
        self.limit = [
            float("inf") if broker.capacity is None else goal.disk * broker.capacity for broker in brokers
        ] + [0.0] * down
        topics = {topic: at for at, topic in enumerate(sorted({partition.topic for partition in partitions}))}
        self.topic = [topics[partition.topic] for partition in partitions]
        self.sizes = [partition.size for partition in partitions]
        self.fixed = [goal.is_fixed(partition.topic) for partition in partitions]
        self.replicas = [[index[id_] for id_ in partition.replicas] for partition in partitions]
        self.load, self.count = [0] * len(self.ids), [0] * len(self.ids)
        self._of_topic = [0] * (len(topics) * len(self.ids))
        load, count, led, of_topic, all_ = self.load, self.count, [0] * len(self.ids), self._of_topic, len(self.ids)
        for replicas, size, topic in zip(self.replicas, self.sizes, self.topic, strict=True):
            led[replicas[0]] += 1
            for broker in replicas:
                load[broker] += size
                count[broker] += 1
                of_topic[topic * all_ + broker] += 1
        self.before = Loads(self.load.copy(), self.count.copy(), led)
        self.quotas = cache(self._quotas)
        quotas = [self.quotas(number) for number in {len(replicas) for replicas in self.replicas}]
        self.rack_bound = all(floors == ceilings for floors, ceilings in quotas)

    def allows(self, partition: int, source: int, target: int) -> bool:
        """Say whether a replica may go from one broker to another, by all hard constraints."""
        replicas = self.replicas[partition]
        if not self.takes[target] or target in replicas or not self.has_room(partition, target):
            return False
        left, entered = self.racks[source], self.racks[target]
        if left == entered:
            return True
        floors, ceilings = self.quotas(len(replicas))
        here, there = self._in_rack(replicas, left), self._in_rack(replicas, entered)
        return there < ceilings[entered] and (here > floors[left] or here > there + 1)

    def has_room(self, partition: int, target: int) -> bool:
        """Say whether a replica does not fill a broker's disk beyond its limit."""
        size = self.sizes[partition]
        return not size or self.load[target] + size <= self.limit[target]

    def move(self, partition: int, source: int, target: int) -> None:
        """Put a replica of a partition on another broker; it keeps its place in the order."""
        replicas = self.replicas[partition]
        replicas[replicas.index(source)] = target
        self._book(partition, source, -1)
        self._book(partition, target, 1)

    def add(self, partition: int, target: int) -> None:
        """Give a partition one replica more, the last in order."""
        self.replicas[partition].append(target)
        self._book(partition, target, 1)

    def remove(self, partition: int, source: int) -> None:
        """Take a replica from a partition."""
        self.replicas[partition].remove(source)
        self._book(partition, source, -1)

    def of_topic(self, partition: int, broker: int) -> int:
        """Say how many replicas of a partition's topic a broker has."""
        return self._of_topic[self.topic[partition] * len(self.ids) + broker]

    def apart(self, partition: int, source: int, target: int) -> int:
        """Say how many more replicas of a partition's topic one broker has than another."""
        at = self.topic[partition] * len(self.ids)
        return self._of_topic[at + source] - self._of_topic[at + target]

    def overfull_rack(self, partition: int) -> int | None:
        """Give the rack with too many replicas of a partition, while another has too few; None if they are spread."""
        replicas = self.replicas[partition]
        if len({self.racks[broker] for broker in replicas}) == len(replicas):
            return None
        _, ceilings = self.quotas(len(replicas))
        counts = [0] * len(ceilings)
        for broker in replicas:
            counts[self.racks[broker]] += 1
        over = [count - ceiling for count, ceiling in zip(counts, ceilings, strict=True)]
        return over.index(max(over)) if max(over) > 0 else None

    def targets(self) -> list[float]:
        """Give the bytes that each broker should have, see `redrive.partitions.planner.targets`."""
        brokers = range(len(self.ids))
        racks = range(len(self.brokers_in))
        open_ = [self.takes[at] or (self.gives[at] and at not in self.drained) for at in brokers]
        closed = {at for at in brokers if not open_[at]}
        held = [0] * len(self.ids)
        floors, ceilings, movable = [0] * len(racks), [0] * len(racks), 0
        for at, replicas in enumerate(self.replicas):
            size = self.sizes[at]
            stuck = replicas if self.fixed[at] else closed.intersection(replicas) if closed else ()
            for broker in stuck:
                held[broker] += size
            if len(stuck) < len(replicas):
                movable += size * (len(replicas) - len(stuck))
                low, high = self.quotas(len(replicas))
                for rack in racks:
                    here = self._in_rack(stuck, rack) if stuck else 0
                    floors[rack] += size * max(0, low[rack] - here)
                    ceilings[rack] += size * max(0, high[rack] - here)
        weights = [float(sum(open_[at] for at in brokers if self.racks[at] == rack)) for rack in racks]
        base = [sum(held[at] for at in brokers if self.racks[at] == rack and open_[at]) for rack in racks]
        shares = level(
            movable + sum(base),
            [low + own for low, own in zip(floors, base, strict=True)],
            [high + own if weight else own for high, own, weight in zip(ceilings, base, weights, strict=True)],
            weights,
        )
        targets = [float(load) for load in self.load]
        for rack in racks:
            inside = [at for at in brokers if self.racks[at] == rack and open_[at]]
            least = [held[at] for at in inside]
            most = [max(shares[rack], held[at]) if self.takes[at] else self.load[at] for at in inside]
            for at, share in zip(inside, level(shares[rack], least, most, [1.0] * len(inside)), strict=True):
                targets[at] = share
        return targets

    def now(self) -> Loads:
        """Give what the brokers have by now."""
        led = [0] * len(self.ids)
        for replicas in self.replicas:
            led[replicas[0]] += 1
        return Loads(self.load, self.count, led)

    def moves(self) -> Iterable[Move]:
        """Give what has changed."""
        ids = self.ids
        for partition, now in zip(self.layout.partitions, self.replicas, strict=True):
            after = tuple([ids[broker] for broker in now])
            if after != partition.replicas:
                yield Move(partition.topic, partition.number, partition.replicas, after, partition.size)

    def _in_rack(self, replicas: Collection[int], rack: int) -> int:
        racks = self.racks
        return sum([racks[broker] == rack for broker in replicas])

    def _book(self, partition: int, broker: int, sign: int) -> None:
        self.load[broker] += sign * self.sizes[partition]
        self.count[broker] += sign
        self._of_topic[self.topic[partition] * len(self.ids) + broker] += sign

    def _quotas(self, replicas: int) -> tuple[list[int], list[int]]:
        """Give how many of so many replicas each rack has at least, and at most."""
        brokers = self.brokers_in
        most = next((c for c in range(1, replicas + 1) if sum(min(n, c) for n in brokers) >= replicas), replicas)
        ceilings = [min(n, most) for n in brokers]
        exact = sum(ceilings) <= replicas
        return ceilings if exact else [min(n, most - 1) for n in brokers], ceilings
