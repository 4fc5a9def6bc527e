"""Those who act: producers with a real `Dispatcher`, and replays with a real `LaneReplay` and `Pump`."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from redrive.dispatch import Dispatcher
from redrive.errors import FencedError, UnavailableError
from redrive.events import Event
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.pump import Pump
from redrive.receipts import Progress, Receipt
from redrive.standby.lanes import Lane
from redrive.standby.replay import LaneReplay
from redrive.standby.store import Slot
from redrive.standby.streams import GapError
from tests.explorer.client import ModelMain
from tests.explorer.oracle import Oracle
from tests.explorer.parts import Chooser, Process
from tests.explorer.scenario import Producer, Scenario
from tests.explorer.table import ModelStore
from tests.explorer.threads import ModelClock, ModelMonitor
from tests.explorer.topic import ModelKafka, ModelSink, model_lookup
from tests.explorer.world import World

CLUSTER, TOPIC = "c", "t"

Outcome = tuple[tuple[str, ...], tuple[str, ...]]
"""The ids in the topic at the end, and those acknowledged, in order."""


class Play:
    """One run of a scenario."""

    def __init__(
        self, scenario: Scenario, chooser: Chooser, *, record: bool = False, free_switch: bool = False
    ) -> None:
        self.scenario = scenario
        self.world = world = World(chooser, scenario.limits, record=record, free_switch=free_switch)
        world.killable = frozenset(scenario.killable)
        world.nap = scenario.nap
        self._dispatchers: list[tuple[Process, Dispatcher]] = []
        self.oracle = Oracle(across=scenario.across)
        self.kafka = world.environment = ModelKafka(world, scenario.outages, scenario.lost, noticed=scenario.noticed)
        self.store = ModelStore(world, at_once=scenario.at_once, away=scenario.table_away)
        self.kafka.watch(lambda: (self.store.key(), self.oracle.key()))
        self.store.data[f"topics|{CLUSTER}"] = {1: Slot("topic", "setup", epoch=scenario.lanes, producer=TOPIC)}
        self.lanes = [Lane(CLUSTER, TOPIC, i) for i in range(scenario.lanes)]
        for producer in scenario.producers:
            self._produce(producer)
        for lane in self.lanes:
            for i in range(scenario.replays):
                self._replay(f"R{i + 1}" + (f"/{lane.number}" if scenario.lanes > 1 else ""), lane)

    def run(self) -> Outcome:
        """Run it to its end, drain what is left without any trouble, and judge.

        Returns:
            what became of it.

        Raises:
            ViolationError: a promise was broken.
            PrunedError: it came to a state that was explored before.
        """
        world = self.world
        try:
            self.kafka.check()
            world.run()
            world.quiet = True
            self.kafka.up = True
            for lane in self.lanes:
                world.spawn("final", partial(self._drain, "final", lane))
            world.run()
            self._judge()
            return tuple([event.id for event in self.kafka.log]), tuple(self.oracle.acknowledged)
        finally:
            world.close()

    def _judge(self) -> None:
        self.oracle.judge(self.kafka.log)
        fail = self.world.fail
        if self.oracle.failed and not self.scenario.may_give_up:
            fail(f"failed: {self.oracle.failed}")
        for lane in self.lanes:
            log = self.store.data.get(lane.log, {})
            if log and log[max(log)].kind != "open":
                fail(f"{lane} does not end open: {log[max(log)]}")
        for process, dispatcher in self._dispatchers:
            if process.alive and dispatcher.unacknowledged:
                fail(f"{process.name} counts {dispatcher.unacknowledged} unacknowledged events at its end")
        left = self.store.backlog()
        if left:
            fail(f"slots left: {left}")

    # -- producers -----------------------------------------------------------------------------------------------------

    def _produce(self, producer: Producer) -> None:
        world = self.world
        process = Process(producer.name)
        world.processes.append(process)
        predecessor = next((p for p in world.processes if p.name == producer.after), None)
        begin = _when(predecessor)

        def publisher() -> None:
            world.step("begin", enabled=begin)
            self._publish(producer, process)

        actor = world.spawn(producer.name, publisher, process)
        actor.enabled = begin

    def _publish(self, producer: Producer, process: Process) -> None:
        world, oracle = self.world, self.oracle
        main = ModelMain(world, self.kafka, producer.name, partitions=self.scenario.lanes)

        def run_job(job: Callable[[], None]) -> None:
            process.jobs += 1
            world.spawn(f"{producer.name}.job{process.jobs}", job, process)

        changed = threading.Condition()
        monitor: Any = ModelMonitor(world, steps=producer.threads)
        dispatcher = Dispatcher(
            CLUSTER,
            main,
            self.store,
            producer=producer.name,
            lanes=lambda _: self.scenario.guess or self.scenario.lanes,
            run=run_job if producer.threads else lambda job: job(),
            clock=ModelClock(world, ahead=producer.ahead),
            changed=changed,
            settings=self.scenario.settings,
            on_refused=lambda receipt: world.fail(f"{receipt.event_id} was refused"),
            monitor=monitor,
        )
        self._dispatchers.append((process, dispatcher))
        waiting: set[str] = set()
        stopping = False

        def ticker() -> None:
            while not stopping:
                dispatcher.tick(1.0)

        if producer.threads:
            world.spawn(f"{producer.name}.tick", ticker, process)

        def done(receipt: Receipt) -> None:
            if receipt.progress is Progress.ACKNOWLEDGED:
                oracle.acknowledge(receipt.event_id)
                world.tell(f"{receipt.event_id} is acknowledged ({receipt.path})")
            else:
                oracle.failed.append(receipt.event_id)
            waiting.discard(receipt.event_id)

        def turn(until: Callable[[], bool]) -> None:
            if producer.threads:
                before = world.time
                world.step("turn", enabled=lambda: world.time > before or until())
                world.learned(until())
            else:
                dispatcher.tick(1.0)

        number = 0
        for what in re.findall(r"\(.*?\)|.", producer.script + "."):
            if what == ".":
                while waiting:
                    turn(lambda: not waiting)
            elif what[0] == "(":
                heard = partial(oracle.acknowledged.__contains__, what[1:-1])
                late = world.time + self.scenario.patience
                while not heard() and world.time < late:
                    turn(heard)
            elif what == "-":
                turn(lambda: False)
            else:
                number += 1
                event_id = f"{producer.name}{what}{number}"
                world.step("publish", event_id)
                oracle.publish(event_id, producer.name, what)
                world.tell(f"publishes {event_id}")
                receipt = Receipt(Event(event_id, TOPIC, what.encode(), b"", [], 0), changed)
                waiting.add(event_id)
                receipt.add_done_callback(done)
                while True:
                    try:
                        dispatcher.submit(receipt)
                        break
                    except UnavailableError:
                        turn(lambda: False)
        stopping = True

    # -- replays -------------------------------------------------------------------------------------------------------

    def _replay(self, name: str, lane: Lane) -> None:
        world = self.world

        producers = [
            process for process in world.processes if process.name in {p.name for p in self.scenario.producers}
        ]

        def diverted() -> bool:
            return self.kafka.up and (lane.log in self.store.data or all(process.ended for process in producers))

        process = Process(name)
        world.processes.append(process)
        actor = world.spawn(name, lambda: self._drain(name, lane), process)
        actor.enabled = diverted
        if name in self.scenario.killable:
            again = Process(f"{name}+")
            world.processes.append(again)
            actor = world.spawn(again.name, lambda: self._drain(again.name, lane) if not process.alive else None, again)
            actor.enabled = _when(process)

    def _drain(self, name: str, lane: Lane) -> None:
        """Do as `redrive.standby.drain.drain` does; and start again when something was away."""
        world = self.world
        sink = ModelSink(world, self.kafka, lane.unit)
        while True:
            replay = LaneReplay(
                self.store,
                lane,
                model_lookup(world, self.kafka),
                clock=ModelClock(world),
                owner=name,
                skew=self.scenario.skew,
                settle=0.0,
                quick=self.scenario.quick,
            )
            pump = Pump(
                replay,
                sink,
                parking_topic="parked",
                chunk_bytes=1 << 20 if self.scenario.together else 1,
                prefetch=self.scenario.prefetch,
                clock=lambda: 0.0,
            )
            try:
                cursor = sink.start()
                while True:
                    epoch = replay.next_epoch(Checkpoint.decode(cursor).source)
                    cursor = pump.run(cursor).cursor
                    if epoch is None:
                        return
                    replay.open(Checkpoint.decode(cursor).source)
            except UnavailableError:
                continue
            except FencedError:
                return
            except GapError:
                with suppress(UnavailableError, FencedError):
                    sink.commit([], pump.outcome.cursor or Checkpoint().encode())
                    raise
                return


def _when(process: Process | None) -> Callable[[], bool]:
    """Return a test for a process having ended, in whichever way."""
    if process is None:
        return lambda: True
    return lambda: process.ended
