"""The models: a table, a topic, a producer's client, a transactional sink, clocks and locks. Small, and easy to believe.

Each method that would wait for another machine is one step of the world; what it does then is atomic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError

from redrive.errors import FencedError, UnavailableError
from redrive.events import Event
from redrive.murmur2 import partition_of
from redrive.receipts import Progress, Receipt
from redrive.standby.batches import Stored
from redrive.standby.lanes import Lane
from redrive.standby.store import Slot
from tests.explorer.world import Option, World


class ModelStore:
    """The standby table.

    Attributes:
        data: pk → slot number → slot.
        at_once: a beginning of the ``pk`` of items whose access is no step, to keep runs short.
    """

    def __init__(self, world: World, *, page: int = 2, at_once: str = "topics|") -> None:
        self.data: dict[str, dict[int, Slot]] = {}
        self.versions: dict[str, int] = {}
        self.hash = 0
        self.at_once = at_once
        self._world = world
        self._page = page

    def _call(self, what: str, pk: str, effect: Callable[[], Any], *detail: Hashable, changes: bool = False) -> Any:
        world = self._world
        if pk.startswith(self.at_once):
            result = effect()
            world.learned(result)
            return result
        world.step(what, pk, *detail)
        outcome = "ok"
        if world.may("fail") or (changes and world.may("lose")):
            options = [Option(0, "ok")]
            if world.may("fail"):
                options.append(Option(1, "fail"))
            if changes and world.may("lose"):
                options.append(Option(1, "lose"))
            outcome = world.choose(options).name
        if outcome == "fail":
            world.take("fail")
            result = "no answer, nothing done"
        else:
            result = effect()
        if outcome == "lose":
            world.take("lose")
            world.tell(f"{what} {pk} {detail}", f"done, but the answer ({result}) is lost")
            result = "no answer"
        elif world.record:
            world.tell(f"{what} {pk} {detail}", _short(result))
        world.learned(result)
        if outcome != "ok":
            raise UnavailableError("standby store", "no answer")
        return result

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        def effect() -> Slot | None:
            log = self.data.setdefault(pk, {})
            there = log.get(sk)
            if there is None:
                log[sk] = slot
                self.hash ^= hash((pk, sk, slot))
                return None
            return None if there.token == slot.token else there

        result: Slot | None = self._call("put", pk, effect, sk, slot.kind, changes=True)
        return result

    def last(self, pk: str) -> tuple[int, Slot] | None:
        def effect() -> tuple[int, Slot] | None:
            log = self.data.get(pk)
            return max(log.items(), key=lambda item: item[0]) if log else None

        result: tuple[int, Slot] | None = self._call("last", pk, effect)
        return result

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        while True:

            def effect(after: int = after) -> tuple[tuple[int, Slot], ...]:
                log = self.data.get(pk, {})
                return tuple((sk, log[sk]) for sk in sorted(log) if sk > after)[: self._page]

            page = self._call("read", pk, effect, after)
            yield from page
            if len(page) < self._page:
                return
            after = page[-1][0]

    def delete(self, pk: str, sks: Sequence[int]) -> None:
        for sk in sks:
            self._call("delete", pk, lambda sk=sk: self._remove(pk, sk), sk, changes=True)

    def _remove(self, pk: str, sk: int) -> None:
        slot = self.data.get(pk, {}).pop(sk, None)
        if slot is not None:
            self.hash ^= hash((pk, sk, slot))

    def expire(self, pk: str, sks: Sequence[int], at: int) -> None:
        def effect() -> None:
            log = self.data.get(pk, {})
            for sk in sks:
                if sk in log and log[sk].kind in ("events", "part"):
                    self._world.fail(f"slot {sk} of {pk} holds events and is given to TTL")
            if pk.startswith("lane|") and sks and max(sks) == max(log):
                self._world.fail(f"the last entry of {pk} is given to TTL")

        self._call("expire", pk, effect, tuple(sks))

    def version(self, pk: str) -> int:
        result: int = self._call("version", pk, lambda: self.versions.get(pk, 0))
        return result

    def bump(self, pk: str) -> None:
        def effect() -> None:
            self.versions[pk] = self.versions.get(pk, 0) + 1

        self._call("bump", pk, effect, changes=True)

    def key(self) -> Hashable:
        return self.hash, tuple(self.versions.items())

    def backlog(self) -> list[tuple[str, int]]:
        """Return the slots that still hold events."""
        return [(pk, sk) for pk, log in self.data.items() for sk, slot in log.items() if slot.kind in ("events", "part")]


def _short(result: Any) -> Any:
    """Return a slot, or slots with numbers, as a few letters."""
    if isinstance(result, Slot):
        about = result.epoch or f"{result.events} events, {result.doubtful} doubtful" if result.kind != "seal" else ""
        return f"{result.kind}({about}) {result.token}"
    return [_short(part) for part in result] if isinstance(result, tuple) else result


class ModelKafka:
    """A topic, read committed, and the cursors that were committed with it; also the environment of a world.

    Args:
        outages: ``(kind, count, seconds)``: after so many ``appended`` messages or ``commits``, or at a ``time``, the
            cluster is away for so many seconds.
    """

    def __init__(self, world: World, outages: Sequence[tuple[str, int, int]] = (), lost: Sequence[str] = ()) -> None:
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
        if options and not busy and options[0].cost:
            options.insert(0, Option(0, "time passes", world._tick))
        return options

    def _outage(self) -> None:
        self._world.take("outage")
        self._down(4)

    def _come_back(self) -> None:
        self._world.take("up")
        self.up = True


class _Message:
    """A delivery report's message."""

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0


