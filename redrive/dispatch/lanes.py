"""The lanes of a cluster as one producer sees them, and how each changes sides.

A lane is, for this producer, in one of three modes:

- ``MAIN``: events go to Kafka.
- ``SETTLING``: another producer has diverted the lane; what this one has in Kafka's hands is waited for first.
- ``STANDBY``: events wait in the lane's queue and are stored from there, batch by batch, one batch at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from redrive.dispatch.destination import Destination
from redrive.dispatch.inflight import InFlight
from redrive.events import Event
from redrive.murmur2 import partition_of
from redrive.receipts import Progress, Receipt
from redrive.standby.batches import Stored
from redrive.standby.lanes import Lane, LaneState
from redrive.standby.writer import LaneWriter

_UNSETTLED = (Progress.WAITING, Progress.TAKEN_BACK)


class Mode(Enum):
    """Where a lane's events go."""

    MAIN = "main"
    SETTLING = "settling"
    STANDBY = "standby"


@dataclass(eq=False, slots=True)
class LaneQueue:
    """One lane.

    Attributes:
        name: which one.
        writer: stores its events.
        mode: see there.
        seen: the newest state of its log that is known.
        destination: the topic that its events go to in Kafka; None: its own.
        queue: what waits for the store, oldest first.
        settling: what Kafka has of it and is waited for.
        batch: what is being stored: the head of the queue.
        busy: a thread is storing.
        retry_at: when storing makes sense again.
        held_since: when its events began to wait for going over, by the clock; 0: they do not.
    """

    name: Lane
    writer: LaneWriter
    mode: Mode = Mode.MAIN
    seen: LaneState = field(default_factory=LaneState)
    destination: Destination | None = None
    queue: deque[Receipt] = field(default_factory=deque)
    settling: list[Receipt] = field(default_factory=list)
    batch: list[Stored] = field(default_factory=list)
    busy: bool = False
    retry_at: float = 0.0
    held_since: float = 0.0

    def observe(self, state: LaneState) -> None:
        """Keep the newest state; reads may arrive in any order."""
        if state.slot > self.seen.slot:
            self.seen = state

    @property
    def topic(self) -> str:
        """The topic that its events go to in Kafka."""
        return self.name.topic if self.destination is None else self.destination.topic

    @property
    def must_go_over(self) -> bool:
        """Tell whether it was opened to another topic than the one that its events go to here."""
        return self.seen.slot > 0 and self.seen.is_main and (self.seen.target or self.name.topic) != self.topic


@dataclass(eq=False, slots=True)
class TopicLanes:
    """The lanes of one topic.

    Attributes:
        lanes: by number.
        confirmed: their number is what the table says, not only what the settings say.
        sent: something of them was given to Kafka for this topic.
        sent_away: something was for another one that they were opened to.
        moved: events of some lane go to another topic.
    """

    lanes: list[LaneQueue]
    confirmed: bool
    sent: bool = False
    sent_away: bool = False
    moved: bool = False

    def lane_of(self, event: Event) -> LaneQueue:
        """Return the lane of an event; one without a key has no order to keep, and its id spreads it."""
        return self.lanes[partition_of(event.id.encode() if event.key is None else event.key, len(self.lanes))]

    def note_sending(self, lane: LaneQueue) -> None:
        """Take note that something of a lane is given to Kafka."""
        if lane.destination is None:
            self.sent = True
        else:
            self.sent_away = True

    def has_sent(self, lane: LaneQueue) -> bool:
        """Tell whether anything was given to Kafka for the topic that a lane's events go to."""
        return self.sent if lane.destination is None else self.sent_away


