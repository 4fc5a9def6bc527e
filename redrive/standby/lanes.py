"""Lanes: the unit of order, of diversion and of replay, and what their logs say.

A topic has a fixed number of lanes; ``lane = murmur2(key) mod lanes``. The last entry of a lane's log is its state:

========= ========================================== =========================================
entry     written by                                 means
========= ========================================== =========================================
(none)                                               producers use Kafka
divert    each producer, as it enters an epoch       producers use their streams of this epoch
seal      the replay, after a quick round            no new streams; wait for ``open``
open      the replay, when all is published          producers use Kafka: the topic that the entry names
========= ========================================== =========================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from redrive.errors import ConfigError
from redrive.standby.log import SEAL, new_token
from redrive.standby.store import Slot, Store

DIVERT = "divert"
OPEN = "open"

TOMBSTONE_SECONDS = 30 * 86_400
"""How long entries of finished epochs stay: longer than any producer may sleep and wake with an old view."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The name of one lane."""

    cluster: str
    topic: str
    number: int

    @property
    def log(self) -> str:
        """Return the ``pk`` of the lane's log."""
        return f"lane|{self.cluster}|{self.topic}|{self.number}"

    def stream(self, epoch: int, producer: str) -> str:
        """Return the ``pk`` of a producer's stream in an epoch."""
        return f"stream|{self.cluster}|{self.topic}|{self.number}|{epoch}|{producer}"

    @property
    def unit(self) -> str:
        """Return the name of the unit of work that replays this lane."""
        return f"standby/{self.cluster}/{self.topic}/{self.number}"

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


@dataclass(frozen=True, slots=True)
class LaneState:
    """The last entry of a lane's log.

    Attributes:
        slot: its number; 0 if the log is empty.
        kind: ``divert``, ``seal``, ``open``, or empty.
        epoch: the epoch it is about; 0 if the log is empty.
        target: of an ``open``: the topic that producers use; empty: the lane's own.
    """

    slot: int = 0
    kind: str = ""
    epoch: int = 0
    target: str = ""

    @property
    def is_main(self) -> bool:
        """Tell whether producers use Kafka."""
        return self.kind in ("", OPEN)


class LaneLog:
    """Reads and extends the log of one lane."""

    def __init__(self, store: Store, lane: Lane) -> None:
        self.lane = lane
        self._store = store

    def state(self) -> LaneState:
        """Read the lane's state, consistently."""
        last = self._store.last(self.lane.log)
        return LaneState(last[0], last[1].kind, last[1].epoch, last[1].target) if last else LaneState()

    def extend(self, state: LaneState, kind: str, epoch: int, owner: str, target: str = "") -> bool:
        """Append an entry after ``state``; False if the log has moved on since ``state`` was read."""
        slot = Slot(kind, new_token(owner), epoch=epoch, producer=owner if kind == DIVERT else "", target=target)
        return self._store.put_new(self.lane.log, state.slot + 1, slot) is None

    def entries(self, after: int = 0) -> Iterator[tuple[int, Slot]]:
        """Yield the entries above slot ``after``."""
        return self._store.read(self.lane.log, after)

    def producers(self, epoch: int) -> list[str]:
        """Return who has a stream in ``epoch``, in the order in which they entered it."""
        entries = (slot for _, slot in self.entries() if slot.kind == DIVERT and slot.epoch == epoch)
        return list(dict.fromkeys(slot.producer for slot in entries))


class Gate:
    """One count a cluster, bumped after every ``divert`` and ``open``: it tells producers when to read lane logs."""

    def __init__(self, store: Store, cluster: str) -> None:
        self._store = store
        self._pk = f"gate|{cluster}"

    def version(self) -> int:
        """Return the count."""
        return self._store.version(self._pk)

    def bump(self) -> None:
        """Make every producer of the cluster look at its lanes within a gate refresh."""
        self._store.bump(self._pk)


class Topics:
    """The list of a cluster's topics that have lanes, with the number of lanes of each: a log in the table.

    The first entry of a topic counts, whoever wrote it: two producers must never disagree on the lane of a key.
    """

    def __init__(self, store: Store, cluster: str) -> None:
        self._store = store
        self._pk = f"topics|{cluster}"
        self._known: dict[str, int] = {}
        self._read = 0

    def all(self) -> dict[str, int]:
        """Return topic → number of lanes."""
        for number, slot in self._store.read(self._pk, self._read):
            # In this order: a thread beside this one must not pass over an entry that is not known yet.
            self._known.setdefault(slot.producer, slot.epoch)
            self._read = number
        return dict(self._known)

    def lanes(self, topic: str, wanted: int) -> int:
        """Return the number of lanes of ``topic``; a topic that has none yet gets ``wanted``.

        Raises:
            ConfigError: none are wanted.
            UnavailableError: the store does not answer.
        """
        if wanted < 1:
            raise ConfigError(f"topics.{topic}.lanes", f"is {wanted}; it must be at least 1")
        token = new_token(topic)
        while topic not in self._known and topic not in self.all():
            self._store.put_new(self._pk, self._read + 1, Slot("topic", token, epoch=wanted, producer=topic))
        return self._known[topic]


__all__ = ["DIVERT", "OPEN", "SEAL", "Gate", "Lane", "LaneLog", "LaneState", "Topics"]
