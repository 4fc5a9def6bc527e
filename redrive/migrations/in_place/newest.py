"""Which events of a partition are the newest of their keys, window by window."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import inf
from typing import cast

from confluent_kafka import Message
from xxhash import xxh3_128_digest

from redrive.errors import UnavailableError, WireFormatError
from redrive.migrations.in_place.log import PartitionLog
from redrive.migrations.unit import origin_of
from redrive.wire import schema_id_of

WINDOW = 1_000_000
"""Offsets whose keys are held at the same time."""

BEYOND = 0
"""The kind of a key whose newest event stands behind the window."""

DELETED = 1
"""The kind of a key whose newest event is a deletion (a tombstone)."""

UNFRAMED = 2
"""The kind of a key whose newest event's bytes are no frame, or have one schema id too many."""

_SCHEMAS = 3  # and up: the schema with this number in `Newest.ids`
_KINDS = 256

hash_of = xxh3_128_digest


class Newest:
    """The newest event of each key that a range of offsets has; events without a key are left out.

    Attributes:
        first: the range's first offset.
        end: the offset before which it ends.
        at: the offset up to which the partition is known.
        heard: when it was last read to where it ended: since `time.monotonic`'s beginning, in seconds.
        overtaken: pairs of offsets: an event that was published again, and the newer one of its key that it stands
            behind. There must be none.
    """

    def __init__(self, first: int, end: int, ids: list[int], ours: bytes) -> None:
        self.first, self.end, self.at = first, end, first
        self.heard = time.monotonic()
        self.overtaken: list[tuple[int, int]] = []
        self._ids, self._ours = ids, ours
        self._places: dict[bytes, int] = {}

    def hear(self, messages: Sequence[Message], next_offset: int) -> None:
        """Take note of what was read next."""
        places, first, end = self._places, self.first, self.end
        for message in messages:
            key, offset = message.key(), cast(int, message.offset())
            if key is None:
                continue
            hashed = hash_of(key)
            inside = first <= offset < end
            if inside or hashed in places:
                self._compare(message, places.get(hashed))
                places[hashed] = offset * _KINDS + (self._kind(message.value()) if inside else BEYOND)
        self.at = max(self.at, next_offset)

    def offset(self, key: bytes | None) -> int:
        """Say where the newest event of a key stands; -1: the range has none of it."""
        place = None if key is None else self._places.get(hash_of(key))
        return -1 if place is None else place // _KINDS

    def set(self, key: bytes, offset: int) -> None:
        """Say where the newest event of a key stands, behind the range."""
        self._places[hash_of(key)] = offset * _KINDS + BEYOND

    def kind(self, message: Message) -> int:
        """Say of which kind an event of the range is; `BEYOND` if it is not the newest of its key."""
        key = message.key()
        place = BEYOND if key is None else self._places.get(hash_of(key), BEYOND)
        return place % _KINDS if place // _KINDS == message.offset() else BEYOND

    def counts(self) -> dict[int, int]:
        """Count keys by the kind of their newest event, where that stands in the range."""
        found: dict[int, int] = {}
        for place in self._places.values():
            kind = place % _KINDS
            found[kind] = found.get(kind, 0) + 1
        return found

    def _kind(self, value: bytes | None) -> int:
        if value is None:
            return DELETED
        try:
            schema_id = schema_id_of(value)
        except WireFormatError:
            return UNFRAMED
        if schema_id not in self._ids:
            if len(self._ids) >= _KINDS - _SCHEMAS:  # bytes that are no frames can look like any number of ids
                return UNFRAMED
            self._ids.append(schema_id)
        return _SCHEMAS + self._ids.index(schema_id)

    def _compare(self, message: Message, before: int | None) -> None:
        if before is None:
            return
        origin = origin_offset(message, self._ours)
        if origin is not None and before // _KINDS > origin:
            self.overtaken.append((cast(int, message.offset()), before // _KINDS))


def schema_of(kind: int, ids: Sequence[int]) -> int | None:
    """Return the schema id of a kind; None: it stands for none."""
    return ids[kind - _SCHEMAS] if kind >= _SCHEMAS else None


def origin_offset(message: Message, ours: bytes) -> int | None:
    """Say from where in its partition an event was published again; None: it was not.

    Args:
        message: the event.
        ours: what the origins of such events begin with.
    """
    origin = origin_of(message)
    if origin is None or not origin.startswith(ours):
        return None
    return int(origin.rsplit(b"/", 2)[1])


def windows(
    log: PartitionLog, first: int, upto: int, ours: bytes, ids: list[int], *, within: float = inf
) -> Iterator[Newest]:
    """Yield the newest events, for one range of offsets after the other.

    Args:
        log: the partition.
        first: the first offset.
        upto: where the last range ends.
        ours: what the origins of events begin with that were published again.
        ids: takes schema ids as they are found; there is room for 253, so those that matter are there before.
        within: how many seconds it may take to read one; see `in_time`.

    Raises:
        UnavailableError: the cluster does not answer, or somebody has left a transaction open, or it took too long.
    """
    while first < upto:
        window = Newest(first, min(first + WINDOW, upto), ids, ours)
        for part in log.read(first, window.end):  # also what is in transactions that are open yet
            window.hear(part.messages, part.next)
        read = time.monotonic()
        for part in log.read(window.end):
            window.hear(part.messages, part.next)
        in_time(log, window.heard, within)
        window.heard = read
        yield window
        first = window.end


def in_time(log: PartitionLog, since: float, within: float) -> None:
    """See to it that no deletion can have come and gone unheard, together with what it has deleted.

    Compaction takes an event away once a deletion stands behind it, and the deletion itself ``delete.retention.ms``
    later at the earliest. So who reads on within that time sees the one or the other; later, perhaps neither.

    Args:
        log: the partition.
        since: when it was read last.
        within: how many seconds may have passed.

    Raises:
        UnavailableError: more have; it has to be read anew.
    """
    passed = time.monotonic() - since
    if passed > within:
        raise UnavailableError(
            str(log),
            f"{passed:.0f} s have passed since it was read, and {within:.0f} s may: half of delete.retention.ms, since "
            "what was deleted could have gone without a trace. It is read anew; if that itself takes longer, raise "
            "that setting of the topic",
        )
