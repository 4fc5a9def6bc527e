"""Chooses: every run within a budget of deviations, or random walks; and repeats one, to show its schedule."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.explorer.actors import Outcome, Play
from tests.explorer.parts import Option, PrunedError, ViolationError
from tests.explorer.patches import patched
from tests.explorer.scenario import Scenario
from tests.explorer.world import World


@dataclass
class Found:
    """A violation and how to see it again."""

    scenario: Scenario
    reason: str
    picks: dict[int, int]
    runs: int
    free_switch: bool = False

    def __str__(self) -> str:
        return f"{self.scenario.name}: {self.reason}\nafter {self.runs} runs; choices {self.picks}\n" + "\n".join(
            schedule(self.scenario, self.picks, free_switch=self.free_switch)
        )


@dataclass
class Report:
    """What an exploration has done."""

    scenario: str
    runs: int = 0
    states: int = 0
    complete: bool = True
    seconds: float = 0.0
    found: Found | None = None
    outcomes: set[Outcome] = field(default_factory=set)

    def __str__(self) -> str:
        end = "all" if self.complete else "not all"
        return f"{self.scenario}: {self.runs} runs, {self.states} states, {end} of them, {self.seconds:.1f} s"


class _Search:
    """Depth-first: follows a prefix of choices, then takes the usual way."""

    def __init__(self, budget: int, *, prune: bool) -> None:
        self.budget = budget
        self.prune = prune
        self.prefix: list[int] = []
        self.picks: list[int] = []
        self.costs: list[tuple[int, ...]] = []
        self.spent = 0
        self.visited: dict[int, int] = {}

    def choose(self, world: World, options: Sequence[Option]) -> int:
        position = len(self.picks)
        if position < len(self.prefix):
            pick = self.prefix[position]
        else:
            left = self.budget - self.spent
            key = hash((world.key(), tuple([option.name for option in options])))
            if self.prune and self.visited.get(key, -1) >= left:
                world.stop(PrunedError())
            self.visited[key] = left
            pick = 0
        self.picks.append(pick)
        self.costs.append(tuple([option.cost for option in options]))
        self.spent += options[pick].cost
        return pick

    def next(self) -> bool:
        """Prepare the next run; False if all are done."""
        spent = self.spent
        while self.picks:
            pick, costs = self.picks.pop(), self.costs.pop()
            spent -= costs[pick]
            for other in range(pick + 1, len(costs)):
                if spent + costs[other] <= self.budget:
                    self.prefix = [*self.picks, other]
                    self._reset()
                    return True
        return False

    def _reset(self) -> None:
        self.picks, self.costs, self.spent = [], [], 0


class Picks:
    """The usual way but for some choices: position → option."""

    def __init__(self, picks: dict[int, int]) -> None:
        self.picks = picks
        self.position = -1

    def choose(self, world: World, options: Sequence[Option]) -> int:
        self.position += 1
        return min(self.picks.get(self.position, 0), len(options) - 1)


class Walk:
    """The usual way, with random deviations."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.picks: dict[int, int] = {}
        self.position = -1
        self._rng = rng
        self._rate = rate

    def choose(self, world: World, options: Sequence[Option]) -> int:
        self.position += 1
        if self._rng.random() >= self._rate:
            return 0
        pick = self._rng.randrange(len(options))
        if pick:
            self.picks[self.position] = pick
        return pick


def exhaust(
    scenario: Scenario,
    budget: int,
    *,
    seconds: float = 3600.0,
    free_switch: bool = False,
    seek: str = "",
    prune: bool = True,
) -> Report:
    """Run a scenario in every way with at most ``budget`` deviations from the usual one, until one breaks something.

    Args:
        scenario: which.
        budget: how many deviations: preemptions, naps, kills, faults.
        seconds: stop after these.
        free_switch: True: who goes on after one that waits is no deviation but a choice of its own.
        seek: a regular expression: go on until something breaks of which the description matches.
        prune: False: run on even from states that were seen before.
    """
    search = _Search(budget, prune=prune)
    report = Report(f"{scenario.name} ≤{budget}{' free' if free_switch else ''}")
    started = time.perf_counter()
    with patched(scenario):
        while True:
            report.runs += 1
            try:
                report.outcomes.add(Play(scenario, search, free_switch=free_switch).run())
            except PrunedError:
                pass
            except ViolationError as error:
                if re.search(seek, str(error)):
                    picks = {i: pick for i, pick in enumerate(search.picks) if pick}
                    report.found = Found(scenario, str(error), picks, report.runs, free_switch)
                    break
            if not search.next():
                break
            if time.perf_counter() - started > seconds:
                report.complete = False
                break
    report.states = len(search.visited)
    report.seconds = time.perf_counter() - started
    return report


def walk(scenario: Scenario, seed: int, *, runs: int, rate: float = 0.1, free_switch: bool = False) -> Report:
    """Run a scenario at random, until a run breaks something; ``rate`` of the choices are not the usual ones."""
    report = Report(f"{scenario.name} walk {seed}", complete=False)
    started = time.perf_counter()
    with patched(scenario):
        for i in range(runs):
            report.runs += 1
            chooser = Walk(random.Random(f"{seed}/{i}"), rate)
            try:
                Play(scenario, chooser, free_switch=free_switch).run()
            except ViolationError as error:
                picks = _shrink(scenario, chooser.picks, str(error), free_switch)
                report.found = Found(scenario, str(error), picks, report.runs, free_switch)
                break
    report.seconds = time.perf_counter() - started
    return report


def broken(scenario: Scenario, picks: dict[int, int], *, free_switch: bool = False) -> str:
    """Return what a run with these choices breaks, or nothing."""
    with patched(scenario):
        try:
            Play(scenario, Picks(picks), free_switch=free_switch).run()
        except ViolationError as error:
            return str(error)
    return ""


def _shrink(scenario: Scenario, picks: dict[int, int], reason: str, free_switch: bool) -> dict[int, int]:
    """Leave out deviations that a violation of this kind does not need."""
    kind = reason.partition(":")[0]
    smaller = True
    while smaller:
        smaller = False
        for position in list(picks):
            fewer = {p: pick for p, pick in picks.items() if p != position}
            if broken(scenario, fewer, free_switch=free_switch).partition(":")[0] == kind:
                picks, smaller = fewer, True
    return picks


def schedule(scenario: Scenario, picks: dict[int, int], *, free_switch: bool = False) -> list[str]:
    """Repeat a run and return what happened, line by line."""
    with patched(scenario):
        play = Play(scenario, Picks(picks), record=True, free_switch=free_switch)
        end = ""
        try:
            play.run()
        except ViolationError as error:
            end = f"==> {error}"
    lines = [what + (f" -> {result}" if result not in ("", None) else "") for what, result in play.world.trace]
    return [*lines, end]
