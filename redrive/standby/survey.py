"""What waits in the standby store: lane by lane, counted without reading an event."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from redrive.errors import RedriveError
from redrive.standby.lanes import DIVERT, OPEN, Lane, LaneLog, Topics
from redrive.standby.store import Slot, Store
from redrive.standby.tidying import untidied

_Entries = Sequence[tuple[int, Slot]]


class OutOfTimeError(RedriveError):
    """The store answers, but so slowly that the states of all lanes could not be read in time."""


class Tally(NamedTuple):
    """What one stream holds, as far as it was counted.

    Attributes:
        slot: the last slot that counts; the next ones may be added to it.
        slots, events, bytes, oldest, doubtful: see `LaneBacklog`.
    """

    slot: int = 0
    slots: int = 0
    events: int = 0
    bytes: int = 0
    oldest: int | None = None
    doubtful: int = 0

    def plus(self, number: int, slot: Slot) -> Tally:
        """Give the tally with one more slot, which is written and will never change."""
        if slot.kind != "events":
            return self._replace(slot=number, bytes=self.bytes + slot.size)
        oldest = slot.oldest if self.oldest is None else min(self.oldest, slot.oldest)
        return Tally(
            number, self.slots + 1, self.events + slot.events, self.bytes + slot.size, oldest,
            self.doubtful + slot.doubtful,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LaneBacklog:
    """What waits in one lane.

    Attributes:
        lane: which one.
        state: ``open``, ``divert`` or ``seal``.
        epochs: epochs that are not finished, ascending; empty if the lane is open.
        streams: how many producers have stored something in them, or are about to.
        slots: how many slots hold events.
        events: how many events.
        bytes: packed size of them.
        oldest: when the oldest was accepted, milliseconds since 1970; None if there is none.
        doubtful: how many of them may be in Kafka already.
        untidy: events that are published are still in the table, since whoever was to delete them did not live to.
        is_whole: all of it was counted; else time was up, and there may be more.
        tallies: by ``pk``, what each stream holds.
    """

    lane: Lane
    state: str
    epochs: tuple[int, ...] = ()
    streams: int = 0
    slots: int = 0
    events: int = 0
    bytes: int = 0
    oldest: int | None = None
    doubtful: int = 0
    untidy: bool = False
    is_whole: bool = True
    tallies: Mapping[str, Tally] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Tell whether producers use Kafka, and nothing waits."""
        return not self.epochs


def survey(
    store: Store,
    cluster: str,
    topics: Iterable[str] | None = None,
    *,
    threads: int = 8,
    known: Mapping[str, Tally] | None = None,
    until: float = math.inf,
) -> list[LaneBacklog]:
    """Count what waits in each lane of a cluster, by topic and lane.

    What is published counts until the lane is open. The count is of the moment: producers may be adding to it.

    Args:
        store: the standby table.
        cluster: whose lanes.
        topics: only these; None: all that ever had a producer. A topic without lanes is left out.
        threads: queries at once.
        known: what an earlier survey has counted, by ``pk`` of the stream; only newer slots are read.
        until: when to stop, by `time.monotonic`; what is not counted by then is left out, and the lane says so.

    Raises:
        UnavailableError: the store does not answer.
        OutOfTimeError: time was up before the states of all lanes were read.
    """
    there = Topics(store, cluster).all()
    wanted = sorted(there if topics is None else there.keys() & set(topics))
    lanes = [Lane(cluster, topic, number) for topic in wanted for number in range(there[topic])]

    def entries(lane: Lane) -> _Entries:
        if time.monotonic() > until:
            raise OutOfTimeError(f"the logs of {len(lanes):,} lanes could not all be read in time")
        return list(LaneLog(store, lane).entries())

    # First the states of all lanes, each of which is one short read; then what may be long.
    with ThreadPoolExecutor(threads) as pool:
        logs = list(pool.map(entries, lanes))
        return list(pool.map(lambda lane, log: _count(store, lane, log, known or {}, until), lanes, logs))


def _count(store: Store, lane: Lane, entries: _Entries, known: Mapping[str, Tally], until: float) -> LaneBacklog:
    opened, started, last = 0, list[tuple[int, str]](), OPEN
    for _, entry in entries:
        last = entry.kind
        if entry.kind == OPEN:
            opened = entry.epoch
        elif entry.kind == DIVERT:
            started.append((entry.epoch, entry.producer))
    streams = {(epoch, producer) for epoch, producer in started if epoch > opened}
    tallies, is_whole = dict[str, Tally](), True
    for pk in sorted(lane.stream(epoch, producer) for epoch, producer in streams):
        tally, is_counted = _tally(store, pk, known.get(pk, Tally()), until)
        tallies[pk], is_whole = tally, is_whole and is_counted
    found = tallies.values()
    return LaneBacklog(
        lane,
        last,
        tuple(sorted({epoch for epoch, _ in streams})),
        len(streams),
        slots=sum(tally.slots for tally in found),
        events=sum(tally.events for tally in found),
        bytes=sum(tally.bytes for tally in found),
        oldest=min((tally.oldest for tally in found if tally.oldest is not None), default=None),
        doubtful=sum(tally.doubtful for tally in found),
        untidy=bool(untidied(entries)),
        is_whole=is_whole,
        tallies=tallies,
    )


def _tally(store: Store, pk: str, tally: Tally, until: float) -> tuple[Tally, bool]:
    """Add what is new in a stream to its tally; say whether that is all of it."""
    if time.monotonic() > until:
        return tally, False
    for number, slot in store.outline(pk, tally.slot):
        tally = tally.plus(number, slot)
        if time.monotonic() > until:
            return tally, False
    return tally, True
