"""The standby path: a lane's waiting events into the store, batch by batch, and back to Kafka once the lane is open."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from redrive.dispatch.destination import Destinations
from redrive.dispatch.inflight import InFlight
from redrive.dispatch.lanes import LaneQueue, Lanes, Mode
from redrive.dispatch.monitor import Monitor
from redrive.errors import RedriveError, UnavailableError
from redrive.receipts import Progress, Receipt
from redrive.standby.batches import BATCH_BYTES, BATCH_EVENTS, Stored
from redrive.standby.writer import Clock, Entry

log = logging.getLogger(__name__)

GO_OVER_EVERY = 2.0
"""Seconds between two looks whether a lane that nothing waits in may go over to another topic."""

COPIED_WITHIN = 5.0
"""Seconds that events wait for the old topic's last ones to be copied before their lane is diverted for that: from then
on, a replay has to bring them, and there may be none for a while."""

LINGER = 0.5
"""Seconds between two batches of a lane whose events come faster than they are stored. Each slot is a write when it is
stored and another when it is deleted, however little is in it, and writes are what a table has least of."""


class StandbyPath:
    """Stores what waits in lanes. Called under the dispatcher's lock; the storing itself is done elsewhere, without it.

    Args:
        lanes: where events wait.
        in_flight: the way back to Kafka.
        monitor: the dispatcher's.
        clock: time.
        fresh: seconds for which what was read of a lane may be relied on (``gate_refresh``).
        give_up: seconds after which an event that nobody has taken is given up (``publish_timeout``).
        run: starts a call elsewhere, or simply calls it.
        destinations: other topics that lanes may be opened to; None: there are none.

    Attributes:
        error: what storing last failed with; empty if it goes well.
    """

    def __init__(
        self,
        lanes: Lanes,
        in_flight: InFlight,
        monitor: Monitor,
        *,
        clock: Clock,
        fresh: float,
        give_up: float,
        run: Callable[[Callable[[], None]], object],
        destinations: Destinations | None = None,
    ) -> None:
        self.error = ""
        self._lanes = lanes
        self._in_flight = in_flight
        self._fresh = fresh
        self._patience = min(COPIED_WITHIN, give_up / 4)
        self._lock = monitor.lock
        self._clock = clock
        self._run = run
        self._destinations = destinations
        self._stored: deque[tuple[float, list[Receipt]]] = deque()

    @property
    def waits_for_grace(self) -> bool:
        """Tell whether anything is stored that may not be acknowledged yet."""
        return bool(self._stored)

    def jobs(self, now: float) -> list[Callable[[], object]]:
        """Return one call for each lane that has something to store and nobody who does it; call them without the lock.

        One batch a call, so that many lanes share few threads.
        """
        idle = [
            lane
            for topic in self._lanes.topics.values()
            if topic.confirmed
            for lane in topic.lanes
            if lane.mode is Mode.STANDBY
            and (lane.queue or lane.must_go_over)
            and not lane.busy
            and now >= lane.retry_at
        ]
        for lane in idle:
            lane.busy = True
        return [partial(self._start, lane) for lane in idle]

    def acknowledged(self, now: float) -> list[Receipt]:
        """Take what is stored and whose grace is over, acknowledged."""
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
        return due

    def given_up(self, published_before: float, why: str) -> list[Receipt]:
        """Take what neither path has taken in time, failed. A batch that is being stored stays whole: it may be in."""
        failed: list[Receipt] = []
        for lane in self._lanes:
            expired = itertools.takewhile(lambda receipt: receipt.published < published_before, lane.queue)
            late = [receipt for receipt in expired if receipt.progress is Progress.WAITING]
            held = len(lane.batch)
            for receipt in late:
                receipt.fail(f"neither Kafka nor the standby store took it: {why}")
            while len(lane.queue) > held and lane.queue[held].done:
                del lane.queue[held]
            failed += late
        return failed

    def clear(self) -> list[Receipt]:
        """Let go of everything."""
        left = [receipt for _, receipts in self._stored for receipt in receipts]
        self._stored.clear()
        for lane in self._lanes:
            left += lane.queue
            lane.queue.clear()
        return left

    def _start(self, lane: LaneQueue) -> None:
        try:
            self._run(partial(self._give_turn, lane))
        except RuntimeError:  # no thread is to be had; the next tick tries again
            log.exception("storing events of lane %s could not be started", lane.name)
            lane.busy = False

    def _give_turn(self, lane: LaneQueue) -> None:
        delay = 0.0
        try:
            delay = self._turn(lane)
            self.error = ""
        except UnavailableError as error:
            self.error = str(error)
            delay = 0.5
        except Exception as error:
            self.error = str(error)
            log.exception("storing events of lane %s failed", lane.name)
            delay = 1.0
        finally:
            with self._lock:
                lane.retry_at = self._clock.monotonic() + delay
                lane.busy = False

    def _turn(self, lane: LaneQueue) -> float:
        """Store one batch of what waits in a lane, or take all back to Kafka if the lane is open.

        Returns:
            seconds until the next turn makes sense.
        """
        with self._lock:
            if not lane.batch:
                lane.batch = _next_batch(lane)
            idle = not lane.batch
        if idle:
            return 0.0 if self._go_over(lane) else GO_OVER_EVERY
        with self._lock:
            more = len(lane.queue) > len(lane.batch)
            # Doubtful events lead the queue: what is taken back is older than all that waits.
            must_divert = self._in_flight.down or lane.queue[0].doubtful
        if not lane.writer.inside:
            began = self._clock.monotonic()
            entry = lane.writer.enter(must_divert=must_divert)
            with self._lock:
                lane.observe(lane.writer.state)
            if entry is Entry.MAIN and not self._go_over(lane):
                if self._may_wait(lane, began):
                    return 0.2
                log.warning("lane %s is diverted until what went to %s has been copied", lane.name, lane.topic)
                entry = lane.writer.enter(must_divert=True)
                with self._lock:
                    lane.observe(lane.writer.state)
            with self._lock:
                lane.held_since = 0.0
                if entry is Entry.SEALED:
                    return 0.1
                if entry is Entry.MAIN:
                    lane.batch = []
                    # An answer that was long on its way says nothing: somebody may have diverted the lane since, and
                    # have waited until nobody relies on such an answer any more.
                    young = self._clock.monotonic() < began + self._fresh
                    if young and lane.seen.is_main and not (lane.must_go_over or self._in_flight.down):
                        self._back_to_main(lane)
                    return 0.0
        if lane.writer.store(lane.batch):
            with self._lock:
                receipts = [lane.queue.popleft() for _ in lane.batch]
                lane.batch = []
                self._stored.append((lane.writer.acknowledge_at, receipts))
                # Whoever publishes one event at a time and waits for it leaves the queue empty, and need not linger.
                return LINGER if lane.queue and not more else 0.0
        return 0.0

    def _go_over(self, lane: LaneQueue) -> bool:
        """Have a lane's events go to the topic that it was opened to; False: they have to be stored meanwhile.

        Called for a lane in the mode ``STANDBY``: so what Kafka has got of it is settled.
        """
        with self._lock:
            if not lane.must_go_over:
                return True
            name, before, now = lane.name.topic, lane.topic, lane.seen.target or lane.name.topic
            sent = self._lanes.topics[name].has_sent(lane)
        if self._destinations is None:
            return False
        try:
            if sent and not self._destinations.is_copied(name, before, now):
                return False
            destination = None if now == name else self._destinations.find(name, now)
        except RedriveError as error:
            self.error = f"events of {name} can't go to {now}: {error}"
            log.warning("%s; they are stored", self.error)
            return False
        with self._lock:
            if (lane.seen.target or name) != now:
                return False
            self._lanes.go_over(lane, destination)
            lane.held_since = 0.0
            if not lane.queue and lane.seen.is_main:
                self._lanes.set_mode(lane, Mode.MAIN)
        return True

    def _may_wait(self, lane: LaneQueue, since: float) -> bool:
        """Tell whether what waits in an open lane can go on waiting for that lane's events to go over."""
        with self._lock:
            lane.held_since = lane.held_since or since
            may = self._destinations is not None and self._clock.monotonic() - lane.held_since < self._patience
            if may:
                lane.batch = []
            return may

    def _back_to_main(self, lane: LaneQueue) -> None:
        """Send what waits in an open lane to Kafka, in order, and go on there."""
        while lane.queue:
            receipt = lane.queue.popleft()
            if not receipt.done:  # else it was given up while it waited
                receipt.sent = self._clock.monotonic()
                self._lanes.send(receipt, lane)
        self._lanes.set_mode(lane, Mode.MAIN)


def _next_batch(lane: LaneQueue) -> list[Stored]:
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
