"""Models of clocks and locks, for actors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.explorer.world import World


class ModelClock:
    """Logical time; each look at the calendar by a producer is a millisecond of its own, so that no two events tie."""

    def __init__(self, world: World, *, ahead: int = 0) -> None:
        self._world = world
        self._ahead = ahead

    def monotonic(self) -> float:
        self._world.learned(self._world.time)
        return float(self._world.time)

    def now_ms(self) -> int:
        world = self._world
        now = world.time * 1000 + world.ticks + self._ahead
        world.ticks += 1
        world.learned(now)
        return now

    def sleep(self, seconds: float) -> None:
        until = self._world.time + max(1, round(seconds))
        self._world.step("sleep", enabled=lambda: self._world.time >= until)


class ModelLock:
    """A re-entrant lock between actors."""

    def __init__(self, world: World, *, steps: bool) -> None:
        self.owner: object = None
        self._depth = 0
        self._world = world
        self._steps = steps

    def acquire(self) -> None:
        world = self._world
        me = world.actor
        if self.owner is not me:
            if self._steps or self.owner is not None:
                world.step("lock", enabled=lambda: self.owner is None)
                world.learned(None)
            self.owner = me
        self._depth += 1

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            self.owner = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class ModelCondition:
    """A condition on a `ModelLock`."""

    def __init__(self, world: World, lock: ModelLock) -> None:
        self._world = world
        self._lock = lock
        self._told = 0

    def notify_all(self) -> None:
        self._told += 1

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        world, lock = self._world, self._lock
        until = world.time + max(1, round(timeout))
        while not predicate():
            if world.time >= until:
                return False
            depth, lock._depth, lock.owner = lock._depth, 0, None
            told = self._told
            world.step("wait", enabled=partial(self._may_go_on, told, until))
            world.learned(world.time)
            lock.owner, lock._depth = world.actor, depth
        return True

    def _may_go_on(self, told: int, until: int) -> bool:
        return self._lock.owner is None and (self._told != told or self._world.time >= until)


class ModelMonitor:
    """A dispatcher's lock and condition: `redrive.dispatch.monitor.Monitor`."""

    def __init__(self, world: World, *, steps: bool) -> None:
        self.lock = ModelLock(world, steps=steps)
        self.room = ModelCondition(world, self.lock)
