"""The protocol with one of its guards taken out: each must be found out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import redrive.standby.replay
from redrive.dispatch.inflight import InFlight
from redrive.dispatch.lanes import LaneQueue, Lanes
from redrive.events import Event
from redrive.pump.model import Chunk
from redrive.receipts import Receipt
from redrive.standby.cursor import decode
from redrive.standby.lanes import OPEN, Gate, Lane, LaneLog, LaneState
from redrive.standby.replay import LaneReplay
from redrive.standby.store import Store
from redrive.standby.tidying import tidy, untidied
from redrive.standby.writer import LaneWriter
from tests.explorer.client import ModelMain
from tests.explorer.topic import ModelSink

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutation:
    """A guard taken out.

    Attributes:
        name: the guard.
        apply: takes it out.
        scenario: where it is needed.
        breaks: what goes wrong, a regular expression.
        budget: deviations it takes at most.
    """

    name: str
    apply: Callable[[Patch], None]
    scenario: str
    breaks: str
    budget: int = 1


def no_seal(patch: Patch) -> None:
    """The replay takes a stream for ended where it stops reading; nobody seals it."""
    patch.setattr(redrive.standby.replay, "seal", lambda *_: 0)

    def is_published(self: LaneReplay, cursor: Any) -> bool:
        return all(producer in cursor.streams for producer in self._log.producers(cursor.epoch))

    patch.setattr(LaneReplay, "_is_published", is_published)
    patch.setattr(redrive.standby.replay, "tidy", lambda *_: None)


def no_helping(patch: Patch) -> None:
    """Whoever starts the next epoch leaves the streams of the sealed one as they are."""
    patch.setattr(LaneWriter, "_help", lambda self, state: None)


def no_grace(patch: Patch) -> None:
    """What is stored is acknowledged at once."""
    divert = LaneWriter._divert

    def at_once(self: LaneWriter, state: LaneState) -> bool:
        result = divert(self, state)
        self.acknowledge_at = 0.0
        return result

    patch.setattr(LaneWriter, "_divert", at_once)


def no_horizon(patch: Patch) -> None:
    """A round publishes all it reads, however new."""
    round_ = LaneReplay._round
    patch.setattr(LaneReplay, "_round", lambda self, horizon: round_(self, None))


def no_fence(patch: Patch) -> None:
    """Starting a sink leaves older instances alone."""
    patch.setattr(ModelSink, "fenced", property(lambda self: False))


def cursor_after(patch: Patch) -> None:
    """The cursor is saved after the events, on its own."""

    def commit(self: ModelSink, events: Sequence[Event], cursor: bytes) -> None:
        commit_both(self, events, self._kafka.cursors.get(self.unit, None))  # type: ignore[arg-type]
        self._world.step("save cursor")
        self._kafka.cursors[self.unit] = cursor

    commit_both = ModelSink.commit
    patch.setattr(ModelSink, "commit", commit)


def cursor_before(patch: Patch) -> None:
    """The cursor is saved before the events, on its own."""

    def commit(self: ModelSink, events: Sequence[Event], cursor: bytes) -> None:
        self._world.step("save cursor")
        if not self.fenced:
            self._kafka.cursors[self.unit] = cursor
        commit_both(self, events, cursor)

    commit_both = ModelSink.commit
    patch.setattr(ModelSink, "commit", commit)


def no_look_up(patch: Patch) -> None:
    """Events in doubt are published without a look."""
    look_up = LaneReplay._look_up

    def blind(self: LaneReplay, producers: Sequence[str]) -> None:
        look_up(self, producers)
        self._present.clear()

    patch.setattr(LaneReplay, "_look_up", blind)


def no_purge(patch: Patch) -> None:
    """Only the oldest event is taken back from Kafka's queue; the rest stays there and may be delivered."""

    def take_back(self: InFlight) -> tuple[list[Receipt], list[Receipt]]:
        main: Any = self._main
        rest = list(self._sent)[1:]
        keep = set(map(id, rest))
        self._sent = deque([r for r in self._sent if id(r) not in keep])
        kept = [[r for r in queue if id(r) in keep] for queue in main.queues]
        for queue in main.queues:
            queue[:] = [r for r in queue if id(r) not in keep]
        taken = cut(self)
        for queue, mine in zip(main.queues, kept, strict=True):
            queue.extend(mine)
        self._sent.extend(rest)
        return taken

    cut = InFlight.take_back
    patch.setattr(InFlight, "take_back", take_back)


def no_settling(patch: Patch) -> None:
    """A producer that learns of a divert stores newer events at once, whatever it has in flight."""
    follow = Lanes.follow

    def hasty(self: Lanes, seen: Sequence[tuple[LaneQueue, LaneState]]) -> None:
        follow(self, seen)
        for lane, _ in seen:
            lane.settling = []
        self.settle()

    patch.setattr(Lanes, "follow", hasty)


