"""The pump's source of a backfill: the events of one partition, from where the last run stopped to where it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec
import numpy as np
from confluent_kafka import Message

from redrive.columnar.events import EventColumns
from redrive.columnar.records import Record, Records
from redrive.errors import OtherMigrationError
from redrive.events import Event, Headers, headers_of
from redrive.migrations.unit import Unit, brought_from
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.following import follow
from redrive.pump.model import Chunk
from redrive.pump.readback import ClientConfig

GONE = "gone"
"""The reason of offsets that the source no longer had when they were to be copied."""

CAME_BACK = "came from the target"
"""The reason of events that a backfill the other way has brought here."""


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """How far a partition has been copied.

    Attributes:
        migration: digest of what is done to events; another migration must not go on with this one's work.
        next: offset of the source.
        rules: digest of the rules that events are taken up by, empty if by none; None: it is not known.
    """

    migration: str
    next: int
    rules: str | None = None


class TopicSource:
    """Yields the events of one unit.

    Args:
        client_config: the unit's cluster.
        unit: which partition.
        migration: digest of the migration.
        first: the offset to begin with, where nothing has been copied yet.
        until: says, whenever asked, the offset to stop before; None: not known yet.
        rules: see `Cursor`.
        on_copied: called with the offset to go on from, at first and whenever what is before it has been committed.
    """

    def __init__(
        self,
        client_config: ClientConfig,
        unit: Unit,
        *,
        migration: str,
        first: int,
        until: Callable[[], int | None],
        rules: str | None = None,
        on_copied: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._client, self._unit = client_config, unit
        self._migration, self._first, self._until = migration, first, until
        self._rules, self._on_copied = rules, on_copied

    def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
        """Yield what comes after the cursor; also empty chunks, while nothing comes.

        Raises:
            OtherMigrationError: another migration has begun to fill the target.
        """
        first = self._first
        if cursor is not None:
            first = _next(cursor, self._unit, self._migration)
        self._on_copied(first)
        unit = self._unit
        for piece in follow(self._client, unit.source, unit.partition, first, self._until, back=unit.back):
            events = events_of(piece.messages, unit)
            skipped = {GONE: piece.gone} if piece.gone else {}
            if back := len(piece.messages) - len(events):
                skipped[CAME_BACK] = back
            yield Chunk(events, self._cursor(piece.next), skipped or None)

    def _cursor(self, at: int) -> bytes:
        return msgspec.msgpack.encode(Cursor(self._migration, at, self._rules))

    def committed(self, cursor: bytes) -> None:
        """Say how far it is; nothing is to be deleted: the source keeps what it has."""
        self._on_copied(_cursors.decode(cursor).next)


def event_of(message: Message | Record, unit: Unit) -> Event:
    """Make the event that a record of the source is to become in the target, but for its value."""
    headers = headers_of(message)
    origin = brought_from(headers) if unit.source == unit.target else None
    if origin is not None and origin.startswith(unit.back):
        headers = headers[:-2]  # what the last backfill in place has put there; this one puts its own there
    return _event(message, headers, unit, unit.origins)


def events_of(messages: Sequence[Message | Record], unit: Unit) -> Sequence[Event]:
    """Do as `event_of` for many records, without those that the way back has brought."""
    if isinstance(messages, Records) and not messages.special.any():
        return event_columns(messages, unit)
    origins, back = unit.origins, unit.back
    events = []
    for message in messages:
        headers = headers_of(message)
        origin = brought_from(headers)
        if origin is None or not origin.startswith(back):
            events.append(_event(message, headers, unit, origins))
    return events


def event_columns(records: Records, unit: Unit) -> EventColumns:
    """Do as `event_of` for many records."""
    return EventColumns(
        unit.target, unit.partition, unit.origins, records.offsets, np.maximum(records.timestamps, 1), records.keys,
        records.values, records.headers,
    )  # fmt: skip


def _event(message: Message | Record, headers: Headers, unit: Unit, origins: str) -> Event:
    origin = origins % cast(int, message.offset())
    return Event(
        origin,  # only shown where nothing else names the event; its ``ce_id`` is among its headers
        unit.target,
        message.key(),
        message.value(),
        headers,
        max(1, message.timestamp()[1]),  # of 0, librdkafka makes the time of day
        unit.partition,
        origin,
    )


def copied(saved: bytes | None, unit: Unit, migration: str) -> int | None:
    """Say how far a unit's source has been copied, by its checkpoint; None if nothing has.

    Raises:
        OtherMigrationError: another migration has begun to fill the target.
        CheckpointError: it is not one of this version's.
    """
    cursor = _cursor(saved)
    return None if cursor is None else _next(cursor, unit, migration)


def position(saved: bytes | None) -> int | None:
    """Do as `copied`, whichever migration it was."""
    cursor = _cursor(saved)
    return None if cursor is None else _cursors.decode(cursor).next


def rules_of(saved: bytes | None) -> str | None:
    """Say by which rules a unit's source has been copied; see `Cursor`."""
    cursor = _cursor(saved)
    return None if cursor is None else _cursors.decode(cursor).rules


def _cursor(saved: bytes | None) -> bytes | None:
    return Checkpoint.of_any(saved).source if saved else None


def _next(cursor: bytes, unit: Unit, migration: str) -> int:
    before = _cursors.decode(cursor)
    if before.migration != migration:
        raise OtherMigrationError(unit.source, unit.target)
    return before.next


_cursors = msgspec.msgpack.Decoder(Cursor)
