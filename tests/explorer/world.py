"""The world in which actors run: greenlets, logical time, and one place that decides what happens next.

Direct-style code runs in greenlets. Every I/O primitive of the models calls `World.step` first: there the scheduler may
let anybody else run, let time pass, let the network deliver, or kill the actor; then the operation happens at once. All
decisions are taken by a *chooser*, so that a run is a function of its choices and can be repeated.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

from tests.explorer.parts import Actor, Chooser, Environment, Option, Process, ViolationError

STEP_LIMIT = 4_000
TIME_LIMIT = 120


class World:
    """Actors, time and the scheduler.

    Attributes:
        time: seconds, moved on only by the scheduler.
        limits: how often each kind of trouble may still happen: ``kill``, ``nap``, ``tick``, ``fail``, ``lose`` and
            whatever the environment knows.
        quiet: True in the end phase: only the usual things happen.
        trace: what happened, if ``record`` is on.
    """

    current: World

    def __init__(
        self, chooser: Chooser, limits: dict[str, int], *, record: bool = False, free_switch: bool = False
    ) -> None:
        World.current = self
        self.time = 1
        self.ticks = 0
        self.limits = dict(limits)
        self.quiet = False
        self.record = record
        self.trace: list[tuple[str, Any]] = []
        self.steps = 0
        self.actor: Actor | None = None
        self.actors: list[Actor] = []
        self.processes: list[Process] = []
        self.environment: Environment
        self.killable: frozenset[str] = frozenset()
        self.nap = 3
        self._chooser = chooser
        self._switch_cost = 0 if free_switch else 1
        self._hub = getcurrent()
        self._over = False

    # -- for models ----------------------------------------------------------------------------------------------------

    def step(self, *label: Hashable, enabled: Callable[[], bool] | None = None) -> None:
        """Let the scheduler decide; return when this actor is to do what ``label`` says, and ``enabled`` is true."""
        actor = self.actor
        if self._over or actor is None or not actor.process.alive:
            raise GreenletExit
        actor.label, actor.enabled = label, enabled
        self._schedule(actor)
        self.steps += 1
        if self.steps > STEP_LIMIT:
            self.fail(f"no end after {STEP_LIMIT} steps")

    def learned(self, result: Hashable) -> None:
        """Note what the acting actor has learned from outside."""
        actor = self.actor
        if actor is None:
            return
        process = actor.process
        process.history = hash((process.history, actor.name, actor.label, result))

    def tell(self, what: str, result: object = "") -> None:
        """Write a line of the schedule."""
        if self.record:
            self.trace.append((f"{self.time:>3} {self.actor.name if self.actor else '-':<10} {what}", result))

    def choose(self, options: Sequence[Option]) -> Option:
        """Have one of several options chosen."""
        if len(options) == 1 or self.quiet:
            return options[0]
        return options[self._chooser.choose(self, options)]

    def fail(self, reason: str) -> None:
        """End the run: a promise is broken."""
        self.stop(ViolationError(reason))

    def stop(self, error: Exception) -> None:
        """End the run with an error, past all handlers of the code under test."""
        if getcurrent() is self._hub:
            raise error
        self._hub.throw(error)

    def take(self, kind: str) -> None:
        """Use up one of a kind of trouble."""
        self.limits[kind] -= 1

    def may(self, kind: str) -> bool:
        """Tell whether a kind of trouble is still to be had."""
        return not self.quiet and self.limits.get(kind, 0) > 0

    # -- actors --------------------------------------------------------------------------------------------------------

    def spawn(self, name: str, body: Callable[[], None], process: Process | None = None) -> Actor:
        """Add an actor, of a process of its own unless one is given."""
        if process is None:
            process = Process(name)
            self.processes.append(process)
        actor = Actor(name, process, body)
        process.actors += 1
        self.actors.append(actor)
        return actor

    def run(self) -> None:
        """Run until all actors are done.

        Raises:
            ViolationError: a promise was broken, or an actor failed.
            PrunedError: see there.
        """
        while self.actors:
            self._schedule(None)
            self.actors = [actor for actor in self.actors if not actor.done]

    def close(self) -> None:
        """Discard what still runs."""
        self._over = True
        for actor in self.actors:
            if actor.green is not None and not actor.green.dead:
                actor.green.throw(GreenletExit)

    def key(self) -> int:
        """Return a hash of all that the future depends on."""
        limits = self.limits
        return hash(
            (
                self.time,
                self.ticks,
                self.actor.name if self.actor else "",
                tuple(limits.values()),
                tuple([(p.name, p.history, p.alive) for p in self.processes]),
                frozenset([(a.name, a.label, max(a.wakes - self.time, 0)) for a in self.actors if not a.done]),
                self.environment.key(),
            )
        )

    def _enter(self, actor: Actor) -> None:
        def body() -> None:
            try:
                actor.body()
            except GreenletExit:
                pass
            except Exception as error:
                if not self._over:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    where = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
                    reason = f"{actor.name} failed: {type(error).__name__}: {error} ({where})"
                    raise ViolationError(reason) from error
            finally:
                actor.done = True
                actor.process.actors -= 1

        actor.green = greenlet(body, self._hub)

    def _schedule(self, me: Actor | None) -> None:
        """Let things happen until it is ``me`` that goes on (None: until the actor that went on has ended)."""
        while True:
            option = self.choose(self._options(me))
            chosen = option.actor
            if chosen is None:
                self.tell(f"~ {option.name}")
                assert option.act is not None
                option.act()
                if me is not None and not me.process.alive:
                    raise GreenletExit
                if me is None and all(actor.done for actor in self.actors):
                    return
                continue
            if chosen is me:
                return
            self.actor = chosen
            if chosen.green is None:
                self._enter(chosen)
            assert chosen.green is not None
            chosen.green.switch()
            if self._over:
                raise GreenletExit
            if me is None:
                self.actor = None
                return
            assert self.actor is me
            return

    def _options(self, me: Actor | None) -> list[Option]:
        runnable = [
            actor
            for actor in self.actors
            if not actor.done and actor.wakes <= self.time and (actor.enabled is None or actor.enabled())
        ]
        options: list[Option] = []
        if me is not None and me in runnable:
            options.append(Option(0, "", actor=me))
            if self.quiet:
                return options
            others = [actor for actor in runnable if actor is not me]
            options += [Option(1, f"switch to {actor.name}", actor=actor) for actor in others]
            if self.may("nap") and me.label[0] != "begin":
                options.append(Option(1, f"{me.name} sleeps", self._nap(me)))
            options += self._kills([me])
        elif runnable:
            start = self.actors.index(me) if me is not None and me in self.actors else 0
            order = sorted(runnable, key=lambda actor: (self.actors.index(actor) - start) % len(self.actors))
            options += [Option(min(i, self._switch_cost), f"go on with {a.name}", actor=a) for i, a in enumerate(order)]
            if self.quiet:
                return options
            options += self._kills([me, *order] if me is not None else order)
        elif me is not None:
            options += self._kills([me])
        busy = 1 if runnable else 0
        environment = self.environment.options(busy)
        if busy:
            options += environment
            if self.may("tick"):
                options.append(Option(1, "time passes", self._early_tick))
            return options
        time_passes = Option(0, "time passes", self._tick)
        if environment and not environment[0].cost:
            time_passes.cost = 1
            return [*environment, time_passes, *options]
        return [time_passes, *environment, *options]

    def _kills(self, actors: Sequence[Actor]) -> list[Option]:
        if not self.may("kill"):
            return []
        processes = {actor.process.name: actor.process for actor in actors if actor.label[0] != "begin"}
        return [Option(1, f"kill {n}", self._kill(p)) for n, p in processes.items() if n in self.killable and p.alive]

    def _tick(self) -> None:
        self.time += 1
        if self.time > TIME_LIMIT:
            waiting = ", ".join(f"{actor.name} in {actor.label}" for actor in self.actors if not actor.done)
            self.fail(f"still waiting after {TIME_LIMIT} s: {waiting}")
        self.environment.pass_time()

    def _early_tick(self) -> None:
        self.take("tick")
        self._tick()

    def _nap(self, actor: Actor) -> Callable[[], None]:
        def act() -> None:
            self.take("nap")
            actor.wakes = self.time + self.nap

        return act

    def _kill(self, process: Process) -> Callable[[], None]:
        def act() -> None:
            self.take("kill")
            self.kill(process)

        return act

    def kill(self, process: Process) -> None:
        """End a process as kill -9 does."""
        process.alive = False
        me = self.actor
        for actor in self.actors:
            if actor.process is process and actor is not me:
                actor.done = True
                if actor.green is not None and not actor.green.dead:
                    self._discard(actor)

    def _discard(self, actor: Actor) -> None:
        green, me = actor.green, self.actor
        assert green is not None
        green.parent, self.actor = getcurrent(), actor
        try:
            green.throw(GreenletExit)
        finally:
            self.actor = me