def any_state(patch: Patch) -> None:
    """The state of a lane that was read last counts, even if it is older."""

    def observe(self: LaneQueue, state: LaneState) -> None:
        self.seen = state

    patch.setattr(LaneQueue, "observe", observe)


def delete_first(patch: Patch) -> None:
    """Slots are deleted when they are read, before they are committed."""
    chunks = LaneReplay.chunks

    def eager(self: LaneReplay, cursor: bytes | None) -> Iterator[Chunk]:
        for chunk in chunks(self, cursor):
            read = decode(chunk.cursor)
            for producer, position in read.streams.items():
                self._store.delete(self.lane.stream(read.epoch, producer), range(1, position.slot))
            yield chunk

    patch.setattr(LaneReplay, "chunks", eager)


def next_unchecked(patch: Patch) -> None:
    """An epoch is left for the next one without a look at how far its streams are published."""
    patch.setattr(LaneReplay, "_is_published", lambda self, cursor: True)


def delete_all(patch: Patch) -> None:
    """Even the slot that marks the end of a stream is deleted."""

    def tidy_all(store: Store, lane: Lane, check: Callable[[], None]) -> None:
        streams = {lane.stream(entry.epoch, entry.producer) for _, entry in untidied(LaneLog(store, lane).entries())}
        tidy(store, lane, check)
        for stream in sorted(streams):
            store.delete(stream, [number for number, _ in store.read(stream, 0)])

    patch.setattr(redrive.standby.replay, "tidy", tidy_all)


def open_before_next(patch: Patch) -> None:
    """Opening a lane does not mind that somebody has started the next epoch."""

    def open_(self: LaneReplay, cursor: bytes | None) -> bool:
        committed = decode(cursor)
        if not self._is_published(committed):
            return False
        while not self._log.extend(self._log.state(), OPEN, committed.epoch, self._owner):
            pass
        self._gate.bump()
        return True

    patch.setattr(LaneReplay, "open", open_)


def no_bump(patch: Patch) -> None:
    """A divert does not tell the gate."""
    patch.setattr(Gate, "bump", lambda self: None)


def purge_drops(patch: Patch) -> None:
    """What was purged counts as surely not in Kafka."""
    take_back = InFlight.take_back

    def sure(self: InFlight) -> tuple[list[Receipt], list[Receipt]]:
        taken, settled = take_back(self)
        for receipt in taken:
            receipt.doubtful = False
        return taken, settled

    patch.setattr(InFlight, "take_back", sure)


def with_gaps(patch: Patch) -> None:
    """Kafka's client goes on behind an event that was refused."""
    patch.setattr(ModelMain, "gapless", False)


ONE = "one producer through an outage and back"
YOUNG = "an event is stored and acknowledged while another producer's view is young"
STREAMS = "events are stored in two streams while a round reads them"
GATE = "a divert is learned of from the gate, with events in flight"
REPLAYS = "two replays at once"
KILLED = "a replay is killed at each step and started again"
LARGE = "a replay of large transactions is killed at each step and started again"
NEXT = "the next epoch begins before the last one is published"
ASLEEP = "a producer sleeps through seal, open and the next epoch"
DOUBT = "events in doubt that landed, and some that did not"
REFUSED = "Kafka refuses one of several events under way"
LOOK = "a look at the lanes takes long while a thread beside it diverts one"

MUTATIONS = (
    Mutation("seal", no_seal, ASLEEP, "lost"),
    Mutation("helping", no_helping, ASLEEP, "order"),
    Mutation("grace", no_grace, YOUNG, "order"),
    Mutation("horizon", no_horizon, STREAMS, "order"),
    Mutation("fence", no_fence, REPLAYS, "twice"),
    Mutation("cursor in the transaction, not after it", cursor_after, KILLED, "twice"),
    Mutation("cursor in the transaction, not before it", cursor_before, KILLED, "lost"),
    Mutation("look-up", no_look_up, DOUBT, "twice"),
    Mutation("doubt of all that was purged", purge_drops, DOUBT, "twice"),
    Mutation("purge", no_purge, ONE, "order|twice"),
    Mutation("no gaps", with_gaps, REFUSED, "order", budget=2),
    Mutation("settling", no_settling, GATE, "order"),
    Mutation("monotonic view", any_state, LOOK, "order", budget=2),
    Mutation("gate", no_bump, YOUNG, "order"),
    Mutation("deletion after the commit", delete_first, LARGE, "GapError"),
    Mutation("end of a stream kept", delete_all, ASLEEP, "lost"),
    Mutation("next epoch only at the seals", next_unchecked, NEXT, "lost"),
    Mutation("open only if nothing follows", open_before_next, NEXT, "order"),
)
