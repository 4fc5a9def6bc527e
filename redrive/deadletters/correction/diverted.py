"""Whose order would be broken although Kafka shows nothing: keys whose events wait in the standby store.

While a lane is not open, older events of its keys may wait there, for days if it can't be opened. A corrected letter
that went to the main topic now would stand before them, and consumers would keep what is older.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from redrive.murmur2 import partition_of
from redrive.standby.lanes import Gate, Lane, LaneLog, Topics
from redrive.standby.store import Store

DIVERTED = "diverted"
"""The reason of letters that are left since the lane of their key is not open."""

REASONS = {
    DIVERTED: "older events of its key may wait in the standby store, since their lane is not open; run "
    "standby-replay, and correct it then"
}

_THREADS = 8


class DivertedLanes:
    """Which lanes of some main topics are not open, as far as was looked; for any thread.

    Args:
        store: the standby table.
        cluster: the topics' cluster.
        topics: the main topics.

    Attributes:
        looks: how often something had changed.
    """

    def __init__(self, store: Store, cluster: str, topics: Collection[str]) -> None:
        self.looks = 0
        self._store, self._cluster, self._topics = store, cluster, topics
        self._gate = Gate(store, cluster)
        self._version: int | None = None
        self._read_at = float("-inf")
        self._diverted: dict[str, tuple[int, frozenset[int]]] = {}
        self._lock = threading.Lock()

    def look(self, *, if_older_than: float = 0.0) -> None:
        """Look at the gate, which counts up with each change, and at the lanes if it has.

        Args:
            if_older_than: do nothing if that is less than so many seconds ago.

        Raises:
            UnavailableError: the standby table does not answer.
            ConfigError: there is no such table, or it may not be read.
        """
        with self._lock:
            now = time.monotonic()
            if not self._topics or now - self._read_at < if_older_than:
                return
            version = self._gate.version()  # first: a lane that changes while lanes are read bumps it after that
            if version != self._version:
                self._diverted = self._not_open()
                self._version = version
                self.looks += 1
            self._read_at = now

    def has(self, topic: str, key: bytes | None) -> bool:
        """Say whether events of a key go to the standby store; never for events without a key: they have no order."""
        if key is None or topic not in self._diverted:
            return False
        lanes, diverted = self._diverted[topic]
        return partition_of(key, lanes) in diverted

    def _not_open(self) -> dict[str, tuple[int, frozenset[int]]]:
        there = Topics(self._store, self._cluster).all()
        lanes = [
            Lane(self._cluster, topic, number)
            for topic in sorted(there.keys() & set(self._topics))
            for number in range(there[topic])
        ]
        with ThreadPoolExecutor(_THREADS) as pool:
            states = pool.map(lambda lane: LaneLog(self._store, lane).state(), lanes)
            diverted = [lane for lane, state in zip(lanes, states, strict=True) if not state.is_main]
        return {
            topic: (there[topic], frozenset(lane.number for lane in diverted if lane.topic == topic))
            for topic in {lane.topic for lane in diverted}
        }
