"""A pile of dead letters from triage to their fates in the ledger (SQLite), step by step as the job does it.

Whether it scales: a large pile beside a small one, each in a process of its own, with its own memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from confluent_kafka import Producer

from bench.correct import PARTITIONS, RULES, Clinic, letters
from bench.measure import Row, compare
from bench.memory import children, peak
from deployments.demo.flights import TOPIC
from redrive.deadletters.correction import (
    JOB,
    Batch,
    JudgeElsewhere,
    Terms,
    Unit,
    UnitResult,
    correct,
    find_context,
    make_plan,
    mark_doubles,
    settle,
    settle_earlier,
)
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import triage
from redrive.ledger import Ledger
from redrive.pump.workers import Workers
from redrive.rules import load_rules
from redrive.schemas import SchemaRegistry
from redrive.standby.drain import open_store

SMALL, LARGE = 20_000, 100_000
OVERTAKES = 10  # of so many events that come after the letters, one is of a letter's key
STEPS = {
    "triage": "triage, with groups and trend for its report",
    "select": "selecting them, and finding doubles",
    "guard": "reading as many events of the main topic for the order guard",
    "plan": "judging each for the plan",
    "run": "the run, with the fates of what is held",
    "settle": "the proof, and the fates of what was published",
    "all": "all of these",
}


def rows(folder: Path) -> list[Row]:
    """Return a row for each step, and one about memory."""
    few, many = _measured(folder, SMALL), _measured(folder, LARGE)
    beside = f"of {LARGE:,} dead letters beside {SMALL:,}"

    def rate(step: str, said: str) -> Row:
        name = f"{said}, {beside} (letters/s)"
        return compare(name, lambda: LARGE / many[step], lambda: SMALL / few[step], at_least=0.8, runs=1)

    memory = compare(
        f"peak memory of all of these, {beside}, with its processes (MB)",
        lambda: many["memory"],
        lambda: few["memory"],
        at_most=2,
        runs=1,
    )
    return [*(rate(step, said) for step, said in STEPS.items()), memory]


def _measured(folder: Path, count: int) -> dict[str, float]:
    """Make a pile and work it off in a new process; return the seconds of each step, and ``memory`` in MB."""
    clinic = Clinic(folder)
    open_store(clinic.config).create()
    clinic.fill(count)
    _overtake(clinic, count)
    command = [sys.executable, "-m", "bench.pile", str(folder), clinic.name]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def _overtake(clinic: Clinic, count: int) -> None:
    """Publish as many events as there are letters after them, some under their keys."""
    producer = Producer({**clinic.client, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})
    for number, letter in enumerate(letters(clinic.dead_letters, count)):
        other = b"another-%d" % number
        producer.produce(TOPIC, letter.value, other if number % OVERTAKES else letter.key or other)
        producer.poll(0)
    producer.flush()


class _Watch:
    """Takes the time of steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = perf_counter()
        yield
        self.seconds[name] = perf_counter() - began


def _work_off(clinic: Clinic) -> dict[str, float]:
    config, client, rules, watch = clinic.config, clinic.client, load_rules(RULES), _Watch()
    registry = SchemaRegistry(config.registry_client_config())
    selection = Selection(dead_letter_topics=[clinic.dead_letters])
    with Ledger.open(config.ledger_url()) as ledger:
        kept = ledger.letters
        about: dict[str, Any] = {"cluster": "local", "resources": [], "who": "bench", "parameters": {}}
        with watch.step("triage"):
            reading = ledger.begin("dlq-triage", "run", **about)
            found = triage(client, "local", clinic.dead_letters, kept, reading)
            assert sum(group.letters for group in kept.groups(selection)) == found.new
            assert sum(count for _, count in kept.trend(selection, "day")) == found.new
        operation = ledger.begin(JOB, "run", **about)
        with watch.step("select"):
            upto = kept.last_entry()
            batch = Batch(kept.subjects(selection, upto=upto, also_of=operation.id))
            mark_doubles(batch, kept.twins(batch.wanted))
        with watch.step("guard"):
            context = find_context(config, registry, batch, "local", rules, attempts=3, operation=operation.id)
        with watch.step("plan"):
            terms = Terms(rules.digest, "hold", 3, selection.model_dump(mode="json"), upto)
            plan = make_plan(terms, batch, {"local": context})
            operation.plan(plan.canonical())
        assert plan.publishes + plan.stays == found.new, plan
        assert 0 < plan.stays < found.new, plan
        saved = settle_earlier(config, ledger, batch.units, operation, record=True).saved

        def work_at(unit: Unit) -> UnitResult:
            return correct(
                config, unit, judge, context.guard, "hold", operation=operation.id, targets=context.targets,
                seen=saved.get(unit.name), record_fates=lambda fates: kept.record_fates(operation, fates),
            )  # fmt: skip

        with (
            watch.step("run"),
            Workers(config.jobs.worker_processes()) as workers,
            ThreadPoolExecutor(PARTITIONS) as threads,
        ):
            targets, url = context.targets, config.registry_client_config()
            judge = JudgeElsewhere(workers, rules, targets, url, attempts=3)
            results = list(threads.map(work_at, batch.units))
            memory = sum(map(peak, children()))
        with watch.step("settle"):
            proof = settle(
                client,
                batch.units,
                {result.unit.name: result.outcome.evidence for result in results},
                operation=operation.id,
                record_fates=lambda fates: kept.record_fates(operation, fates),
            )
        assert proof.verdict == "proved", proof.findings
        fates = kept.fates_by(operation.id)
        assert fates.keys() == {"published", "held"}, fates
        assert sum(fates.values()) == found.new, fates
    return watch.seconds | {"all": sum(watch.seconds.values()), "memory": memory + peak("self")}


if __name__ == "__main__":
    print(json.dumps(_work_off(Clinic(Path(sys.argv[1]), sys.argv[2]))))
