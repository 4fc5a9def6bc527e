"""Whose order would be broken although Kafka shows nothing: keys whose events wait in the standby store.

While a lane is not open, older events of its keys may wait there, for days if it can't be opened. A corrected letter
that went to the main topic now would stand before them, and consumers would keep what is older. A lane that is open to
another topic than the one that the letter would go to is no better: its producers publish there.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from redrive.murmur2 import partition_of
from redrive.standby.lanes import Gate, Lane, LaneLog, Topics
from redrive.standby.store import Store

DIVERTED = "diverted"
"""The reason of letters that are left since the lane of their key is not open."""

REASONS = {
    DIVERTED: "older events of its key may wait in the standby store, or go to another topic, since their lane is not "
    "open to the one that it would go to; run standby-replay, and correct it then"
}

_THREADS = 8


class DivertedLanes:
    """Which lanes are not open to the topics that letters go to, as far as was looked; for any thread.

    Args:
        store: the standby table.
        cluster: the topics' cluster.
        leading: name by which events are published → the topic that they go to: all that lead to these topics.

    Attributes:
        looks: how often something had changed.
    """

    def __init__(self, store: Store, cluster: str, leading: Mapping[str, str]) -> None:
        self.looks = 0
        self._store, self._cluster, self._leading = store, cluster, leading
        self._gate = Gate(store, cluster)
        self._version: int | None = None
        self._read_at = float("-inf")
        self._diverted: Mapping[str, list[tuple[int, frozenset[int]]]] = {}
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
            if not self._leading or now - self._read_at < if_older_than:
                return
            version = self._gate.version()  # first: a lane that changes while lanes are read bumps it after that
            if version != self._version:
                self._diverted = self._not_open()
                self._version = version
                self.looks += 1
            self._read_at = now

    def has(self, topic: str, key: bytes | None) -> bool:
        """Say whether events of a key may go elsewhere; never for events without a key: they have no order."""
        if key is None:
            return False
        return any(partition_of(key, lanes) in diverted for lanes, diverted in self._diverted.get(topic, ()))

    def _not_open(self) -> Mapping[str, list[tuple[int, frozenset[int]]]]:
        there = Topics(self._store, self._cluster).all()
        lanes = [
            Lane(self._cluster, name, number)
            for name in sorted(there.keys() & self._leading.keys())
            for number in range(there[name])
        ]
        with ThreadPoolExecutor(_THREADS) as pool:
            states = pool.map(lambda lane: LaneLog(self._store, lane).state(), lanes)
            diverted: defaultdict[str, set[int]] = defaultdict(set)
            for lane, state in zip(lanes, states, strict=True):
                if not state.is_main or (state.target or lane.topic) != self._leading[lane.topic]:
                    diverted[lane.topic].add(lane.number)
        found: defaultdict[str, list[tuple[int, frozenset[int]]]] = defaultdict(list)
        for name, numbers in diverted.items():
            found[self._leading[name]].append((there[name], frozenset(numbers)))
        return dict(found)
