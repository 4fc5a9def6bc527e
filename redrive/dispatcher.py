"""Sends each event by the path its lane is on: Kafka, or the standby store; and moves between the two without losing,
doubling or reordering any. The producer's half of the protocol in ``redrive/standby``; one dispatcher a cluster.

A lane is, for this producer, in one of three modes:

- ``MAIN``: events go to Kafka.
- ``SETTLING``: another producer has diverted the lane; what this one has in Kafka's queues is waited for first.
- ``STANDBY``: events wait in the lane's queue and are stored from there, batch by batch, one batch at a time.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from redrive.errors import BackPressureError, UnavailableError
from redrive.events import Event
from redrive.mainpath import MainPath
from redrive.murmur2 import partition_of
from redrive.receipts import Progress, Receipt
from redrive.standby.batches import BATCH_BYTES, BATCH_EVENTS, Stored
from redrive.standby.lanes import Gate, Lane, LaneLog, LaneState, Topics
from redrive.standby.store import Store
from redrive.standby.writer import Clock, Entry, LaneWriter

log = logging.getLogger(__name__)

_WAITING = Progress.WAITING
_ACKNOWLEDGED = Progress.ACKNOWLEDGED

_HEAD_OF_LINE = 0.5
"""Seconds that an unconfirmed event may keep confirmed ones behind it from being counted."""

_FIRST_VIEW = 5.0
"""Seconds without an answer after which a producer's first look at the lanes counts as failed; later it is its age."""

_STEP_BACK_MS = 60_000
"""By how much less the clock may be set back and the times of events stand still for so long."""

_REPORT_EVERY = 1_000
"""Events after which the publishing thread takes in delivery reports itself."""


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """How a dispatcher behaves; times in seconds.

    Attributes:
        divert_after: how long the oldest event may stay unconfirmed by Kafka before all is taken back and stored.
        gate_refresh: how old the view of who has diverted may be; also how long the first acknowledgement after a
            divert waits, so that everybody's view shows it.
        gate_strict: when the gate can't be read: True holds events back, False (the default) goes on with Kafka, so
            that the store is no dependency of the healthy path; then order *between* producers may suffer, if both
            the store fails for some of them and the cluster for others.
        seal_wait: how long to wait for a sealed lane to open before starting the next epoch.
        publish_timeout: after it, an event that neither path has taken is given up with a `PublishError`.
        max_unacknowledged: events that may wait at once; publishing beyond that waits.
        block_timeout: how long it waits before it raises a `BackPressureError`.
    """

    divert_after: float = 5.0
    gate_refresh: float = 1.0
    gate_strict: bool = False
    seal_wait: float = 5.0
    publish_timeout: float = 120.0
    max_unacknowledged: int = 100_000
    block_timeout: float = 60.0


class Mode(Enum):
    """Where a lane's events go."""

    MAIN = "main"
    SETTLING = "settling"
    STANDBY = "standby"


@dataclass(eq=False, slots=True)
class _Lane:
    name: Lane
    writer: LaneWriter
    mode: Mode = Mode.MAIN
    seen: LaneState = field(default_factory=LaneState)
    queue: deque[Receipt] = field(default_factory=deque)
    settling: list[Receipt] = field(default_factory=list)
    batch: list[Stored] = field(default_factory=list)
    busy: bool = False
    retry_at: float = 0.0

    def observe(self, state: LaneState) -> None:
        """Keep the newest state; reads may arrive in any order."""
        if state.slot > self.seen.slot:
            self.seen = state


@dataclass(eq=False, slots=True)
class _Topic:
    lanes: list[_Lane]
    confirmed: bool

    def lane_of(self, event: Event) -> _Lane:
        """Return the lane of an event; one without a key has no order to keep, and its id spreads it."""
        return self.lanes[partition_of(event.id.encode() if event.key is None else event.key, len(self.lanes))]


