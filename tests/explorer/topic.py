"""A model of a topic, with the cursors that are committed with it, and of what reads and fills it in transactions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence, Set

from redrive.envelope import Identity
from redrive.errors import FencedError, UnavailableError
from redrive.events import Event
from redrive.standby.lanes import Lane
from redrive.standby.lookup import Doubtful
from tests.explorer.client import ModelMain
from tests.explorer.parts import Option
from tests.explorer.world import World


class ModelKafka:
    """A topic, read committed, and the cursors that were committed with it; also the environment of a world.

    Args:
        outages: ``(kind, count, seconds)``: after so many ``appended`` messages or ``commits``, or at a ``time``, the
            cluster is away for so many seconds.
        lost: ids of events whose confirmation is lost.
        noticed: whether clients notice at once that all brokers are away.
    """

    def __init__(
        self,
        world: World,
        outages: Sequence[tuple[str, int, int]] = (),
        lost: Sequence[str] = (),
        *,
        noticed: bool = False,
    ) -> None:
        self.log: list[Event] = []
        self.hash = 0
        self.up = True
        self.mains: list[ModelMain] = []
        self.appended = 0
        self.commits = 0
        self.cursors: dict[str, bytes] = {}
        self.instances: dict[str, int] = {}
        self.lost = frozenset(lost)
        self._world = world
        self._noticed = noticed
        self._outages = list(outages)
        self._others: Callable[[], Hashable] = tuple
        self._until = 0

    def append(self, event: Event) -> None:
        self.log.append(event)
        self.hash = hash((self.hash, event.id))

    def key(self) -> Hashable:
        return (
            self.hash,
            self.up,
            self._until,
            len(self._outages),
            self.commits,
            tuple(self.cursors.values()),
            tuple(self.instances.values()),
            tuple([main.key() for main in self.mains]),
            self._others(),
        )

    def watch(self, key: Callable[[], Hashable]) -> None:
        """Have the content of other things in the key."""
        self._others = key

    def pass_time(self) -> None:
        if not self.up and self._world.time >= self._until:
            self.up = True
        self.check()

    def check(self) -> None:
        """Begin an outage that is due."""
        if not (self.up and self._outages) or self._world.quiet:
            return
        kind, count, seconds = self._outages[0]
        reached = {"appended": self.appended, "commits": self.commits, "time": self._world.time}[kind]
        if reached >= count:
            self._outages.pop(0)
            self._down(seconds)

    def _down(self, seconds: int) -> None:
        self.up = False
        self._until = self._world.time + seconds
        for main in self.mains:
            main.all_down = self._noticed
        self._world.tell("~ the brokers go down")

    def options(self, busy: int) -> list[Option]:
        options: list[Option] = []
        world = self._world
        for main in self.mains:
            options += main.options(busy)
        if world.may("outage") and self.up:
            options.append(Option(1, "the brokers go down", self._outage))
        if not self.up and world.may("up"):
            options.append(Option(1, "the brokers come back early", self._come_back))
        return options

    def _outage(self) -> None:
        self._world.take("outage")
        self._down(4)

    def _come_back(self) -> None:
        self._world.take("up")
        self.up = True


class ModelSink:
    """`redrive.pump.model.Sink`: fences by unit, commits events and cursor at once."""

    def __init__(self, world: World, kafka: ModelKafka, unit: str) -> None:
        self.unit = unit
        self._world = world
        self._kafka = kafka
        self._instance = 0

    @property
    def fenced(self) -> bool:
        """Tell whether a newer instance has started."""
        return self._kafka.instances.get(self.unit, 0) != self._instance

    def start(self) -> bytes | None:
        kafka, world = self._kafka, self._world
        world.step("start sink", enabled=lambda: kafka.up)
        self._instance = kafka.instances.get(self.unit, 0) + 1
        kafka.instances[self.unit] = self._instance
        cursor = kafka.cursors.get(self.unit)
        world.learned(cursor)
        world.tell("start sink", cursor)
        return cursor

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        kafka, world = self._kafka, self._world
        world.step("commit", tuple([event.id for event in events]), enabled=lambda: kafka.up or self.fenced)
        outcome = "ok"
        if world.may("commit fail") or world.may("commit lose"):
            names = [name for name in ("commit fail", "commit lose") if world.may(name)]
            outcome = world.choose([Option(0, "ok"), *(Option(1, name) for name in names)]).name
        if outcome != "ok":
            world.take(outcome)
        fenced = self.fenced
        if outcome != "commit fail" and not fenced:
            self.apply(events, cursor)
        world.tell(f"commit {[event.id for event in events]} {cursor!r}", "fenced" if fenced else outcome)
        world.learned((fenced, outcome))
        if outcome != "ok":
            raise UnavailableError("Kafka", "the commit was not confirmed")
        if fenced:
            raise FencedError(self.unit)
        kafka.check()

    def apply(self, events: Sequence[Event], cursor: bytes) -> None:
        """Make it so."""
        kafka = self._kafka
        for event in events:
            kafka.append(event)
        kafka.cursors[self.unit] = cursor
        kafka.commits += 1

    def close(self) -> None:
        pass


def model_lookup(world: World, kafka: ModelKafka) -> Callable[[Lane, Sequence[Doubtful]], Set[Identity]]:
    """Return a look-up in the log."""

    def lookup(lane: Lane, events: Sequence[Doubtful]) -> Set[Identity]:
        ids = {(event.identity[1] or b"").decode(): event.identity for event in events}
        world.step("look up", tuple(ids), enabled=lambda: kafka.up)
        there = ids.keys() & {event.id for event in kafka.log}
        world.learned(tuple(sorted(there)))
        world.tell("look up", there)
        return {ids[event_id] for event_id in there}

    return lookup