_MESSAGE: Any = _Message()


class ModelMain:
    """A producer's client: `redrive.mainpath.MainPath`, with its queues and the network behind it.

    Attributes:
        queues: partition → messages sent and not yet reported; the first ``landed`` of them are in the log.
    """

    def __init__(self, world: World, kafka: ModelKafka, name: str, *, partitions: int = 1) -> None:
        self.fatal = False
        self.all_down = False
        self.name = name
        self.queues: list[list[Receipt]] = [[] for _ in range(partitions)]
        self.landed = [0] * partitions
        self.reports: list[tuple[Receipt, Progress]] = []
        self.socket: list[Receipt] = []
        self._world = world
        self._kafka = kafka
        kafka.mains.append(self)

    def key(self) -> Hashable:
        return tuple([len(q) for q in self.queues]), tuple(self.landed), len(self.reports), len(self.socket)

    def options(self, busy: int) -> list[Option]:
        world, kafka = self._world, self._kafka
        options: list[Option] = []
        if not kafka.up:
            return options
        if self.socket and world.may("late"):
            options.append(Option(1, f"a request of {self.name} that was given up lands", self._late))
        for partition, queue in enumerate(self.queues):
            landed = self.landed[partition]
            if landed < len(queue):
                usual = queue[landed].event.id not in kafka.lost
                name = f"{queue[landed].event.id} lands"
                cost = busy if usual and kafka.hash is not None else 1
                both = Option(cost, name + " and is confirmed", lambda p=partition: self._land(p, True))
                silent = Option(busy if not usual else 1, name + ", unconfirmed", lambda p=partition: self._land(p, False))
                if landed:  # an answer before it is missing: Kafka confirms in order
                    options.append(silent)
                elif usual:
                    options.append(both)
                    if world.may("unconfirmed"):
                        options.append(silent)
                else:
                    options.append(silent)
            if landed and world.may("confirm"):
                options.append(Option(1, f"{queue[0].event.id} is confirmed", lambda p=partition: self._confirm(p)))
        return sorted(options, key=lambda option: option.cost)

    def _land(self, partition: int, confirmed: bool) -> None:
        queue, landed = self.queues[partition], self.landed[partition]
        self._kafka.append(queue[landed].event)
        if confirmed:
            self.reports.append((queue.pop(0), Progress.ACKNOWLEDGED))
        else:
            if queue[landed].event.id not in self._kafka.lost and not landed:
                self._world.take("unconfirmed")
            self.landed[partition] += 1
        self._kafka.appended += 1
        self._kafka.check()

    def _confirm(self, partition: int) -> None:
        self._world.take("confirm")
        self.landed[partition] -= 1
        self.reports.append((self.queues[partition].pop(0), Progress.ACKNOWLEDGED))

    def _late(self) -> None:
        self._world.take("late")
        self._kafka.append(self.socket.pop(0).event)

    def send(self, receipt: Receipt) -> None:
        key = receipt.event.key
        partition = partition_of(key, len(self.queues)) if key is not None else 0
        self.queues[partition].append(receipt)
        self._world.tell(f"send {receipt.event.id}")

    def poll(self, timeout: float) -> None:
        world = self._world
        until = world.time + 1
        world.step("poll", enabled=lambda: bool(self.reports) or world.time >= until)
        reports, self.reports = self.reports, []
        for receipt, progress in reports:
            if progress is Progress.ACKNOWLEDGED:
                receipt.reported(None, _MESSAGE)
            else:
                receipt.reported(KafkaError(KafkaError._PURGE_QUEUE), _MESSAGE)
        if reports:
            world.tell("poll", [(receipt.event.id, progress.name) for receipt, progress in reports])
        world.learned((world.time, tuple([(receipt.event.id, progress) for receipt, progress in reports])))

    def purge(self) -> None:
        self._world.step("purge")
        self._world.tell("purge", [receipt.event.id for queue in self.queues for receipt in queue])
        for partition, queue in enumerate(self.queues):
            self.reports += [(receipt, Progress.TAKEN_BACK) for receipt in queue]
            if self._world.may("late"):
                self.socket += queue[self.landed[partition] :]
            self.queues[partition] = []
            self.landed[partition] = 0

    def reachable(self) -> bool:
        self._world.step("reachable")
        self._world.learned(self._kafka.up)
        self._world.tell("reachable", self._kafka.up)
        return self._kafka.up

    def renew(self) -> None:
        self.fatal = False


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


def model_lookup(world: World, kafka: ModelKafka) -> Callable[[Lane, Sequence[Stored]], set[str]]:
    """Return a look-up of ids in the log."""

    def lookup(lane: Lane, events: Sequence[Stored]) -> set[str]:
        world.step("look up", tuple([event.id for event in events]), enabled=lambda: kafka.up)
        there = {event.id for event in kafka.log} & {event.id for event in events}
        world.learned(tuple(sorted(there)))
        world.tell("look up", there)
        return there

    return lookup


class ModelClock:
    """Logical time; each look at the calendar by a producer is a millisecond of its own, so that no two events tie."""

    def __init__(self, world: World, kafka: ModelKafka, *, ahead: int = 0) -> None:
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
            world.step("wait", enabled=lambda told=told: lock.owner is None and (self._told != told or world.time >= until))
            world.learned(world.time)
            lock.owner, lock._depth = world.actor, depth
        return True
