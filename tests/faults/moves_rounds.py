"""Rounds of moves that are killed, turned round and taken up again, while brokers come and go; each by its seed."""

from __future__ import annotations

import json
import signal
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from deployments.local.stack import Stack
from redrive.partitions.layout import Move
from redrive.partitions.state import Resource
from redrive.partitions.throttle_settings import RATES
from tests.faults.moves_plan import BROKERS, QUICK, SIZE, SLOW, Life, Loss, RoundPlan, draw
from tests.faults.moving import Job, main
from tests.faults.processes import start
from tests.stack.partitions.lab import Lab, until

OTHERS_RATE = "70000000"
PATIENCE = 90.0


class Run:
    """A run in processes of its own, each of which goes on where the one before has ended."""

    def __init__(self, lab: Lab, moves: list[Move], rate: int, log: str = "run.log") -> None:
        self._log = lab.folder / log
        self._job = Job(lab.bootstrap, lab.ledger_url, str(self._log), str(uuid.uuid4()), moves, rate)

    def die(self, way: str, point: str) -> None:
        """Run until it kills itself at the point."""
        assert self.live(way=way, point=point) == "killed itself", self.told()

    def end(self, way: str) -> dict[str, Any]:
        """Run to the end."""
        assert self.live(way=way, rate=QUICK) == "ended", self.told()
        return self.evidence()

    def live(self, kill_after: float | None = None, **changes: Any) -> str:
        """Run until it ends, kills itself, or is killed; says which."""
        process = start(main, msgspec.structs.replace(self._job, **changes))
        process.join(PATIENCE if kill_after is None else kill_after)
        if process.exitcode is None:
            process.kill()
            process.join(10)
            return "was killed" if kill_after is not None else f"did not end within {PATIENCE:g} s"
        return {0: "ended", -signal.SIGKILL: "killed itself"}.get(process.exitcode, f"ended with {process.exitcode}")

    def evidence(self) -> dict[str, Any]:
        """Give what a run has said that has ended."""
        return dict(json.loads(self.told().splitlines()[-1]))

    def told(self) -> str:
        return self._log.read_text()


@dataclass
class Round:
    """What came of a plan."""

    plan: RoundPlan
    kills: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        wrong = "".join(f"\n  VIOLATION {violation}" for violation in self.violations)
        if wrong:
            wrong += "".join(f"\n  {life}" for life in self.plan.lives)
        state = f"{'VIOLATED' if wrong else 'clean'} in {self.seconds:.0f} s"
        state += f", {self.kills.total()} kills, {self.ended} lives came to their end"
        losses = "".join(f", {loss}" for loss in self.plan.losses)
        end = "all as planned" if self.plan.last == "run" else "all as before"
        return f"seed {self.plan.seed}: {state}{losses}; in the end {end}{wrong}"


def run_round(lab: Lab, plan: RoundPlan) -> Round:
    """Run a round to its verdict: all as planned or all as before, to the order, and every setting as it was."""
    began, round_ = time.monotonic(), Round(plan)
    topic = lab.topic(plan.before, SIZE, **plan.others)
    pairs = zip(plan.before, plan.after, strict=True)
    moves = [Move(topic, number, *pair, SIZE) for number, pair in enumerate(pairs)]
    set_before = [Resource("broker", str(broker)) for broker in plan.others_rate]
    _configure(lab, set_before, OTHERS_RATE)
    try:
        settings = lab.throttles(topic)
        run = Run(lab, moves, SLOW, f"round-{plan.seed}.log")
        losses = []
        for index, life in enumerate(plan.lives):
            for loss in plan.losses:
                if loss.at == index:
                    losses.append(_lose(lab.stack, loss, round_))
            _live(run, life, round_)
        for thread in losses:
            thread.join()
        until(lambda: lab.alive() == list(BROKERS))
        how = run.live(way=plan.last, rate=QUICK)
        if how != "ended":
            round_.violations.append(f"the last run {how}: {run.told()[-2_000:]}")
        else:
            _judge(lab, topic, settings, run.evidence(), round_)
    finally:
        _configure(lab, set_before, None)
        lab.kafka.delete_topics([topic])[topic].result()
    round_.seconds = time.monotonic() - began
    return round_


def _configure(lab: Lab, brokers: list[Resource], rate: str | None) -> None:
    refused = lab.writer.configure({broker: dict.fromkeys(RATES, rate) for broker in brokers})
    assert not refused, refused

    def is_set() -> bool:
        found = lab.writer.settings(brokers, RATES)
        own = [found[broker][name].own if name in found[broker] else None for broker in brokers for name in RATES]
        return all(each == rate for each in own)

    until(is_set)


def _live(run: Run, life: Life, round_: Round) -> None:
    how = run.live(life.after, way=life.way, point=life.point, rate=life.rate, strained=life.strained)
    if how == "killed itself":
        round_.kills[life.point.partition(":")[0]] += 1
    elif how == "was killed":
        round_.kills["from outside"] += 1
    elif how == "ended":  # before it got to its point
        round_.ended += 1
    else:
        round_.violations.append(f"{life} {how}: {run.told()[-2_000:]}")


def _lose(stack: Stack, loss: Loss, round_: Round) -> threading.Thread:
    node = f"kafka-{loss.broker}"

    def lose() -> None:
        try:
            time.sleep(loss.after)
            (stack.pause if loss.frozen else stack.kill)(node)
            time.sleep(loss.down)
            (stack.resume if loss.frozen else stack.start)(node)
            round_.losses[f"broker {'frozen' if loss.frozen else 'killed'}"] += 1
        except Exception as error:
            round_.violations.append(f"{loss} did not come about: {error}")

    thread = threading.Thread(target=lose)
    thread.start()
    return thread


def _judge(lab: Lab, topic: str, settings: dict[str, dict[str, str]], evidence: dict[str, Any], round_: Round) -> None:
    wanted = dict(enumerate(round_.plan.after if round_.plan.last == "run" else round_.plan.before))
    with suppress(AssertionError):  # whichever broker this client asks may hear of it later than the one that was asked
        until(lambda: lab.leaders(topic) == {number: each[0] for number, each in wanted.items()}, 10)
    found = [
        ("proved", evidence["proved"], True),
        ("replicas", lab.replicas(topic), wanted),
        ("leaders", lab.leaders(topic), {number: each[0] for number, each in wanted.items()}),
        ("throttles", lab.throttles(topic), settings),
        ("under way", [key for key in lab.writer.ongoing() if key[0] == topic], []),
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
    losses: Counter[str] = Counter()
    violated = []
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(stack, folder)
    for each in range(seed, seed + rounds):
        until(lambda: lab.alive() == list(BROKERS))
        done = run_round(lab, draw(each))
        kills += done.kills
        losses += done.losses
        if done.violations:
            violated.append(each)
        print(done, flush=True)
    lab.close()
    print(f"\n{rounds} rounds, {kills.total()} kills, {losses.total()} losses of a broker:")
    for name, count in sorted((kills + losses).items()):
        print(f"  {count:6} {name}")
    print(f"violated: {violated or 'none'}")
    return not violated
