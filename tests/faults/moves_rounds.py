"""Rounds of moves that are killed, turned round and taken up again; each can be repeated by its seed."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from deployments.local.stack import Stack
from redrive.partitions.layout import Move
from redrive.partitions.throttle_settings import FOLLOWER_REPLICAS, LEADER_REPLICAS
from tests.faults.moving import Job, main
from tests.faults.processes import start
from tests.stack.partitions.lab import Lab, until

BROKERS = (1, 2, 3, 4)
SIZE, SLOW, QUICK = 1_000_000, 60_000, 100_000_000
"""So many bytes take about ten seconds at the slow rate; two of them go on beside each other."""

CALLS = {"owe": 3, "configure": 3, "reassign": 2, "elect_preferred": 1, "settle": 2}
"""Calls at which a life may end, and a sensible highest number of each."""
CALLS_BACK = CALLS | {"cancel": 1}

OTHERS_RATE = "70000000"


class Run:
    """A run in processes of its own, each of which goes on where the one before has ended."""

    def __init__(self, lab: Lab, moves: list[Move], rate: int) -> None:
        self._log = lab.folder / "run.log"
        self._job = Job(lab.bootstrap, lab.ledger_url, str(self._log), str(uuid.uuid4()), moves, rate)

    def die(self, way: str, point: str) -> None:
        """Run until it kills itself at the point."""
        assert self.live(way=way, point=point) == -signal.SIGKILL, self.told()

    def end(self, way: str) -> dict[str, Any]:
        """Run to the end."""
        assert self.live(way=way, rate=QUICK) == 0, self.told()
        return dict(json.loads(self.told().splitlines()[-1]))

    def live(self, kill_after: float | None = None, **changes: Any) -> int | None:
        """Run until it ends, kills itself, or is killed; gives its exit code."""
        process = start(main, msgspec.structs.replace(self._job, **changes))
        process.join(90 if kill_after is None else kill_after)
        if kill_after is not None and process.exitcode is None:
            process.kill()
            process.join(10)
        return process.exitcode

    def told(self) -> str:
        return self._log.read_text()


@dataclass(frozen=True)
class Life:
    """How one process goes, and how it is to end.

    Attributes:
        way: ``run`` or ``roll_back``.
        point: crash point; empty: it is killed from outside.
        after: seconds after its start at which it is killed from outside.
        rate: its throttle.
        victim: a broker that is killed meanwhile, and started again; 0: none.
    """

    way: str
    point: str
    after: float
    rate: int
    victim: int


@dataclass
class Round:
    """What a seed stands for, and what came of it."""

    seed: int
    before: list[tuple[int, ...]]
    after: list[tuple[int, ...]]
    others: dict[str, str]  # throttled replicas that were on the topic before
    others_rate: bool  # whether all brokers had a rate before
    lives: list[Life]
    last: str
    kills: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        wrong = "".join(f"\n  VIOLATION {violation}" for violation in self.violations)
        ends = " → ".join(f"{life.way} {life.point or 'killed from outside'}" for life in self.lives)
        state = f"{'VIOLATED' if wrong else 'clean'} in {self.seconds:.0f} s, {self.kills.total()} kills"
        return f"seed {self.seed}: {state}: {ends} → {self.last}{wrong}"


def draw(seed: int) -> Round:
    """Draw a round from its seed."""
    chance = random.Random(seed)
    before, after = [], []
    for number in range(4):
        before.append(tuple(chance.sample(BROKERS, 3)))
        # One is only another order; the others get one other broker, or more than one order could tell apart.
        pool = before[-1] if number == 3 else BROKERS
        after.append(tuple(chance.sample(pool, 3)))
    lives = []
    for _ in range(chance.randint(2, 4)):
        way = chance.choice(["run", "run", "roll_back"])
        calls: Mapping[str, int] = CALLS if way == "run" else CALLS_BACK
        call = chance.choice(sorted(calls))
        late = call in ("elect_preferred", "settle")  # it has to get there
        point = f"{chance.choice(['before', 'after'])} {call}:{chance.randint(1, calls[call])}"
        if chance.random() < 0.2:
            point, late = "", False
        victim = chance.choice(BROKERS) if chance.random() < 0.15 else 0
        rate = QUICK if late or chance.random() < 0.3 else SLOW
        lives.append(Life(way, point, chance.uniform(0.5, 4.0), rate, victim))
    others = {LEADER_REPLICAS: "0:1,1:2", FOLLOWER_REPLICAS: "*"} if chance.random() < 0.5 else {}
    return Round(seed, before, after, others, chance.random() < 0.5, lives, chance.choice(["run", "roll_back"]))


def run_round(lab: Lab, round_: Round) -> Round:
    """Run a round to its verdict: all as planned or all as before, to the order, and every setting as it was."""
    began = time.monotonic()
    topic = lab.topic(round_.before, SIZE, **round_.others)
    pairs = zip(round_.before, round_.after, strict=True)
    moves = [Move(topic, number, *pair, SIZE) for number, pair in enumerate(pairs) if pair[0] != pair[1]]
    if round_.others_rate:
        lab.set("broker", "", leader_replication_throttled_rate=OTHERS_RATE)
    try:
        settings = lab.throttles(topic)
        run = Run(lab, moves, SLOW)
        for life in round_.lives:
            _live(lab, run, life, round_)
        if run.live(way=round_.last, rate=QUICK) != 0:
            round_.violations.append(f"the last run has not come to its end: {run.told()[-2_000:]}")
        else:
            _judge(lab, topic, settings, json.loads(run.told().splitlines()[-1]), round_)
    finally:
        if round_.others_rate:
            lab.unset_rates("")
        lab.kafka.delete_topics([topic])[topic].result()
    round_.seconds = time.monotonic() - began
    return round_


def _live(lab: Lab, run: Run, life: Life, round_: Round) -> None:
    accident = threading.Thread(target=_accident, args=(lab.stack, life.victim))
    accident.start()
    code = run.live(None if life.point else life.after, way=life.way, point=life.point, rate=life.rate)
    accident.join()
    if life.victim:
        round_.kills[f"broker {life.victim}"] += 1
    if code == -signal.SIGKILL:
        round_.kills[life.point.partition(":")[0] or "from outside"] += 1
    elif code != 0:  # it may end before it gets to its point
        round_.violations.append(f"{life} ended with code {code}: {run.told()[-2_000:]}")


def _accident(stack: Stack, broker: int) -> None:
    if broker:
        time.sleep(1)
        stack.kill(f"kafka-{broker}")
        time.sleep(1)
        stack.start(f"kafka-{broker}")


def _judge(lab: Lab, topic: str, settings: dict[str, dict[str, str]], evidence: dict[str, Any], round_: Round) -> None:
    wanted = dict(enumerate(round_.after if round_.last == "run" else round_.before))
    found = [
        ("proved", evidence["proved"], True),
        ("replicas", lab.replicas(topic), wanted),
        ("leaders", lab.leaders(topic), {number: each[0] for number, each in wanted.items()}),
        ("throttles", lab.throttles(topic), settings),
        ("owed", [row.place for row in lab.ledger.debts.owed()], []),
        ("chain", lab.ledger.verify_chain(), []),
    ]
    round_.violations += [f"{what}: {is_}, not {should}" for what, is_, should in found if is_ != should]
    if round_.violations:
        round_.violations.append(str(evidence))


def campaign(stack: Stack, folder: Path, rounds: int, seed: int) -> bool:
    """Run rounds, tell of each, sum up; give whether all were clean."""
    stack.add_broker()
    kills: Counter[str] = Counter()
    violated = []
    for each in range(seed, seed + rounds):
        place = folder / f"round-{each}"
        place.mkdir(parents=True)
        lab = Lab(stack, place)
        until(lambda lab=lab: lab.alive() == list(BROKERS))  # type: ignore[misc]
        done = run_round(lab, draw(each))
        lab.close()
        kills += done.kills
        if done.violations:
            violated.append(each)
        print(done, flush=True)
    print(f"\n{rounds} rounds, {kills.total()} kills:")
    for name, count in sorted(kills.items()):
        print(f"  {count:6} {name}")
    print(f"violated: {violated or 'none'}")
    return not violated
