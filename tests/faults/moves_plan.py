"""What a seed stands for in the campaign of moves: where partitions move, and what happens meanwhile."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

from redrive.partitions.throttle_settings import FOLLOWER_REPLICAS, LEADER_REPLICAS

BROKERS = (1, 2, 3, 4)
SIZE, SLOW, QUICK = 2_000_000, 60_000, 100_000_000
"""So many bytes take about twenty seconds at the slow rate; two of them go on beside each other."""

CALLS = {"owe": 3, "configure": 3, "reassign": 2, "elect_preferred": 1, "settle": 2}
"""Calls at which a life may end, and a sensible highest number of each."""
CALLS_BACK = CALLS | {"cancel": 1}
LATE = ("elect_preferred", "settle")
"""Those that a run only gets to once its moves have ended."""


@dataclass(frozen=True)
class Life:
    """How one process goes, and how it is to end.

    Attributes:
        way: ``run`` or ``roll_back``.
        point: crash point; empty: none.
        after: seconds after its start at which it is killed from outside, if it still lives.
        rate: its throttle.
        strained: its throttle follows a limit that is exceeded every other time that it is looked at.
    """

    way: str
    point: str
    after: float
    rate: int
    strained: bool


@dataclass(frozen=True)
class Loss:
    """A broker that goes away while lives go on, and comes back.

    Attributes:
        broker: its id.
        frozen: it is stopped by SIGSTOP, and goes on later; else it is killed, and started again.
        at: the life with which it begins, by its index.
        after: seconds from then.
        down: seconds until it comes back.
    """

    broker: int
    frozen: bool
    at: int
    after: float
    down: float

    def __str__(self) -> str:
        return f"broker {self.broker} {'frozen' if self.frozen else 'killed'} at life {self.at + 1}"


@dataclass(frozen=True)
class RoundPlan:
    """A round.

    Attributes:
        before, after: replicas of each partition.
        others: throttled replicas that the topic has before.
        others_rate: brokers that have a rate of their own before.
        last: the way that the last life goes, to its end.
    """

    seed: int
    before: list[tuple[int, ...]]
    after: list[tuple[int, ...]]
    others: dict[str, str]
    others_rate: list[int]
    lives: list[Life]
    losses: list[Loss]
    last: str


def draw(seed: int) -> RoundPlan:
    """Draw a round from its seed."""
    chance = random.Random(seed)
    before, after = [], []
    for number in range(4):
        before.append(tuple(chance.sample(BROKERS, 3)))
        # One is only another order; the others get another broker, at any place.
        here = list(before[-1])
        if number < 3:
            here[chance.randrange(3)] = next(broker for broker in BROKERS if broker not in here)
        orders = [each for each in permutations(here) if each != before[-1]]
        after.append(chance.choice(orders))
    lives: list[Life] = []
    for _ in range(chance.randint(6, 10)):
        lives.append(_life(chance, lives[-1].way if lives else "roll_back"))
    losses = []
    if chance.random() < 0.75:
        at, frozen = chance.randrange(len(lives) - 2), chance.random() < 0.3
        losses.append(Loss(chance.choice(BROKERS), frozen, at, chance.uniform(0, 2), chance.uniform(0.5, 8)))
    return RoundPlan(
        seed,
        before,
        after,
        others={LEADER_REPLICAS: "0:1,1:2", FOLLOWER_REPLICAS: "*"} if chance.random() < 0.5 else {},
        others_rate=chance.sample(BROKERS, 2) if chance.random() < 0.5 else [],
        lives=lives,
        losses=losses,
        last=chance.choice(["run", "roll_back"]),
    )


def _life(chance: random.Random, past: str) -> Life:
    # Most turn round what the one before has done: those find more to do.
    way = past if chance.random() < 0.4 else {"run": "roll_back", "roll_back": "run"}[past]
    calls: Mapping[str, int] = CALLS if way == "run" else CALLS_BACK
    call = chance.choice(sorted(calls))
    point = f"{chance.choice(['before', 'after'])} {call}:{chance.randint(1, calls[call])}"
    if chance.random() < 0.25:
        point = ""
    late = bool(point) and call in LATE  # it has to get there
    rate = QUICK if late or chance.random() < 0.05 else SLOW
    after = chance.uniform(3.0, 6.0) if point else chance.uniform(0.3, 3.0)
    return Life(way, point, after, rate, strained=chance.random() < 0.4)
