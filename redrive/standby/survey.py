"""What waits in the standby store: lane by lane, counted without reading an event."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from redrive.standby.lanes import DIVERT, OPEN, Lane, LaneLog, Topics
from redrive.standby.store import Store
from redrive.standby.tidying import untidied


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

    @property
    def is_open(self) -> bool:
        """Tell whether producers use Kafka, and nothing waits."""
        return not self.epochs


def survey(store: Store, cluster: str, topics: Iterable[str] | None = None, *, threads: int = 8) -> list[LaneBacklog]:
    """Count what waits in each lane of a cluster, by topic and lane.

    What is published counts until the lane is open. The count is of the moment: producers may be adding to it.

    Args:
        store: the standby table.
        cluster: whose lanes.
        topics: only these; None: all that ever had a producer. A topic without lanes is left out.
        threads: queries at once.

    Raises:
        UnavailableError: the store does not answer.
    """
    known = Topics(store, cluster).all()
    wanted = sorted(known if topics is None else known.keys() & set(topics))
    lanes = [Lane(cluster, topic, number) for topic in wanted for number in range(known[topic])]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda lane: survey_lane(store, lane), lanes))


def survey_lane(store: Store, lane: Lane) -> LaneBacklog:
    """Count what waits in one lane; see `survey`."""
    opened, started, last = 0, list[tuple[int, str]](), OPEN
    entries = list(LaneLog(store, lane).entries())
    for _, entry in entries:
        last = entry.kind
        if entry.kind == OPEN:
            opened = entry.epoch
        elif entry.kind == DIVERT:
            started.append((entry.epoch, entry.producer))
    streams = {(epoch, producer) for epoch, producer in started if epoch > opened}
    slots = events = size = doubtful = 0
    oldest: int | None = None
    for epoch, producer in streams:
        for slot in store.outline(lane.stream(epoch, producer)):
            if slot.kind == "events":
                slots += 1
                events += slot.events
                doubtful += slot.doubtful
                oldest = slot.oldest if oldest is None else min(oldest, slot.oldest)
            size += slot.size
    epochs = tuple(sorted({epoch for epoch, _ in streams}))
    return LaneBacklog(
        lane, last, epochs, len(streams), slots, events, size, oldest, doubtful, untidy=bool(untidied(entries))
    )
