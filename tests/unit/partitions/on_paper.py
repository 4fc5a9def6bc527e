"""A cluster on paper: it copies by looks, and answers or not as the test has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from redrive.errors import RefusedByClusterError, UnavailableError
from redrive.ledger import Change, Ledger
from redrive.partitions.layout import Move
from redrive.partitions.state import BrokerState, Key, LogDirs, Ongoing, PartitionState, Resource, Setting
from redrive.partitions.throttle_settings import FOLLOWER_RATE, FOLLOWER_REPLICAS
from redrive.partitions.writer import PartitionWriter


class Paper(PartitionWriter):
    """Four brokers; each look at what is under way copies one more byte of it."""

    def __init__(self, *moves: Move) -> None:
        self.cluster = "east"
        self.sizes = {(move.topic, move.number): move.size for move in moves}
        self.replicas = {(move.topic, move.number): move.before for move in moves}
        self.under_way: dict[Key, tuple[Ongoing, int]] = {}
        self.set: dict[tuple[Resource, str], str] = {}
        self.silent: set[Resource] = set()
        self.listed_at_elections: list[set[str]] = []
        self.leaders: dict[Key, int] = {}
        self.down: set[int] = set()
        self.looks = 0
        self.leaderless: set[Key] = set()
        self.disks: dict[int, LogDirs] = {}  # of which the test says what they hold

    def clock(self) -> float:
        """Seconds, by looks: so that no slow machine tells another story."""
        return self.looks * 0.02

    def listed(self) -> set[str]:
        """The topics of which replicas are throttled."""
        return {resource.name for resource, name in self.set if name == FOLLOWER_REPLICAS}

    def brokers(self) -> dict[int, BrokerState]:
        return {id_: BrokerState(id_, None, up=id_ not in self.down) for id_ in range(1, 5)}

    def partitions(self, topics: Iterable[str] | None = None) -> dict[Key, PartitionState]:
        wanted = None if topics is None else set(topics)
        found = {}
        for key, replicas in self.replicas.items():
            if wanted is None or key[0] in wanted:
                now = replicas
                if key in self.under_way:
                    ongoing, _ = self.under_way[key]
                    now = (*ongoing.target, *ongoing.removing)
                leader = self.leaders.get(key, 1)
                leader = leader if leader in replicas else replicas[-1]
                leads = None if key in self.leaderless else leader
                found[key] = PartitionState(*key, now, leads, frozenset(set(replicas) - self.down))
        return found

    def log_dirs(self, brokers: Iterable[int], of: Iterable[Key] | None = None) -> dict[int, LogDirs]:
        new = {key: copied for key, (_, copied) in self.under_way.items()}
        return {id_: self.disks.get(id_, LogDirs(new if id_ == 3 else self.sizes)) for id_ in brokers}

    def offsets(self, partitions: Iterable[Key], *, first: bool = False) -> dict[Key, int]:
        return {}

    def ongoing(self) -> dict[Key, Ongoing]:
        self.looks += 1
        for key, (ongoing, copied) in list(self.under_way.items()):
            self.under_way[key] = ongoing, copied + 1
            if copied >= self.sizes[key]:
                del self.under_way[key]
                self.replicas[key] = ongoing.target
        return {key: ongoing for key, (ongoing, _) in self.under_way.items()}

    def settings(self, resources: Iterable[Resource], names: Iterable[str]) -> dict[Resource, dict[str, Setting]]:
        wanted, found = list(names), dict[Resource, dict[str, Setting]]()
        for resource in resources:
            if resource.kind == "broker" and resource in self.silent:
                continue
            own = {name: self.set[resource, name] for name in wanted if (resource, name) in self.set}
            found[resource] = {name: Setting(resource, name, value, "", value) for name, value in own.items()}
        return found

    def configure(
        self, changes: Mapping[Resource, Mapping[str, str | None]]
    ) -> dict[Resource, RefusedByClusterError | UnavailableError]:
        for resource, change in changes.items():
            for name, value in change.items():
                if resource in self.silent:
                    continue
                self.set.pop((resource, name), None)
                if value is not None:
                    self.set[resource, name] = value
        return {each: UnavailableError(str(each), "no answer") for each in changes if each in self.silent}

    def reassign(self, replicas: Mapping[Key, tuple[int, ...]]) -> dict[Key, str]:
        for key, after in replicas.items():
            before = self.replicas[key]
            adding, removing = (tuple(set(one) - set(other)) for one, other in ((after, before), (before, after)))
            self.under_way[key] = Ongoing(after, adding, removing), 0
        return {}

    def cancel(self, partitions: Iterable[Key]) -> dict[Key, str]:
        for key in partitions:
            self.under_way.pop(key, None)
        return {}

    def elect_preferred(self, partitions: Iterable[Key]) -> dict[Key, str]:
        self.listed_at_elections.append(self.listed())
        self.leaders |= {key: self.replicas[key][0] for key in partitions}
        return {}


def debt(ledger: Ledger, paper: Paper, name: str, setting: str = FOLLOWER_RATE, value: str = "5") -> None:
    """What a run that has died has left: a setting, and the debt."""
    dead = ledger.begin("partition-rebalance", "run", cluster="east", resources=["east"], who="x", parameters={})
    kind: Any = "broker" if name.isdecimal() else "topic"
    ledger.debts.owe(dead, "east", [Change(kind, name, setting, None, value)])
    paper.set[Resource(kind, name), setting] = value
    dead.finish("failed")
