"""The pump's source: the newest events of keys, of one range of offsets, that have another schema than they should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
from confluent_kafka import Message

from redrive.migrations.in_place.guard import SUPERSEDED, Guard
from redrive.migrations.in_place.log import PartitionLog
from redrive.migrations.in_place.newest import BEYOND, DELETED, schema_of
from redrive.migrations.source import event_of
from redrive.migrations.unit import Unit
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.model import Chunk

DELETION = "a deletion"
"""The reason of tombstones, which stay as they are."""

UP_TO_DATE = "has the schema"
"""The reason of events that need nothing."""


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """How far a partition is.

    Attributes:
        next: offset up to which its keys' events have been dealt with, in this operation.
        since: see `Guard`.
    """

    next: int
    since: int

    def encode(self) -> bytes:
        """Return it as MessagePack."""
        return msgspec.msgpack.encode(self)


def cursor_of(saved: bytes | None) -> tuple[str, Cursor] | None:
    """Read a unit's checkpoint: whose it is, and the cursor; None: there is none.

    Raises:
        CheckpointError: it is not one of this version's.
    """
    if not saved:
        return None
    checkpoint = Checkpoint.of_any(saved)
    if checkpoint.source is None:
        return None
    return checkpoint.operation, msgspec.msgpack.decode(checkpoint.source, type=Cursor)


class InPlaceSource:
    """Yields the events of the range that `guard.newest` is about.

    Args:
        log: the partition; nobody else reads by it.
        unit: which it is.
        guard: knows what is the newest.
        target: id of the schema that events should have.
        ids: those that kinds stand for; see `redrive.migrations.in_place.newest`.
    """

    def __init__(self, log: PartitionLog, unit: Unit, guard: Guard, target: int, ids: list[int]) -> None:
        self._log, self._unit, self._guard, self._target, self._ids = log, unit, guard, target, ids

    def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
        """Yield what comes after the cursor, in order."""
        newest = self._guard.newest
        first = newest.first if cursor is None else msgspec.msgpack.decode(cursor, type=Cursor).next
        for part in self._log.read(first, newest.end):
            skipped: Counter[str] = Counter()
            events = []
            for message in part.messages:
                if reason := self._reason(message):
                    skipped[reason] += 1
                else:
                    events.append(event_of(message, self._unit))
            yield Chunk(events, Cursor(part.next, self._guard.at).encode(), dict(skipped) or None)

    def committed(self, cursor: bytes) -> None:
        """Hear that all of a transaction is committed."""
        self._guard.committed()

    def _reason(self, message: Message) -> str:
        """Say why an event stays as it is; empty: it does not."""
        if message.value() is None:
            return DELETION
        if message.key() is None:
            return "has no key"
        kind = self._guard.newest.kind(message)
        if kind == BEYOND:
            return SUPERSEDED
        if kind == DELETED or schema_of(kind, self._ids) == self._target:
            return UP_TO_DATE
        return ""
