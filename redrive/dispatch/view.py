"""What a producer knows of who has diverted a lane: a view of the gate and the lanes' logs, kept young.

Its age is bounded: an event goes to Kafka only under a view that began to be read less than ``gate_refresh`` ago.
Whoever diverts a lane waits that long before the first acknowledgement, so nobody publishes around a divert.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from redrive.dispatch.destination import Destination, Destinations
from redrive.dispatch.lanes import LaneQueue, Lanes, TopicLanes
from redrive.dispatch.monitor import Monitor
from redrive.dispatch.settings import DispatchSettings
from redrive.errors import RedriveError, UnavailableError
from redrive.standby.lanes import Gate, LaneLog, LaneState, Topics
from redrive.standby.store import Store
from redrive.standby.writer import Clock

log = logging.getLogger(__name__)

_FIRST_VIEW = 5.0
"""Seconds without an answer after which a producer's first look at the lanes counts as failed; later it is its age."""

_NEVER = float("-inf")


class View:
    """Keeps the lanes in line with the table.

    Args:
        store: the standby table.
        cluster: whose lanes.
        lanes: what is kept in line.
        monitor: the dispatcher's.
        wanted: tells how many lanes a topic is to have if it has none yet.
        clock: time.
        settings: see there.
        look: starts a call elsewhere, or simply calls it.
        destinations: other topics that the events of a name may go to; None: there are none.

    Attributes:
        old_at: the monotonic time from which the view is too old to send events to Kafka under it.
        error: what reading the view last failed with; empty if that goes well.
    """

    def __init__(
        self,
        store: Store,
        cluster: str,
        lanes: Lanes,
        monitor: Monitor,
        *,
        wanted: Callable[[str], int],
        clock: Clock,
        settings: DispatchSettings,
        look: Callable[[Callable[[], None]], object],
        destinations: Destinations | None = None,
    ) -> None:
        self.old_at = _NEVER
        self.error = ""
        self._store = store
        self._gate = Gate(store, cluster)
        self._topics = Topics(store, cluster)
        self._lanes = lanes
        self._lock, self._room = monitor.lock, monitor.room
        self._wanted = wanted
        self._clock = clock
        self._settings = settings
        self._look = look
        self._destinations = destinations
        self._version = -1
        self._refreshing = False
        self._refresh_due = _NEVER
        self._answers = 0
        self._closed = False

    def learn(self, name: str) -> TopicLanes:
        """Get to know a topic: how many lanes it has.

        Raises:
            UnavailableError: the table does not say, and ``gate_strict`` is on.
        """
        destination: Destination | None = None
        try:
            count, confirmed = self._topics.lanes(name, self._wanted(name)), True
        except UnavailableError as error:
            if self._settings.gate_strict:
                raise
            self.error = str(error)
            count, confirmed = self._wanted(name), False
            destination = self._by_alias(name)  # the lanes, which else say it, can't be read
        topic = TopicLanes(self._lanes.make(name, count, destination), confirmed, moved=destination is not None)
        with self._lock:
            known = self._lanes.topics.setdefault(name, topic)
            if known is topic:
                # However young the view is, it says nothing of these lanes: have them looked at.
                self._version = -1
                self.old_at = _NEVER
            return known

    def _by_alias(self, name: str) -> Destination | None:
        try:
            return None if self._destinations is None else self._destinations.current(name)
        except RedriveError as error:
            log.warning("whether %s stands for another topic is not known, and taken for no: %s", name, error)
            return None

    def wait(self) -> None:
        """Wait for a young view; go on without one only if the store is known to fail and that is allowed.

        Raises:
            UnavailableError: there is none to be had, and ``gate_strict`` is on.
        """
        if self.error and not self._settings.gate_strict:
            return
        self.refresh()
        age = self._settings.gate_refresh
        patience = max(age, _FIRST_VIEW) if self.old_at == _NEVER else age

        def settled() -> bool:
            return self._clock.monotonic() < self.old_at or bool(self.error)

        # However long many lanes take to be looked at, a store that answers does not fail; one that is silent does.
        until = self._clock.monotonic() + self._settings.block_timeout
        while not settled():
            answers = self._answers
            if not self._room.wait_for(settled, patience) and self._answers == answers:
                self.error = f"the standby store has not answered for {patience} s"
            elif self._clock.monotonic() > until:
                self.error = f"the lanes could not be looked at within {self._settings.block_timeout} s"
            self.refresh()
        if self.error and self._settings.gate_strict:
            raise UnavailableError("standby store", f"{self.error} (gate_strict is on)")

    def refresh_if_due(self, now: float) -> None:
        """Have the view renewed when half its time is over."""
        if now >= self._refresh_due:
            self.refresh()

    def refresh(self) -> None:
        """Have the view renewed, unless that is under way."""
        if not self._refreshing:
            self._refreshing = True
            self._refresh_due = self._clock.monotonic() + self._settings.gate_refresh / 2
            try:
                self._look(self._renew)
            except BaseException:
                self._refreshing = False
                raise

    def close(self) -> None:
        """End a reading that is under way, soon."""
        self._closed = True

    def _renew(self) -> None:
        try:
            while not self._read():
                pass
        except UnavailableError as error:
            self.error = str(error)
        except Exception as error:
            self.error = str(error)
            log.exception("reading the gate of the standby store failed")
        finally:
            with self._lock:
                self._refreshing = False
                self._room.notify_all()

    def _read(self) -> bool:
        """Read the gate, and all lanes if it has moved; a view is as old as the moment its reading began.

        Returns:
            False if a topic was added meanwhile, whose lanes were not looked at.

        Raises:
            UnavailableError: the store does not answer.
        """
        started = self._clock.monotonic()
        with self._lock:
            topics = dict(self._lanes.topics)
        version = self._gate.version()
        self._answers += 1
        for name, topic in topics.items():
            if not topic.confirmed:
                self._confirm(name, topic)
        seen: list[tuple[LaneQueue, LaneState]] = []
        if version != self._version:
            for lane in [lane for topic in topics.values() for lane in topic.lanes]:
                if self._closed:
                    return True
                seen.append((lane, LaneLog(self._store, lane.name).state()))
                self._answers += 1
        with self._lock:
            self._lanes.follow(seen)
            if len(topics) != len(self._lanes.topics):
                return False
            self._version = version
            self.old_at = max(self.old_at, started + self._settings.gate_refresh)
            self.error = ""
        return True

    def _confirm(self, name: str, topic: TopicLanes) -> None:
        """Find out how many lanes a topic really has, now that the store answers."""
        count = self._topics.lanes(name, len(topic.lanes))
        with self._lock:
            if count != len(topic.lanes):
                self._lanes.cut_anew(name, count)
            topic.confirmed = True
        self._version = -1