class Lanes:
    """All lanes of the topics that this producer has met. Called under the dispatcher's lock.

    Args:
        in_flight: what Kafka has of them.
        writer: makes what stores a lane's events.

    Attributes:
        topics: by name.
        any_off_main: whether any lane is not in the mode ``MAIN``.
    """

    def __init__(self, in_flight: InFlight, writer: Callable[[str, int], LaneWriter]) -> None:
        self.topics: dict[str, TopicLanes] = {}
        self.any_off_main = False
        self._in_flight = in_flight
        self._writer = writer

    def __iter__(self) -> Iterator[LaneQueue]:
        for topic in self.topics.values():
            yield from topic.lanes

    def make(self, topic: str, count: int, destination: Destination | None = None) -> list[LaneQueue]:
        """Make the lanes of a topic."""
        writers = [self._writer(topic, number) for number in range(count)]
        return [LaneQueue(writer.lane, writer, destination=destination) for writer in writers]

    def send(self, receipt: Receipt, lane: LaneQueue) -> None:
        """Hand an event of a lane to Kafka's client."""
        self.topics[lane.name.topic].note_sending(lane)
        receipt.destination = lane.destination
        self._in_flight.send(receipt)

    def go_over(self, lane: LaneQueue, destination: Destination | None) -> None:
        """Have the events of a lane go elsewhere from now on; nothing of it is in Kafka's hands."""
        lane.destination = destination
        topic = self.topics[lane.name.topic]
        topic.moved = any(each.destination is not None for each in topic.lanes)

    def is_off_main(self, topic: TopicLanes, event: Event) -> bool:
        """Tell whether an event's lane is known to be diverted: then it waits for the store, however old the view."""
        return self.any_off_main and topic.lane_of(event).mode is not Mode.MAIN

    def follow(self, seen: Sequence[tuple[LaneQueue, LaneState]]) -> None:
        """Take note of what was seen of lanes, and bring their modes in line with it."""
        leaving: list[LaneQueue] = []
        for lane, state in seen:
            lane.observe(state)
            if lane.mode is Mode.MAIN and (not lane.seen.is_main or lane.must_go_over):
                leaving.append(lane)
            elif lane.must_go_over:
                continue  # what stores its events sees to that
            elif lane.seen.is_main and lane.mode is Mode.STANDBY and not (lane.queue or lane.busy):
                self.set_mode(lane, Mode.MAIN)
        self._leave_main(leaving)

    def settle(self) -> None:
        """Let lanes go on to the store whose events in Kafka are all confirmed; one that came back has to lead them."""
        for lane in self:
            if lane.mode is Mode.SETTLING and all(r.progress not in _UNSETTLED for r in lane.settling):
                lane.settling = []
                self.set_mode(lane, Mode.STANDBY)

    def put_back(self, taken: Sequence[Receipt]) -> None:
        """Queue what was taken back from Kafka for the store: it was published before anything that waits there."""
        by_lane: dict[LaneQueue, list[Receipt]] = {}
        for receipt in taken:
            by_lane.setdefault(self.topics[receipt.event.topic].lane_of(receipt.event), []).append(receipt)
        for lane, receipts in by_lane.items():
            lane.queue.extendleft(reversed(receipts))
            lane.settling = []
            self.set_mode(lane, Mode.STANDBY)

    def cut_anew(self, name: str, count: int) -> None:
        """Give a topic another number of lanes, before anything of it was stored."""
        topic = self.topics[name]
        waiting = [receipt for lane in topic.lanes for receipt in lane.queue]
        # What came back from Kafka leads its lane, so that whoever stores it sees it first.
        waiting.sort(key=lambda receipt: (not receipt.doubtful, receipt.published))
        topic.lanes = self.make(name, count, topic.lanes[0].destination)
        for receipt in waiting:
            topic.lane_of(receipt.event).queue.append(receipt)
        # What waited may now have company that Kafka has not confirmed.
        self._leave_main([lane for lane in topic.lanes if lane.queue])

    def set_mode(self, lane: LaneQueue, mode: Mode) -> None:
        """Change a lane's mode."""
        lane.mode = mode
        self.any_off_main = mode is not Mode.MAIN or any(other.mode is not Mode.MAIN for other in self)

    def _leave_main(self, leaving: Sequence[LaneQueue]) -> None:
        """Have newer events of lanes wait until those that Kafka still has are settled."""
        topics = {lane.name.topic for lane in leaving}
        settling: dict[LaneQueue, list[Receipt]] = {lane: [] for lane in leaving}
        for receipt in self._in_flight if leaving else ():
            if receipt.event.topic in topics and receipt.progress in _UNSETTLED:
                lane = self.topics[receipt.event.topic].lane_of(receipt.event)
                if lane in settling:
                    settling[lane].append(receipt)
        for lane, receipts in settling.items():
            lane.settling = receipts
            self.set_mode(lane, Mode.SETTLING if receipts else Mode.STANDBY)
