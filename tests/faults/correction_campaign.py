"""Rounds of corrections that are killed at chosen and at random moments; each can be repeated by its seed."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.correcting import CALLS
from tests.faults.correction_rounds import Living, Ward
from tests.postgresql import postgresql

LETTERS = 200
_TRIES = 4


@dataclass(frozen=True)
class Crash:
    """How one life is to end.

    Attributes:
        again: whether it goes on with the operation before; else it is another one, which settles that one first.
        fuse: crash point; empty: it is killed from outside.
        after: seconds after its start at which it is killed from outside, at the latest.
    """

    again: bool
    fuse: str
    after: float


@dataclass
class Round:
    """What a seed stands for, and what came of it."""

    seed: int
    plan: list[Crash]
    last_again: bool
    crashes: Counter[str] = field(default_factory=Counter)
    ends: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        lives = " → ".join(self.ends)
        wrong = "".join(f"\n  VIOLATION {violation}" for violation in self.violations[:20])
        return f"seed {self.seed}: {'VIOLATED' if wrong else 'clean'} in {self.seconds:.0f} s: {lives}{wrong}"


def draw(seed: int) -> Round:
    """Draw a round from its seed."""
    chance = random.Random(seed)
    plan = []
    for _ in range(chance.randint(3, 5)):
        call = chance.choice(list(CALLS))
        number = 1 + int((CALLS[call] - 1) * chance.random() ** 2)  # early ones leave more for the next life
        fuse = f"{chance.choice(['before', 'after'])} {call}:{number}"
        if chance.random() < 0.25:
            plan.append(Crash(chance.random() < 0.5, "", chance.uniform(0.3, 2.5)))
        else:
            plan.append(Crash(chance.random() < 0.5, fuse, 60.0))
    return Round(seed, plan, chance.random() < 0.5)


def run_round(endpoints: Any, folder: Path, round_: Round, ledger: str = "", letters: int = LETTERS) -> Round:
    """Run a round to its verdict."""
    began = time.monotonic()
    ward = Ward(endpoints, folder, letters=letters, seed=round_.seed, ledger=ledger)
    number = 1
    for crash in round_.plan:
        number += 0 if crash.again else 1
        living = ward.start(f"op-{number}", fuse=crash.fuse)
        if crash.fuse:
            living.wait()
        else:
            living.process.join(crash.after)
            living.kill()
        if living.crashed:
            round_.crashes[f"{crash.fuse.partition(':')[0]}" if crash.fuse else "kill -9 from outside"] += 1
        _note(round_, living)
    number += 0 if round_.last_again else 1
    _note(round_, ward.live(f"op-{number}"))
    last = ward.live(f"op-{number + 1}")
    _note(round_, last)
    if last.how != "proved" or last.counts["published"]:
        round_.violations.append(f"the last run, which had nothing to publish: {last.how}, {last.told('ended')}")
    round_.violations += ward.violations()
    round_.seconds = time.monotonic() - began
    return round_


def _note(round_: Round, living: Living) -> None:
    round_.ends.append(f"{living.life.name} {living.life.fuse or ''}: {living.how}")
    if living.how not in ("killed", "proved"):
        round_.violations.append(
            f"{living.life.name} ended {living.how}: {living.told('ended') or living.told('unit')}"
        )


def campaign(endpoints: Any, folder: Path, rounds: int, seed: int) -> bool:
    """Run rounds, every other one with its ledger in PostgreSQL, tell of each, sum up; give whether all were clean."""
    crashes: Counter[str] = Counter()
    violated = []
    with postgresql() as server:
        for each in range(seed, seed + rounds):
            ledger = server.create() if each % 2 else ""
            done = run_round(endpoints, folder / f"round-{each}", draw(each), ledger)
            crashes += done.crashes
            if done.violations:
                violated.append(each)
            print(done, flush=True)
    print(f"\n{rounds} rounds, {crashes.total()} crashes:")
    for name, count in sorted(crashes.items()):
        print(f"  {count:6} {name}")
    print(f"violated: {violated or 'none'}")
    return not violated
