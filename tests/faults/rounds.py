"""Runs a round on a real stack, and has it judged."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from confluent_kafka.admin import AdminClient

from deployments.local.errors import StackError
from deployments.local.stack import Stack
from redrive.config import Config
from redrive.topics import apply_topics
from tests.faults.journal import Story
from tests.faults.oracle import SCHEMA, Verdict, judge
from tests.faults.plan import BROKERS, Action, Member, Plan
from tests.faults.processes import Program
from tests.faults.producing import NAME, Producing, produce
from tests.faults.proxy import Proxy
from tests.faults.replaying import Replaying, replay

PATIENCE = 150.0
"""Seconds that programs have for their end, after all faults are over, on a busy machine."""

KEYS = 12


@dataclass
class Report:
    """How a round went.

    Attributes:
        crashes: crash point, or ``kill PROGRAM``, → how often somebody died there.
        done: what was done to the system → how often.
        met: faults of the store that requests met.
        notes: what programs wrote down, besides events.
        seconds: how long it took.
    """

    plan: Plan
    verdict: Verdict = field(default_factory=Verdict)
    crashes: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def violations(self) -> list[str]:
        return self.verdict.violations

    def __str__(self) -> str:
        lines = [str(self.plan), f"  crashes: {dict(self.crashes)}", f"  store faults: {dict(self.met)}"]
        lines += [f"VIOLATION {line}" for line in self.violations[:40]]
        lines += [f"late: {line}" for line in self.verdict.late[:5]]
        lines += [f"note: {line}" for line in self.notes[-60:]]
        return "\n".join(lines)


class Round:
    """One round: topics and a table of its own, programs, faults, judgement."""

    def __init__(self, stack: Stack, proxy: Proxy, plan: Plan, folder: Path) -> None:
        self._stack, self._proxy, self._plan, self._folder = stack, proxy, plan, folder
        self._report = Report(plan)
        self._topic = f"soak-{uuid.uuid4().hex[:10]}"
        self._table = self._topic
        self._kills: list[str] = []

    def run(self) -> Report:
        """Run it to its verdict."""
        started = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._proxy.calm()
        self._proxy.reseed(self._plan.seed)
        self._stack.start(*self._stack.nodes)
        self._prepare()
        programs = {member.name: self._program(member) for member in (*self._plan.producers, *self._plan.replayers)}
        try:
            self._let_happen(programs)
            self._calm_down(programs)
            self._await_end(programs)
        finally:
            for program in programs.values():
                program.kill("end")
        self._judge(programs)
        if not self._report.violations:
            self._remove()
        self._report.seconds = time.monotonic() - started
        return self._report

    # -- the stage ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        (self._folder / "soak.avsc").write_text(json.dumps(SCHEMA))
        self._settings_file("redrive.toml", self._stack.endpoints.bootstrap, self._stack.endpoints.dynamodb)
        changes = apply_topics(Config.load(self._folder / "redrive.toml"))
        failed = [change for change in changes if change.outcome == "failed"]
        assert not failed, failed
        self._settings_file("redrive.toml", self._stack.endpoints.bootstrap, self._proxy.url)
        self._settings_file("cut-off.toml", "127.0.0.1:9", self._proxy.url)

    def _settings_file(self, name: str, bootstrap: str, dynamodb: str) -> None:
        (self._folder / name).write_text(f"""\
