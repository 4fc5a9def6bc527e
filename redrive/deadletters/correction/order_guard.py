"""The order guard: has a newer event of a letter's key passed on its main topic already?

A letter comes back late, by its nature. Where consumers keep the last event of a key as its state, an old one that
comes after a newer one undoes it. So the main topic is read, from the time of the oldest letter on, and of each key
that has a letter, the newest event's time is kept.

What a correction publishes itself counts, too: the letters of a partition come in the order in which they were written,
and one that was rejected stands behind letters of newer events of its key.

What it can't know: whether a producer's clock was right (it goes by the times of the events), whether an event that is
younger by less than a millisecond is newer, and what was published in the last seconds: it reads on every `LOOK_EVERY`
seconds while letters are published. Letters of one key that stand in two dead-letter partitions, such as those of two
producers, are such a case: their partitions are worked at side by side.

Where brokers give events their time (``LogAppendTime``), that of a corrected event says nothing of its age: there the
``ce_time`` of events is compared. Of events that have none, those that jobs have brought are left out of account.

On the way it finds events that an operation has made of these very letters, and the ledger does not know of: they were
published in a run that nobody could settle, or the ledger was restored from a backup.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from redrive.deadletters.correction.batch import Unit, Wanted
from redrive.deadletters.correction.diverted import DivertedLanes
from redrive.deadletters.fate import Fate
from redrive.deadletters.judging import marks
from redrive.deadletters.letter_id import LetterId
from redrive.envelope import accepted
from redrive.events import Event, Headers, headers_of
from redrive.pump.names import CORRECTION_HEADER, OPERATION_HEADER, SOURCE_HEADER
from redrive.pump.readback import ClientConfig, end_offsets, offsets_for_time, scan

Policy = Literal["hold", "publish", "skip"]
"""What becomes of a letter whose key has a newer event: it stays as it is, and open; it is published all the same; or
it is given up."""

NEWER_EVENT = "newer-event"
"""The reason of the fates ``held`` and ``skipped`` that the guard gives."""

CORRECTED = "corrected-already"
"""The reason of letters that are left since an event that was made of them is on their main topic."""

REASONS = {
    CORRECTED: "an event that was made of it is on its main topic already; the next correction of its topic enters that"
}

LOOK_EVERY = 10.0
"""Seconds after which a main topic is read on before more is published to it."""

Progress = Callable[[int, int], None]


class MainTopic:
    """What has passed on a main topic of some letters, as far as it was read; for any thread.

    Memory is bounded by the keys and letters, not by the topic.

    Args:
        client_config: the cluster.
        topic: its name.
        wanted: keys to look for, and since when.
        units: the letters.
        operation: whose own events do not count as newer: what it published itself is in its plan.
        stamped: whether brokers give its events their time.

    Attributes:
        newest: key → time of its newest event, in milliseconds since 1970, and the partition that it is in.
        ours: key → time of its newest event by this operation.
        corrected: unit → offset of a letter that another operation has made an event of → that one, and the fate.
        partitions: how many the topic has.
        looks: how often it was read.
        stamped: whether brokers give its events their time, by what is known so far.
    """

    def __init__(
        self,
        client_config: ClientConfig,
        topic: str,
        wanted: Wanted,
        units: Sequence[Unit] = (),
        *,
        operation: str = "",
        stamped: bool = False,
    ) -> None:
        self.newest: dict[bytes, tuple[int, int]] = {}
        self.ours: dict[bytes, int] = {}
        self.corrected: defaultdict[str, dict[int, tuple[str, Fate]]] = defaultdict(dict)
        self.partitions = 0
        self.looks = 0
        self.stamped = stamped
        self._client, self._topic, self._wanted = client_config, topic, wanted
        self._units = {unit.name: unit for unit in units}
        self._operation = operation.encode()
        self._next: dict[int, int] | None = None
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def read_on(self, *, if_older_than: float = 0.0, on_progress: Progress = lambda _read, _total: None) -> None:
        """Read what has come since the last time; the first time, since the oldest letter's event.

        Args:
            if_older_than: do nothing if that is less than so many seconds ago.
            on_progress: hears how many events were read, and of about how many, after each batch.

        Raises:
            UnknownTopicError: there is no such topic.
            UnavailableError: the cluster does not answer.
        """
        if not self._wanted.keys or time.monotonic() - self._read_at < if_older_than:
            return
        with self._lock:
            if time.monotonic() - self._read_at < if_older_than:  # another thread has just done it
                return
            now = time.monotonic()
            start = self._next
            if start is None:
                start = dict(enumerate(offsets_for_time(self._client, self._topic, self._wanted.since)))
            end = dict(enumerate(end_offsets(self._client, self._topic)))
            read, total = 0, sum(offset - start.get(partition, 0) for partition, offset in end.items())
            for messages in scan(self._client, self._topic, start, end=end):
                self._hear(messages)
                read += len(messages)
                on_progress(read, total)
            self.partitions, self._next, self._read_at = len(end), end, now
            self.looks += 1

    def _hear(self, messages: Sequence[Message]) -> None:
        keys, newest, ours, operation = self._wanted.keys, self.newest, self.ours, self._operation
        for message in messages:
            key = message.key()
            if key is None or key not in keys:
                continue
            kind, when = message.timestamp()
            headers = headers_of(message)
            is_dated = True
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                self.stamped = True
                told = accepted(headers)
                is_dated, when = told is not None, when if told is None else told
            # The sink's two headers are the last ones.
            if len(headers) > 1 and headers[-1][0] == SOURCE_HEADER and headers[-2][0] == OPERATION_HEADER:
                if headers[-2][1] == operation:
                    if is_dated:
                        ours[key] = max(when, ours.get(key, -1))
                    continue
                self._note(message, headers)
                if not is_dated:  # only its job knows how old it is
                    continue
            if key not in newest or when > newest[key][0]:
                newest[key] = (when, message.partition() or 0)

    def time_of(self, event: Event) -> int:
        """Give the time to compare an event by."""
        told = accepted(event.headers) if self.stamped else None
        return event.timestamp if told is None else told

    def _note(self, message: Message, headers: Headers) -> None:
        """Note that an event was made of a letter, if it is one of ours; see `redrive.pump.proof` for its origin.

        A backfill that has copied such an event to another topic has put its own two headers behind those.
        """
        at = len(headers)
        while at > 1 and headers[at - 1][0] == SOURCE_HEADER and headers[at - 2][0] == OPERATION_HEADER:
            origin, operation = headers[at - 1][1] or b"", headers[at - 2][1] or b""
            if origin.startswith(b"dlq/"):
                break
            at -= 2
        else:
            return
        name, _, number, _ = origin.decode(errors="replace").rsplit("/", 3)
        unit, offset = self._units.get(name), int(number) if number.isdecimal() and len(number) < 20 else -1
        if unit is None or not unit.has(offset):
            return
        mark = marks.read(dict(headers).get(CORRECTION_HEADER))
        letter = LetterId(unit.cluster, unit.topic, unit.partition, offset)
        fate = Fate(letter, "published", "", mark.applied, message.topic(), message.partition(), message.offset())
        self.corrected[name].setdefault(offset, (operation.decode(errors="replace"), fate))


class OrderGuard:
    """What was found on the main topics of a batch, and of their lanes.

    Args:
        topics: by name.
        lanes: which of their lanes are not open; None: all are.
    """

    def __init__(self, topics: Mapping[str, MainTopic], lanes: DivertedLanes | None = None) -> None:
        self._topics, self._lanes = topics, lanes

    @property
    def looks(self) -> int:
        """How often a topic was read, or lanes had changed."""
        return sum(topic.looks for topic in self._topics.values()) + (self._lanes.looks if self._lanes else 0)

    def look_again(self, *, if_older_than: float = LOOK_EVERY) -> None:
        """Read on where that is due, and look at lanes. Raises as `MainTopic.read_on` and `DivertedLanes.look` do."""
        for topic in self._topics.values():
            topic.read_on(if_older_than=if_older_than)
        self.look_at_lanes(if_older_than=if_older_than)

    def look_at_lanes(self, *, if_older_than: float = LOOK_EVERY) -> None:
        """Look at lanes alone. Raises as `DivertedLanes.look` does."""
        if self._lanes is not None:
            self._lanes.look(if_older_than=if_older_than)

    def diverted(self, event: Event) -> bool:
        """Say whether older events of the key may wait in the standby store."""
        return self._lanes is not None and self._lanes.has(event.topic, event.key)

    def overtaken(self, event: Event) -> bool:
        """Say whether a newer event of the key was published by others; never for events without a key."""
        topic = self._topics.get(event.topic)
        if topic is None or event.key is None:
            return False
        seen = topic.newest.get(event.key)
        return seen is not None and seen[0] > topic.time_of(event)

    def passed(self, event: Event) -> bool:
        """Do as `overtaken`, for events that this operation has published, too."""
        topic = self._topics.get(event.topic)
        if topic is None or event.key is None:
            return False
        seen, when = topic.newest.get(event.key), topic.time_of(event)
        return (seen is not None and seen[0] > when) or topic.ours.get(event.key, -1) > when

    def time_of(self, event: Event) -> int:
        """Give the time by which events of the topic are compared."""
        topic = self._topics.get(event.topic)
        return event.timestamp if topic is None else topic.time_of(event)

    def corrected(self, unit: str) -> frozenset[int]:
        """Give the letters of a unit of which there is an event on a main topic, by their offsets."""
        return frozenset().union(*(topic.corrected[unit] for topic in self._topics.values() if topic.corrected))

    @property
    def found(self) -> dict[str, list[Fate]]:
        """All of those letters, by the operations that have corrected them."""
        found: defaultdict[str, list[Fate]] = defaultdict(list)
        for topic in self._topics.values():
            for letters in topic.corrected.values():
                for operation, fate in letters.values():
                    found[operation].append(fate)
        return dict(found)

    def partition(self, event: Event) -> int | None:
        """Say which partition an event has to go to: the one in which its key was seen last, whoever has put it there.

        Not every producer hashes keys as ours do. Else it is the one that the event was read from, if there was one and
        the topic still has it. None: by the key.
        """
        topic = self._topics.get(event.topic)
        if topic is None:
            return None
        seen = None if event.key is None else topic.newest.get(event.key)
        if seen is not None:
            return seen[1]
        return event.partition if event.partition is not None and event.partition < topic.partitions else None


class Turn:
    """One pass over the letters of a unit, in their order: knows what it lets pass itself, too.

    Args:
        overtaken: says of an event whether a newer one has passed.
        time_of: says by which time events are compared.
    """

    def __init__(self, overtaken: Callable[[Event], bool], time_of: Callable[[Event], int]) -> None:
        self._overtaken, self._time_of = overtaken, time_of
        self._published: defaultdict[str, dict[bytes, int]] = defaultdict(dict)

    def overtaken(self, event: Event) -> bool:
        """Say whether a newer event of the key has passed; if not, this one does."""
        key = event.key
        if key is None:
            return False
        when = self._time_of(event)
        published = self._published[event.topic]
        if published.get(key, -1) > when or self._overtaken(event):
            return True
        published[key] = when
        return False
