"""Reading streams: one at a time without gaps, and several merged by acceptance time."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec

from redrive.errors import RedriveError
from redrive.standby.batches import Stored, unpack
from redrive.standby.log import SEAL
from redrive.standby.store import Slot, Store

GROUP_EVENTS = 2_000
"""Events after which `merge` hands over what it has."""

_accepted = attrgetter("accepted")


class GapError(RedriveError):
    """A stream lacks slots that were never replayed: events are gone from the table.

    Attributes:
        stream: the stream's ``pk``.
        after: the last slot before the gap.
        found: the first slot after it.
    """

    def __init__(self, stream: str, after: int, found: int) -> None:
        self.stream, self.after, self.found = stream, after, found
        super().__init__(
            f"{stream}: slots {after + 1} to {found - 1} are missing from the standby table; somebody or something "
            "deleted events that were not replayed. Restore the table to a new one (point-in-time recovery), compare."
        )


class Position(msgspec.Struct, array_like=True, frozen=True):
    """How far a stream is published: all slots up to ``slot``, and ``taken`` events of the next batch.

    Attributes:
        slot: the last slot that is published whole.
        taken: events published of the batch after it.
        ended: True once the stream's seal, which stands in ``slot``, is reached.
    """

    slot: int = 0
    taken: int = 0
    ended: bool = False


class Taken(NamedTuple):
    """Some events of one batch.

    Attributes:
        producer: whose stream they are from.
        slot: the number of their slot.
        first: the index of the first of them in the batch.
        events: the events, in order.
    """

    producer: str
    slot: int
    first: int
    events: Sequence[Stored]


class StreamReader:
    """Reads one stream from a position on, batch by batch.

    Args:
        store: the standby table.
        pk: the stream.
        producer: whose it is.
        position: where to begin.
        horizon: stop before the first event accepted at or after it (milliseconds since 1970); None: read to the end.
        checked: the last slot whose doubtful events were looked up; a doubtful batch above it ends the reading.

    Attributes:
        position: after the last event that was taken.
    """

    def __init__(
        self, store: Store, pk: str, producer: str, position: Position, *, horizon: int | None, checked: int
    ) -> None:
        self.producer = producer
        self.position = position
        self._store = store
        self._pk = pk
        self._horizon = horizon
        self._checked = checked
        self._seal = 0
        self._number = self._index = self._end = self._latest = 0
        self._batch: list[Stored] = []
        self._batches = iter(()) if position.ended else unpack(self._entries(position.slot))
        self._advance(position.taken)

    @staticmethod
    def doubtful(store: Store, pk: str, after: int) -> Iterator[tuple[int, list[Stored]]]:
        """Yield the batches with doubtful events right after slot ``after``, up to the first batch without."""
        for number, slot, batch in unpack(_without_gaps(pk, after, store.read(pk, after))):
            if not slot.doubtful:
                return
            yield number, batch

    @property
    def head(self) -> int | None:
        """Return when the next event was accepted, never less than any before it; None if there is none to take."""
        if self._index >= self._end:
            return None
        return max(self._latest, self._batch[self._index].accepted)

    def take(self, until: int | None, most: int) -> Taken:
        """Take, of the batch at hand, what was accepted at or before ``until`` (None: all); one event at least."""
        first, last = self._index, self._end
        if until is not None:
            last = max(first + 1, bisect_right(self._batch, until, first, last, key=_accepted))
        last = min(last, first + most)
        taken = Taken(self.producer, self._number, first, self._batch[first:last])
        self._latest = max(self._latest, taken.events[-1].accepted)
        self._index = last
        if last == len(self._batch):
            self.position = Position(self._number)
            self._advance(0)
        else:
            self.position = Position(self.position.slot, last)
        return taken

    def _advance(self, first: int) -> None:
        """Bring up the next batch that has something to take; at the seal, note that the stream has ended."""
        self._index = self._end = 0
        for number, slot, batch in self._batches:
            if slot.doubtful and number > self._checked:
                return
            end = len(batch)
            if self._horizon is not None and batch[-1].accepted >= self._horizon:
                end = bisect_left(batch, self._horizon, key=_accepted)
            self._number, self._batch, self._index, self._end = number, batch, first, end
            return
        if self._seal:
            self.position = Position(self._seal, ended=True)

    def _entries(self, after: int) -> Iterator[tuple[int, Slot]]:
        for number, slot in _without_gaps(self._pk, after, self._store.read(self._pk, after)):
            if slot.kind == SEAL:
                self._seal = number
                return
            yield number, slot


def _without_gaps(pk: str, after: int, slots: Iterator[tuple[int, Slot]]) -> Iterator[tuple[int, Slot]]:
    last = after
    for number, slot in slots:
        if number != last + 1:
            raise GapError(pk, last, number)
        last = number
        yield number, slot


def merge(readers: Sequence[StreamReader]) -> Iterator[list[Taken]]:
    """Yield groups of what all readers have, merged by acceptance time; after each, their positions are those after it.

    Never reorders within a stream. The last group is the shorter rest; it may be empty.
    """
    heap = [(head, i) for i, reader in enumerate(readers) if (head := reader.head) is not None]
    heapq.heapify(heap)
    group: list[Taken] = []
    count = 0
    while heap:
        _, i = heapq.heappop(heap)
        taken = readers[i].take(heap[0][0] if heap else None, GROUP_EVENTS - count)
        group.append(taken)
        count += len(taken.events)
        head = readers[i].head
        if head is not None:
            heapq.heappush(heap, (head, i))
        if count >= GROUP_EVENTS:
            yield group
            group, count = [], 0
    yield group
