"""Accepts events, fixes their order, and does all that is due; one dispatcher a cluster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from redrive.dispatch.destination import Destinations
from redrive.dispatch.inflight import InFlight
from redrive.dispatch.lanes import Lanes, Mode
from redrive.dispatch.mainpath import MainPath
from redrive.dispatch.monitor import Monitor
from redrive.dispatch.settings import DispatchSettings
from redrive.dispatch.standby import StandbyPath
from redrive.dispatch.view import View
from redrive.errors import BackPressureError, PublishError
from redrive.events import Event
from redrive.receipts import Progress, Receipt
from redrive.standby.lanes import Lane
from redrive.standby.store import Store
from redrive.standby.writer import Clock, LaneWriter

log = logging.getLogger(__name__)

_HEAD_OF_LINE = 0.5
"""Seconds that an unconfirmed event may keep reports on those behind it from being taken in."""

_STEP_BACK_MS = 60_000
"""By how much less the clock may be set back and the times of events stand still for so long."""

_REPORT_EVERY = 1_000
"""Events after which the publishing thread takes in delivery reports itself."""

_thread = threading.local()
"""``calls_back``: this thread is just then telling callers what has become of events; of any cluster."""


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
        monitor: the lock over all of this; None makes one.
        destinations: other topics that the events of a topic's name may go to; None: there are none.

    Attributes:
        counts: how many events took which path: ``main``, ``standby``, ``dead_letter``; and how many ``failed``.
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
        monitor: Monitor | None = None,
        destinations: Destinations | None = None,
    ) -> None:
        def writer(topic: str, number: int) -> LaneWriter:
            lane, grace, seal_wait = Lane(cluster, topic, number), settings.gate_refresh, settings.seal_wait
            return LaneWriter(store, lane, producer, clock=clock, grace=grace, seal_wait=seal_wait)

        monitor = monitor or Monitor()
        look = look or run
        self.cluster = cluster
        self.counts = {"main": 0, "standby": 0, "dead_letter": 0, "failed": 0}
        self._main = main
        self._look = look
        self._clock = clock
        self._changed = changed
        self._settings = settings
        self._on_refused = on_refused
        self._most_open, self._most_bytes = settings.max_unacknowledged, settings.max_unacknowledged_bytes
        self._lock, self._room = monitor.lock, monitor.room
        self._in_flight = InFlight(main, clock)
        self._lanes = Lanes(self._in_flight, writer)
        self._view = View(
            store,
            cluster,
            self._lanes,
            monitor,
            wanted=lanes,
            clock=clock,
            settings=settings,
            look=look,
            destinations=destinations,
        )
        self._standby = StandbyPath(
            self._lanes,
            self._in_flight,
            monitor,
            clock=clock,
            fresh=settings.gate_refresh,
            give_up=settings.publish_timeout,
            run=run,
            destinations=destinations,
        )
        self._refused: list[Receipt] = []
        self._to_tell: list[Receipt] = []
        self._ended = ""
        self._open = 0
        self._open_bytes = 0
        self._since_tick = 0
        self._sweep_due = 0.0
        self._last_accepted = 0
        self._probing = False

    @property
    def unacknowledged(self) -> int:
        """Return how many events are neither acknowledged nor failed."""
        return self._open

    @property
    def why_waiting(self) -> str:
        """Return what keeps events from being acknowledged, for messages."""
        kafka = "Kafka does not confirm" if self._in_flight.down else "Kafka is being waited for"
        return f"{kafka}; {self._standby.error or self._view.error or 'the standby store is being waited for'}"

    def submit(self, receipt: Receipt, *, crowded: bool = False) -> None:
        """Accept an event: from here on, its place in the order of its lane is fixed.

        Args:
            receipt: the event's.
            crowded: accept it however much waits; for one that takes the place of another. So is what a callback
                submits: it follows an event that is done.

        Raises:
            BackPressureError: too much waits; this one was not accepted.
            UnavailableError: the gate can't be read, and ``gate_strict`` is on.
            PublishError: the producer has ended.
        """
        event = receipt.event
        receipt.weight = len(event.value or b"") + len(event.key or b"")
        lanes, in_flight = self._lanes, self._in_flight
        topic = lanes.topics.get(event.topic) or self._view.learn(event.topic)
        with self._lock:
            if (self._open >= self._most_open or self._open_bytes >= self._most_bytes) and not crowded:
                self._wait_for_room()
            now = self._clock.monotonic()
            if now >= self._view.old_at and not (in_flight.down or lanes.is_off_main(topic, event)):
                self._view.wait()
                now = self._clock.monotonic()
            if self._ended:
                raise PublishError(event.id, event.topic, self._ended)
            receipt.published = now
            event.timestamp = self._accepted_now()
            self._since_tick += 1
            if self._since_tick % _REPORT_EVERY == 0:
                # Reports are taken in by the thread that publishes while it does so fast: two threads that hand each
                # other the interpreter's lock for every few events would halve the speed.
                self._main.poll(0)
                self._collect()
            if lanes.any_off_main or in_flight.down:
                lane = topic.lane_of(event)
                if lane.mode is not Mode.MAIN or in_flight.down:
                    lane.queue.append(receipt)
                    self._open += 1
                    self._open_bytes += receipt.weight
                    if lane.mode is Mode.MAIN:
                        lanes.set_mode(lane, Mode.STANDBY)
                    return
            self._open += 1
            self._open_bytes += receipt.weight
            if topic.moved:
                lane = topic.lane_of(event)
                topic.note_sending(lane)
                receipt.destination = lane.destination
            else:
                topic.sent = True
            in_flight.send(receipt)

    def leads_elsewhere(self, event: Event) -> bool:
        """Tell whether an event goes to another topic than that of its name, as far as is known; looks if need be.

        Raises:
            UnavailableError: it can't be looked at, and ``gate_strict`` is on.
        """
        topic = self._lanes.topics.get(event.topic) or self._view.learn(event.topic)
        with self._lock:
            if self._clock.monotonic() >= self._view.old_at:
                self._view.wait()
            lane = topic.lane_of(event)
            if lane.seen.slot > 0 and lane.seen.is_main:
                return (lane.seen.target or event.topic) != event.topic
            return lane.destination is not None

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
            waiting = self._in_flight.waiting_for(now)
            if waiting > _HEAD_OF_LINE and now >= self._sweep_due:
                self._sweep_due = now + _HEAD_OF_LINE
                self._sweep()
            patience = min(1.0, self._settings.divert_after) if self._main.all_down else self._settings.divert_after
            if waiting >= patience or self._main.fatal:
                self._take_back()
            if self._lanes.any_off_main or self._standby.waits_for_grace:
                self._lanes.settle()
                self._finish(self._standby.given_up(now - self._settings.publish_timeout, self.why_waiting), "failed")
                self._finish(self._standby.acknowledged(now), "standby")
            self._view.refresh_if_due(now)
            if self._in_flight.down and not self._probing:
                self._start_probe()
            jobs = self._standby.jobs(now) if self._lanes.any_off_main else []
        self._tell()
        for start in jobs:
            start()

    def abandon(self, reason: str) -> None:
        """Fail all that is not acknowledged: the end of the producer."""
        self._view.close()
        with self._lock:
            self._ended = reason
            self._finish(self._in_flight.confirmed(), "main")
            left = [receipt for receipt in (*self._in_flight.clear(), *self._standby.clear()) if not receipt.done]
            for receipt in left:
                receipt.fail(reason)
            self._finish(left, "failed")
        self._tell()

    def _wait_for_room(self) -> None:
        if getattr(_thread, "calls_back", False):
            return  # room is made by this very thread: it would wait for itself, and everybody with it
        started = self._clock.monotonic()
        limit = self._settings.block_timeout

        def has_room() -> bool:
            return bool(self._ended) or (self._open < self._most_open and self._open_bytes < self._most_bytes)

        if not self._room.wait_for(has_room, limit):
            raise BackPressureError(self._open, self._open_bytes, self._clock.monotonic() - started)

    def _accepted_now(self) -> int:
        """Return the time for an event: never falling, since a stream is merged with others by it.

        But if the clock is set back by much, it was wrong before: Kafka refuses times that are far ahead.
        """
        now = self._clock.now_ms()
        if not 0 < self._last_accepted - now < _STEP_BACK_MS:
            self._last_accepted = now
        return self._last_accepted

    def _collect(self) -> None:
        """Take in what Kafka has reported."""
        self._finish(self._in_flight.settled(), "main")
        if self._in_flight.came_back:
            self._take_back()

    def _sweep(self) -> None:
        """Take in what Kafka has reported on events behind one that it has not."""
        self._finish(self._in_flight.confirmed(), "main")
        if self._in_flight.any_came_back():
            self._take_back()

    def _take_back(self) -> None:
        """Have everything that Kafka has not confirmed go to the standby store, in order."""
        taken, settled = self._in_flight.take_back()
        self._lanes.put_back(taken)
        if taken:
            log.warning(
                "Kafka cluster %s does not confirm: %d events go to the standby store", self.cluster, len(taken)
            )
        self._finish(settled, "main")

    def _start_probe(self) -> None:
        self._probing = True
        try:
            self._look(self._probe)
        except BaseException:
            self._probing = False
            raise

    def _probe(self) -> None:
        """Find out whether Kafka answers again."""
        reachable = self._main.reachable()
        with self._lock:
            self._probing = False
            if reachable:
                self._in_flight.down = False
                # Or else what is sent now would be given less time: a client that comes back needs some itself.
                self._main.all_down = False

    def _finish(self, done: list[Receipt], path: str) -> None:
        """Count what is done, let waiting publishers on, and note who is to be told of it."""
        if not done:
            return
        special = [receipt for receipt in done if not receipt.is_plain or receipt.callbacks]
        refused = [receipt for receipt in special if receipt.progress is Progress.REFUSED]
        if refused:
            # Each counts as unacknowledged until its dead letter does.
            self._refused += refused
            done, special = _without(refused, done), _without(refused, special)
        self._open -= len(done)
        self._open_bytes -= sum([receipt.weight for receipt in done])
        self.counts[path] += len(done) - len(special)
        for receipt in special:
            if receipt.progress is Progress.ACKNOWLEDGED:
                self.counts["dead_letter" if receipt.path == "dead_letter" else path] += 1
            elif receipt.progress is Progress.FAILED:
                self.counts["failed"] += 1
            self._to_tell.append(receipt)
        self._room.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _tell(self) -> None:
        """Have dead letters made of what Kafka refuses, and call back; without the lock: others' code runs here."""
        while self._refused or self._to_tell:
            with self._lock:
                refused, self._refused = self._refused, []
                told, self._to_tell = self._to_tell, []
            for receipt in refused:
                self._bury(receipt)
            _thread.calls_back = True
            try:
                for receipt in told:
                    receipt.call_back()
            finally:
                _thread.calls_back = False

    def _bury(self, receipt: Receipt) -> None:
        """Have the dead letter of an event submitted in its place; or it fails."""
        weight = receipt.weight
        try:
            self._on_refused(receipt)
        except Exception as error:  # whatever it is, somebody waits for this receipt
            receipt.fail(f"Kafka refuses it ({receipt.refusal}), and its dead letter could not be published: {error}")
        with self._lock:
            self._open -= 1
            self._open_bytes -= weight
            if receipt.progress is Progress.FAILED:
                self.counts["failed"] += 1
                self._to_tell.append(receipt)
            self._room.notify_all()
        with self._changed:
            self._changed.notify_all()


def _without(some: list[Receipt], receipts: list[Receipt]) -> list[Receipt]:
    out = set(map(id, some))
    return [receipt for receipt in receipts if id(receipt) not in out]