[standby]
table = "{self._table}"
endpoint = "{dynamodb}"
gate_refresh = {self._plan.settings.gate_refresh}
[registry]
url = "{self._stack.endpoints.registry}"
[clusters.local]
bootstrap = "{bootstrap}"
[domains.soak]
cluster = "local"
[topics."{self._topic}"]
domain = "soak"
partitions = 4
lanes = {self._plan.lanes}
schema = "soak.avsc"
config = {{"max.message.bytes" = 2000000}}
[topics."dlq.{NAME}"]
domain = "soak"
partitions = 1
""")

    def _program(self, member: Member) -> Program:
        fuses = dict(enumerate(member.fuses, 1))
        if member in self._plan.replayers:
            return Program(
                member.name,
                replay,
                lambda life, number: Replaying(
                    life,
                    self._folder,
                    self._folder / "redrive.toml",
                    self._plan.settle,
                    self._plan.transaction_timeout,
                    fuses.get(number, ""),
                ),
            )
        keys = [f"{member.name}{number}" for number in range(KEYS)] + ["shared-1", "shared-2"]
        return Program(
            member.name,
            produce,
            lambda life, number: Producing(
                life,
                self._folder,
                self._folder / ("cut-off.toml" if member.cut_off else "redrive.toml"),
                self._topic,
                tuple(keys),
                self._plan.rate,
                f"{self._plan.seed}/{life}",
                self._plan.settings,
                self._plan.large,
                member.clock,
                fuses.get(number, ""),
            ),
        )

    # -- what happens ------------------------------------------------------------------------------------------------

    def _let_happen(self, programs: dict[str, Program]) -> None:
        waiting = sorted((*self._plan.producers, *self._plan.replayers), key=lambda member: member.at)
        while waiting and waiting[0].at == 0:
            programs[waiting.pop(0).name].start()
        self._await_publishing(programs)
        started = time.monotonic()
        actions = sorted(self._plan.actions, key=lambda action: action.at)
        while (now := time.monotonic() - started) < self._plan.seconds or actions:
            while waiting and waiting[0].at <= now:
                programs[waiting.pop(0).name].start()
            while actions and actions[0].at <= now:
                self._do(actions.pop(0), programs)
            if now >= self._plan.seconds:
                (self._folder / "stop").touch()
            for program in programs.values():
                if program.lives:
                    program.watch()
            time.sleep(0.02)
        for member in waiting:
            programs[member.name].start()

    def _await_publishing(self, programs: dict[str, Program]) -> None:
        """Wait until each program that has started publishes: how long that takes is up to the machine."""
        deadline = time.monotonic() + PATIENCE
        names = [name for name, program in programs.items() if program.lives]
        while not all(any(path.stat().st_size for path in self._folder.glob(f"{name}.*.journal")) for name in names):
            assert time.monotonic() < deadline, f"not all of {names} have begun to publish"
            for name in names:
                programs[name].watch()
            time.sleep(0.02)

    def _do(self, action: Action, programs: dict[str, Program]) -> None:
        for name in action.to:
            if name in programs:
                program = programs[name]
                match action.do:
                    case "kill" if program.runs:
                        self._report.crashes[f"kill {'replayer' if self._replays(name) else 'producer'}"] += 1
                        program.kill("hand")
                    case "freeze":
                        program.freeze()
                    case "thaw":
                        program.thaw()
        nodes = [name for name in action.to if name not in programs]
        with suppress(StackError):  # such as to freeze what was killed before
            match action.do:
                case "kill":
                    self._stack.kill(*nodes)
                    self._report.crashes["kill broker"] += len(nodes)
                case "start":
                    self._stack.start(*nodes, wait=False)
                case "freeze":
                    self._stack.pause(*nodes)
                case "thaw":
                    self._stack.resume(*nodes)
        if action.do == "faults":
            self._proxy.faults = action.faults
        self._report.done[" ".join([action.do, *(action.to if nodes else ["program"] if action.to else [])])] += 1

    def _replays(self, name: str) -> bool:
        return name in {member.name for member in self._plan.replayers}

    def _calm_down(self, programs: dict[str, Program]) -> None:
        """End all faults; what comes now is only for the system to get over them."""
        (self._folder / "stop").touch()
        for program in programs.values():
            program.thaw()
        paused = [node.node for node in self._stack.status() if node.state == "paused"]
        self._stack.resume(*paused)
        missing = [node.node for node in self._stack.status() if node.state != "running"]
        self._stack.start(*missing, wait=False)
        self._stack.wait_ready(BROKERS)
        self._proxy.calm()

    def _await_end(self, programs: dict[str, Program]) -> None:
        """Wait for the producers, then for the replayers: these end when all lanes are open."""
        violations = self._report.violations
        producers = {member.name for member in self._plan.producers}
        for what, names in (("producers", producers), ("replayers", programs.keys() - producers)):
            running = {programs[name] for name in names}
            deadline = time.monotonic() + PATIENCE
            while running and time.monotonic() < deadline:
                # All of them: one that is killed by its fuse only now is started again.
                running = {program for program in running if program.watch()}
                for program in programs.values():
                    program.watch()
                time.sleep(0.05)
            for program in running:
                violations.append(f"{what}: {program.life} has not ended {PATIENCE:.0f} s after all faults were over")
                program.dump()
                time.sleep(0.5)
            if what == "producers":
                (self._folder / "finish").touch()
        violations += [program.failure for program in programs.values() if program.failure]

    # -- judgement ---------------------------------------------------------------------------------------------------

    def _judge(self, programs: dict[str, Program]) -> None:
        self._report.met = Counter(self._proxy.met)
        story = Story()
        for journal in sorted(self._folder.glob("*.journal")):
            story.read(journal)
        self._report.notes = story.notes
        late_requests = self._report.met["late"] > 0 or self._report.met["slow"] > 0
        where = self._stack.endpoints
        verdict = judge(
            story,
            where.bootstrap,
            self._topic,
            where.dynamodb,
            self._table,
            one_view=self._plan.one_view,
            late_requests=late_requests,
        )
        verdict.violations = self._report.violations + verdict.violations
        verdict.violations += [note for note in story.notes if ": unexpected " in note]
        for log in sorted(self._folder.glob("*.log")):
            text = log.read_text(errors="replace")
            if "Traceback" in text:
                verdict.violations.append(f"{log}: {text[text.index('Traceback') :][:3000]}")
        for note in story.notes:
            _, _, crash = note.partition(": crash ")
            if crash:
                who = "replayer" if self._replays(note.partition(".")[0]) else "producer"
                self._report.crashes[f"{who} {crash}"] += 1
        self._report.verdict = verdict

    def _remove(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._stack.endpoints.bootstrap})
        for future in admin.delete_topics([self._topic]).values():
            future.result()
        client = boto3.client(
            "dynamodb",
            region_name="us-east-1",
            endpoint_url=self._stack.endpoints.dynamodb,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        client.delete_table(TableName=self._table)
