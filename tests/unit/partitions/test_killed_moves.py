"""Moves whose process is killed at any of its effects, gone on with or taken back by the next one, with a real ledger.

The same on real brokers, at fewer points: ``tests/faults/test_partition_moves.py``; at more, for as long as anybody
likes: ``make soak JOB=partition-rebalance``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import pytest

from redrive.ledger import Debts, Ledger
from redrive.partitions import execution as execution_module
from redrive.partitions.execution import Execution
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Result
from redrive.partitions.progress import replicas_if_cancelled
from redrive.partitions.state import Key, Resource
from redrive.partitions.throttle_settings import FOLLOWER_REPLICAS, LEADER_RATE, LEADER_REPLICAS
from redrive.partitions.waves import Limits
from tests.unit.partitions.on_paper import Paper

Way = Literal["run", "roll_back"]
SEEDS = 50


class Killed(BaseException):
    """The process was killed."""


class Cluster(Paper):
    """What is cancelled keeps the new order, as far as it goes, and a new order alone is there at once: as in Kafka."""

    def reassign(self, replicas: Mapping[Key, tuple[int, ...]]) -> dict[Key, str]:
        for key, after in replicas.items():
            if key not in self.under_way and set(after) == set(self.replicas[key]):
                self.replicas[key] = after
            else:
                super().reassign({key: after})
        return {}

    def cancel(self, partitions: Iterable[Key]) -> dict[Key, str]:
        for key in partitions:
            if key in self.under_way:
                ongoing, _ = self.under_way.pop(key)
                self.replicas[key] = replicas_if_cancelled(Move(*key, self.replicas[key], ongoing.target))
        return {}


EFFECTS = [
    *((Cluster, call) for call in ("reassign", "cancel", "configure", "elect_preferred")),
    *((Debts, call) for call in ("owe", "settle")),
]


@dataclass(frozen=True)
class Round:
    """What a seed stands for: moves, throttles of somebody else's before, and lives, each with where it is killed.

    Attributes:
        lives: the way of each, and its point as a part of all that it passes.
        last: the way of the last one, which is not killed.
    """

    moves: list[Move]
    others: dict[tuple[Resource, str], str]
    lives: list[tuple[Way, float]]
    last: Way


def draw(seed: int) -> Round:
    chance = random.Random(seed)
    moves = []
    for number in range(4):
        before = tuple(chance.sample((1, 2, 3, 4), 3))
        here = list(before)
        if number < 3:  # the last one is only another order
            here[chance.randrange(3)] = next(broker for broker in (1, 2, 3, 4) if broker not in here)
        after = chance.choice([each for each in permutations(here) if each != before])
        moves.append(Move("orders", number, before, after, chance.randint(1, 6)))
    topic, broker = Resource("topic", "orders"), Resource("broker", str(chance.randint(1, 4)))
    others = {(topic, LEADER_REPLICAS): "0:1", (topic, FOLLOWER_REPLICAS): "*", (broker, LEADER_RATE): "70000000"}
    ways: list[Way] = ["run", "roll_back"]
    lives: list[tuple[Way, float]] = [("run", chance.random())]
    lives += [(chance.choice(ways), chance.random()) for _ in range(chance.randrange(3))]
    return Round(moves, others if chance.random() < 0.5 else {}, lives, chance.choice(ways))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_module, "SAMPLE", 0.0)
    monkeypatch.setattr("redrive.partitions.inflow.measure", lambda _, keys, __: dict.fromkeys(keys, 0.0))


class Yard:
    """The cluster, its ledger, and one run in as many processes as it takes."""

    def __init__(self, folder: Path, moves: list[Move], others: Mapping[tuple[Resource, str], str]) -> None:
        self.paper = Cluster(*moves)
        self.paper.set |= others
        self.moves, self.others = moves, dict(others)
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db")

    def live(self, way: Way) -> Result:
        """Do what one process does."""
        given: dict[str, Any] = {"cluster": "east", "resources": ["east"], "who": "x", "parameters": {}}
        operation = self.ledger.begin("partition-rebalance", "run", operation_id="one", **given)
        limits = Limits(2, poll=0.0)
        execution = Execution(self.paper, self.ledger.debts, operation, rate=1_000_000, limits=limits)
        return execution.run(self.moves) if way == "run" else execution.roll_back(self.moves)

    def require_end(self, way: Way) -> None:
        """Go to the end, and see that it is one of two: all as planned, or all as before; and nothing is left."""
        result = self.live(way)
        assert result.proved, result.evidence()
        wanted = {(move.topic, move.number): move.after if way == "run" else move.before for move in self.moves}
        assert self.paper.replicas == wanted
        assert all(each.leader == wanted[key][0] for key, each in self.paper.partitions().items())
        assert self.paper.under_way == {}
        assert self.paper.set == self.others
        assert self.ledger.debts.owed() == []
        assert self.ledger.verify_chain() == []


@contextmanager
def fuse(point: int | None) -> Iterator[Callable[[], int]]:
    """Kill before or after an effect, counted from 0; None: nowhere. Gives how many points were passed."""
    passed = 0

    def fused(effect: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **more: Any) -> Any:
            nonlocal passed
            result = None
            for after in (False, True):
                if passed == point:
                    raise Killed
                passed += 1
                if not after:
                    result = effect(*given, **more)
            return result

        return run

    with pytest.MonkeyPatch.context() as patch:
        for kind, call in EFFECTS:
            patch.setattr(kind, call, fused(getattr(kind, call)))
        yield lambda: passed


def points_of(folder: Path, plan: Round) -> int:
    """How many there are on the way there, when nothing kills it."""
    folder.mkdir()
    yard = Yard(folder, plan.moves, plan.others)
    with fuse(None) as passed:
        yard.require_end("run")
        return passed()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_wherever_they_are_killed_all_ends_as_planned_or_as_before(tmp_path: Path, seed: int) -> None:
    plan = draw(seed)
    points = points_of(tmp_path / "whole", plan)
    assert points > 20
    yard = Yard(tmp_path, plan.moves, plan.others)
    kills = 0
    for way, part in plan.lives:
        with fuse(int(part * points)):
            try:
                yard.live(way)
            except Killed:
                kills += 1
    assert kills, "the first life gets to its point, as nothing was done before it"
    yard.require_end(plan.last)


def test_at_each_single_effect_a_killed_run_is_gone_on_with_or_taken_back_by_turns(tmp_path: Path) -> None:
    plan = draw(0)
    points = points_of(tmp_path / "whole", plan)
    for point in range(points):
        folder = tmp_path / f"{point}"
        folder.mkdir()
        yard = Yard(folder, plan.moves, plan.others)
        with fuse(point), pytest.raises(Killed):
            yard.live("run")
        yard.require_end("run" if point // 2 % 2 else "roll_back")