class Dispatcher:
    """Runs the paths of one cluster for one producer.

    `submit` may be called from any thread. `tick` does all that is due and is called by one thread, over and over;
    work that waits for DynamoDB is handed to ``run``.

    Args:
        cluster: its name, part of every lane's.
        main: the way to Kafka.
        store: the standby table.
        producer: this instance's name, unique for ever.
        lanes: tells how many lanes a topic is to have if it has none yet.
        run: starts a call elsewhere (a thread pool's submit), or simply calls it.
        look: the same for calls that must not wait behind those; None: ``run``.
        clock: time.
        changed: told whenever receipts are done.
        settings: see there.
        on_refused: gets the receipt of an event that Kafka refuses for good.
    """

    def __init__(
        self,
        cluster: str,
        main: MainPath,
        store: Store,
        *,
        producer: str,
        lanes: Callable[[str], int],
        run: Callable[[Callable[[], None]], object],
        look: Callable[[Callable[[], None]], object] | None = None,
        clock: Clock,
        changed: threading.Condition,
        settings: DispatchSettings,
        on_refused: Callable[[Receipt], None],
    ) -> None:
        self.cluster = cluster
        self.counts = {"main": 0, "standby": 0, "dead_letter": 0, "failed": 0}
        self._main = main
        self._store = store
        self._producer = producer
        self._lane_count = lanes
        self._run = run
        self._look = look or run
        self._clock = clock
        self._changed = changed
        self._settings = settings
        self._on_refused = on_refused
        self._most_open = settings.max_unacknowledged
        self._oldest_view = settings.gate_refresh
        self._gate = Gate(store, cluster)
        self._topic_list = Topics(store, cluster)
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        self._topics: dict[str, _Topic] = {}
        self._in_kafka: deque[Receipt] = deque()
        self._stored: deque[tuple[float, list[Receipt]]] = deque()
        self._open = 0
        self._since_tick = 0
        self._sweep_due = 0.0
        self._last_accepted = 0
        self._any_lane_off_main = False
        self._down = False
        self._probing = False
        self._version = -1
        self._viewed_at = float("-inf")
        self._refreshing = False
        self._refresh_due = float("-inf")
        self._store_error = ""
        self._answers = 0

    # -- accepting events --------------------------------------------------------------------------------------------

    @property
    def unacknowledged(self) -> int:
        """Return how many events are neither acknowledged nor failed."""
        return self._open

    @property
    def why_waiting(self) -> str:
        """Return what keeps events from being acknowledged, for messages."""
        kafka = "Kafka does not confirm" if self._down else "Kafka is being waited for"
        return f"{kafka}; {self._store_error or 'the standby store is being waited for'}"

    def submit(self, receipt: Receipt) -> None:
        """Accept an event: from here on, its place in the order of its lane is fixed.

        Raises:
            BackPressureError: too many events wait; this one was not accepted.
            UnavailableError: the gate can't be read, and ``gate_strict`` is on.
        """
        event = receipt.event
        topic = self._topics.get(event.topic) or self._learn(event.topic)
        with self._lock:
            if self._open >= self._most_open:
                self._wait_for_room()
            now = self._clock.monotonic()
            if now - self._viewed_at >= self._oldest_view and not (self._down or self._is_off_main(topic, event)):
                self._wait_for_view()
                now = self._clock.monotonic()
            receipt.published = now
            event.timestamp = self._accepted_now()
            self._open += 1
            self._since_tick += 1
            if self._since_tick % _REPORT_EVERY == 0:
                # Reports are taken in by the thread that publishes while it does so fast: two threads that hand each
                # other the interpreter's lock for every few events would halve the speed.
                self._main.poll(0)
                self._collect()
            if self._any_lane_off_main or self._down:
                lane = topic.lane_of(event)
                if lane.mode is not Mode.MAIN or self._down:
                    lane.queue.append(receipt)
                    if lane.mode is Mode.MAIN:
                        self._set_mode(lane, Mode.STANDBY)
                    return
            self._send(receipt)

    def _accepted_now(self) -> int:
        """Return the time for an event: never falling, since a stream is merged with others by it.

        But if the clock is set back by much, it was wrong before: Kafka refuses times that are far ahead.
        """
        now = self._clock.now_ms()
        if not 0 < self._last_accepted - now < _STEP_BACK_MS:
            self._last_accepted = now
        return self._last_accepted

    def _is_off_main(self, topic: _Topic, event: Event) -> bool:
        """Tell whether an event's lane is known to be diverted: then it waits for the store, however old the view."""
        return self._any_lane_off_main and topic.lane_of(event).mode is not Mode.MAIN

    def _send(self, receipt: Receipt) -> None:
        while True:
            try:
                self._main.send(receipt)
            except BufferError:
                self._main.poll(0.05)
            else:
                self._in_kafka.append(receipt)
                return

    def _wait_for_room(self) -> None:
        started = self._clock.monotonic()
        limit = self._settings.block_timeout
        if not self._room.wait_for(lambda: self._open < self._settings.max_unacknowledged, limit):
            raise BackPressureError(self._open, self._clock.monotonic() - started)

    def _wait_for_view(self) -> None:
        """Have the gate read again; go on without it only if the store is known to fail and that is allowed."""
        if self._store_error and not self._settings.gate_strict:
            return
        self._start_refresh()
        age = self._settings.gate_refresh
        patience = max(age, _FIRST_VIEW) if self._viewed_at == float("-inf") else age

        def settled() -> bool:
            return self._clock.monotonic() - self._viewed_at < age or bool(self._store_error)

        # However long many lanes take to be looked at, a store that answers does not fail; one that is silent does.
        until = self._clock.monotonic() + self._settings.block_timeout
        while not settled():
            answers = self._answers
            if not self._room.wait_for(settled, patience) and self._answers == answers:
                self._store_error = f"the standby store has not answered for {patience} s"
            elif self._clock.monotonic() > until:
                self._store_error = f"the lanes could not be looked at within {self._settings.block_timeout} s"
            self._start_refresh()
        if self._store_error and self._settings.gate_strict:
            raise UnavailableError("standby store", f"{self._store_error} (gate_strict is on)")

    def _learn(self, name: str) -> _Topic:
        """Get to know a topic: how many lanes it has."""
        try:
            count, confirmed = self._topic_list.lanes(name, self._lane_count(name)), True
        except UnavailableError as error:
            if self._settings.gate_strict:
                raise
            self._store_error = str(error)
            count, confirmed = self._lane_count(name), False
        topic = _Topic([self._lane(name, i) for i in range(count)], confirmed)
        with self._lock:
            known = self._topics.setdefault(name, topic)
            if known is topic:
                # However young the view of the gate is, it says nothing of these lanes: have them looked at.
                self._version = -1
                self._viewed_at = float("-inf")
            return known

    def _lane(self, topic: str, number: int) -> _Lane:
        name = Lane(self.cluster, topic, number)
        return _Lane(
            name,
            LaneWriter(
                self._store,
                name,
                self._producer,
                clock=self._clock,
                grace=self._settings.gate_refresh,
                seal_wait=self._settings.seal_wait,
            ),
        )

    # -- what is due -------------------------------------------------------------------------------------------------

    def tick(self, wait: float) -> None:
        """Take in reports from Kafka, waiting at most ``wait`` seconds for one, then do all that is due."""
        busy = self._since_tick >= _REPORT_EVERY
        self._since_tick = 0
        if busy:
            self._clock.sleep(wait)
        self._main.poll(0 if busy else wait)
        with self._lock:
            self._collect()
            now = self._clock.monotonic()
            oldest = max(self._in_kafka[0].published, self._in_kafka[0].sent) if self._in_kafka else now
            if now - oldest > _HEAD_OF_LINE and now >= self._sweep_due:
                self._sweep_due = now + _HEAD_OF_LINE
                self._sweep()
            patience = min(1.0, self._settings.divert_after) if self._main.all_down else self._settings.divert_after
            if now - oldest >= patience or self._main.fatal:
                self._take_back()
            if self._any_lane_off_main or self._stored:
                self._settle()
                self._give_up(now)
                self._acknowledge_stored(now)
            if now >= self._refresh_due:
                self._start_refresh()
            if self._down and not self._probing:
                self._probing = True
                self._look(self._probe)
            jobs = self._lanes_to_drain(now) if self._any_lane_off_main else []
        for lane in jobs:
            self._run(partial(self._drain, lane))

    def _collect(self) -> None:
        """Take what Kafka has reported on from the front of the queue; what comes later waits for its turn."""
        waiting = self._in_kafka
        done: list[Receipt] = []
        while waiting and waiting[0].progress is not _WAITING:
            receipt = waiting.popleft()
            if receipt.progress is Progress.TAKEN_BACK:
                # A report that nobody asked for, such as a failed producer's: cut through all the rest as well.
                waiting.appendleft(receipt)
                self._take_back()
                break
            done.append(receipt)
        if done:
            self._main.all_down = False
        self._finish(done, "main")

    def _sweep(self) -> None:
        """Take what Kafka has confirmed behind an event that it has not, as of a partition without a leader."""
        confirmed = [receipt for receipt in self._in_kafka if receipt.progress is _ACKNOWLEDGED]
        self._in_kafka = deque(receipt for receipt in self._in_kafka if receipt.progress is not _ACKNOWLEDGED)
        self._finish(confirmed, "main")

    def _finish(self, done: list[Receipt], path: str) -> None:
        """Count what is done, let waiting publishers on, and tell those who wait for a receipt."""
        if not done:
            return
        self._open -= len(done)
        special = [receipt for receipt in done if not receipt.is_plain or receipt.callbacks]
        self.counts[path] += len(done) - len(special)
        for receipt in special:
            if receipt.progress is Progress.REFUSED:
                # Its dead letter is submitted in its place, or it fails.
                self._on_refused(receipt)
            if receipt.progress is Progress.ACKNOWLEDGED:
                self.counts["dead_letter" if receipt.path == "dead_letter" else path] += 1
            elif receipt.progress is Progress.FAILED:
                self.counts["failed"] += 1
        self._room.notify_all()
        with self._changed:
            self._changed.notify_all()
        for receipt in special:
            if receipt.done:
                receipt.call_back()

    def _take_back(self) -> None:
        """Cut through everything that Kafka has not confirmed: it goes to the standby store, in order, as doubtful."""
        self._down = True
        self._main.purge()
        patience = self._clock.monotonic() + 30
        while any(receipt.progress is Progress.WAITING for receipt in self._in_kafka):
            if self._clock.monotonic() > patience:
                log.error("librdkafka has not reported on purged messages for 30 s; they count as taken back")
                self._main.fatal = True
                break
            self._main.poll(0.01)
        unconfirmed = (Progress.WAITING, Progress.TAKEN_BACK)
        taken = [receipt for receipt in self._in_kafka if receipt.progress in unconfirmed]
        settled = [receipt for receipt in self._in_kafka if receipt.progress not in unconfirmed]
        self._in_kafka.clear()
        if self._main.fatal:
            self._main.renew()
        by_lane: dict[_Lane, list[Receipt]] = {}
        for receipt in taken:
            receipt.progress = Progress.WAITING
            receipt.doubtful = True
            by_lane.setdefault(self._topics[receipt.event.topic].lane_of(receipt.event), []).append(receipt)
        for lane, receipts in by_lane.items():
            # What Kafka had was published before anything that waits here already.
            lane.queue.extendleft(reversed(receipts))
            lane.settling = []
            self._set_mode(lane, Mode.STANDBY)
        if taken:
            log.warning(
                "Kafka cluster %s does not confirm: %d events go to the standby store", self.cluster, len(taken)
            )
        self._finish(settled, "main")

    def _probe(self) -> None:
        """Find out whether Kafka answers again."""
        reachable = self._main.reachable()
        with self._lock:
            self._probing = False
            if reachable:
                self._down = False

    # -- the view of the lanes ---------------------------------------------------------------------------------------

    def _start_refresh(self) -> None:
        if not self._refreshing:
            self._refreshing = True
            self._refresh_due = self._clock.monotonic() + self._settings.gate_refresh / 2
            self._look(self._refresh)

    def _refresh(self) -> None:
        """Bring the view of the lanes up to date."""
        try:
            while not self._view():
                pass
        except UnavailableError as error:
            self._store_error = str(error)
        except Exception as error:
            self._store_error = str(error)
            log.exception("reading the gate of the standby store failed")
        finally:
            with self._lock:
                self._refreshing = False
                self._room.notify_all()

    def _view(self) -> bool:
        """Read the gate, and all lanes if it has moved; a view is as old as the moment its reading began.

        Returns:
            False if a topic was added meanwhile, whose lanes were not looked at.

        Raises:
            UnavailableError: the store does not answer.
        """
        started = self._clock.monotonic()
        with self._lock:
            topics = dict(self._topics)
        version = self._gate.version()
        self._answers += 1
        for name, topic in topics.items():
            if not topic.confirmed:
                self._confirm(name, topic)
        if version != self._version:
            for lane in [lane for topic in topics.values() for lane in topic.lanes]:
                state = LaneLog(self._store, lane.name).state()
                self._answers += 1
                with self._lock:
                    lane.observe(state)
                    self._follow(lane)
        with self._lock:
            if len(topics) != len(self._topics):
                return False
            self._version = version
            self._viewed_at = max(self._viewed_at, started)
            self._store_error = ""
        return True

    def _follow(self, lane: _Lane) -> None:
        """Bring the lane's mode in line with what was seen."""
        if not lane.seen.is_main and lane.mode is Mode.MAIN:
            self._leave_main(lane)
        elif lane.seen.is_main and lane.mode is Mode.STANDBY and not (lane.queue or lane.busy):
            self._set_mode(lane, Mode.MAIN)

    def _leave_main(self, lane: _Lane) -> None:
        """Have a lane's newer events wait until those that Kafka still has are settled."""
        topic = self._topics[lane.name.topic]
        lane.settling = [
            receipt
            for receipt in self._in_kafka
            if receipt.progress in (Progress.WAITING, Progress.TAKEN_BACK)
            and receipt.event.topic == lane.name.topic
            and topic.lane_of(receipt.event) is lane
        ]
        self._set_mode(lane, Mode.SETTLING if lane.settling else Mode.STANDBY)

    def _confirm(self, name: str, topic: _Topic) -> None:
        """Find out how many lanes a topic really has, now that the store answers."""
        count = self._topic_list.lanes(name, len(topic.lanes))
        with self._lock:
            if count != len(topic.lanes):
                waiting = [receipt for lane in topic.lanes for receipt in lane.queue]
                waiting.sort(key=lambda receipt: receipt.published)
                topic.lanes = [self._lane(name, i) for i in range(count)]
                for receipt in waiting:
                    topic.lane_of(receipt.event).queue.append(receipt)
                for lane in topic.lanes:
                    if lane.queue:
                        # Lanes are cut anew: what waited may now have company that Kafka has not confirmed.
                        self._leave_main(lane)
            topic.confirmed = True
        self._version = -1

    def _set_mode(self, lane: _Lane, mode: Mode) -> None:
        lane.mode = mode
        self._any_lane_off_main = mode is not Mode.MAIN or any(
            other.mode is not Mode.MAIN for topic in self._topics.values() for other in topic.lanes
        )

    # -- the standby path --------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let lanes go on to the store whose events in Kafka are all confirmed; one that came back has to lead them."""
        unsettled = (Progress.WAITING, Progress.TAKEN_BACK)
        for topic in self._topics.values():
            for lane in topic.lanes:
                if lane.mode is Mode.SETTLING and all(r.progress not in unsettled for r in lane.settling):
                    lane.settling = []
                    self._set_mode(lane, Mode.STANDBY)

    def _lanes_to_drain(self, now: float) -> list[_Lane]:
        """Return, marked as busy, the lanes that have something to store and nobody who does it."""
        jobs = [
            lane
            for topic in self._topics.values()
            if topic.confirmed
            for lane in topic.lanes
            if lane.queue and lane.mode is Mode.STANDBY and not lane.busy and now >= lane.retry_at
        ]
        for lane in jobs:
            lane.busy = True
        return jobs

    def _drain(self, lane: _Lane) -> None:
        """Give a lane one turn. One batch a turn, so that many lanes share few threads."""
        delay = 0.0
        try:
            delay = self._turn(lane)
        except UnavailableError as error:
            self._store_error = str(error)
            delay = 0.5
        except Exception as error:
            self._store_error = str(error)
            log.exception("storing events of lane %s failed", lane.name)
            delay = 1.0
        finally:
            with self._lock:
                lane.retry_at = self._clock.monotonic() + delay
                lane.busy = False

    def _turn(self, lane: _Lane) -> float:
        """Store one batch of what waits in a lane, or take all back to Kafka if the lane is open.

        Returns:
            seconds until the next turn makes sense.
        """
        with self._lock:
            if not lane.batch:
                lane.batch = self._next_batch(lane)
            if not lane.batch:
                return 0.0
            # Doubtful events lead the queue: what is taken back is older than all that waits.
            must_divert = self._down or lane.queue[0].doubtful
        if not lane.writer.inside:
            entry = lane.writer.enter(must_divert=must_divert)
            with self._lock:
                lane.observe(lane.writer.state)
                if entry is Entry.SEALED:
                    return 0.1
                if entry is Entry.MAIN:
                    lane.batch = []
                    if lane.seen.is_main and not self._down:
                        self._back_to_main(lane)
                    return 0.0
        if lane.writer.store(lane.batch):
            with self._lock:
                receipts = [lane.queue.popleft() for _ in lane.batch]
                lane.batch = []
                self._stored.append((lane.writer.acknowledge_at, receipts))
        return 0.0

    def _next_batch(self, lane: _Lane) -> list[Stored]:
        batch: list[Stored] = []
        size = 0
        for receipt in itertools.islice(lane.queue, BATCH_EVENTS):
            event = receipt.event
            stored = Stored(
                event.id, event.key, event.value, event.headers, event.timestamp, event.partition, receipt.doubtful
            )
            size += stored.size()
            if batch and size > BATCH_BYTES:
                break
            batch.append(stored)
        return batch

    def _back_to_main(self, lane: _Lane) -> None:
        """Send what waits in an open lane to Kafka, in order, and go on there."""
        while lane.queue:
            receipt = lane.queue.popleft()
            if not receipt.done:  # else it was given up while it waited
                receipt.sent = self._clock.monotonic()
                self._send(receipt)
        self._set_mode(lane, Mode.MAIN)

    def _acknowledge_stored(self, now: float) -> None:
        """Acknowledge what is stored, once its epoch's grace is over."""
        due: list[Receipt] = []
        later: deque[tuple[float, list[Receipt]]] = deque()
        for at, receipts in self._stored:
            if at <= now:
                due += receipts
            else:
                later.append((at, receipts))
        self._stored = later
        due = [receipt for receipt in due if receipt.progress is Progress.WAITING]
        for receipt in due:
            receipt.acknowledge("standby")
        self._finish(due, "standby")

    def _give_up(self, now: float) -> None:
        """Fail what neither path has taken in time. A batch that is being stored stays whole: it may be in."""
        failed: list[Receipt] = []
        for topic in self._topics.values():
            for lane in topic.lanes:
                expired = itertools.takewhile(
                    lambda receipt: now - receipt.published > self._settings.publish_timeout, lane.queue
                )
                late = [receipt for receipt in expired if receipt.progress is Progress.WAITING]
                held = len(lane.batch)
                for receipt in late:
                    receipt.fail(f"neither Kafka nor the standby store took it: {self.why_waiting}")
                while len(lane.queue) > held and lane.queue[held].done:
                    del lane.queue[held]
                failed += late
        self._finish(failed, "failed")

    def abandon(self, reason: str) -> None:
        """Fail all that is not acknowledged: the end of the producer."""
        with self._lock:
            left = [*self._in_kafka, *(r for _, receipts in self._stored for r in receipts)]
            left += [r for topic in self._topics.values() for lane in topic.lanes for r in lane.queue]
            self._in_kafka.clear()
            self._stored.clear()
            for topic in self._topics.values():
                for lane in topic.lanes:
                    lane.queue.clear()
            left = [receipt for receipt in left if not receipt.done]
            for receipt in left:
                receipt.fail(reason)
            self._finish(left, "failed")
