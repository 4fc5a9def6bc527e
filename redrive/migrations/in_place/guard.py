"""Sees to it that no event is committed behind a newer one of its key; see `redrive.migrations.in_place`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

from confluent_kafka import Message

from redrive.events import Event
from redrive.migrations.in_place.log import PartitionLog
from redrive.migrations.in_place.newest import Newest, hash_of, in_time, origin_offset
from redrive.migrations.source import event_of
from redrive.migrations.unit import Unit, origin_of, source_offset
from redrive.pump.model import Chunk, Skipped, Transform

SUPERSEDED = "its key has a newer event"
"""The reason of events that are left to newer ones."""


class Guard:
    """Looks after one unit's transactions; see `redrive.pump.sink.Guard`. For one thread.

    Args:
        log: the partition.
        unit: which it is.
        transform: the migration.
        within: how many seconds after the partition was last read to its end that must be done again; see `in_time`.

    Attributes:
        newest: the newest events of the keys that are at hand.
    """

    newest: Newest

    def __init__(self, log: PartitionLog, unit: Unit, transform: Transform, within: float) -> None:
        self._log, self._unit, self._transform, self._within = log, unit, transform, within
        self.ours = f"{unit.name}/".encode()
        self._since = 0
        self._tried = False
        self._newer: dict[bytes, Message] = {}
        self._unmigrated: dict[str, Event] = {}

    @property
    def at(self) -> int:
        """Up to where it is clear what has become of all that stands there, and nothing is left to be mended."""
        return self._since if self._tried else self.newest.at

    def mend(self, since: int) -> list[Event]:
        """Give the newer events that events of aborted transactions stand behind, as they are to be published again.

        Args:
            since: where to begin to look: before the unit's last transaction, which it might not have committed.

        Raises:
            UnavailableError: the cluster does not answer, or somebody has left a transaction open.
        """
        # Also what came while the window was read: all of it is to be heard, without a gap.
        self._since = min(since, self.newest.at)
        self._settle()
        newer, self._newer = self._newer, {}
        return [self._again(message) for message in newer.values()]

    def before(self, events: Sequence[Event]) -> Mapping[int, Event | Skipped]:
        """Say what has to be left out, or replaced, since newer events have come.

        Raises:
            UnavailableError: the cluster does not answer, or somebody has left a transaction open, or the partition was
                not read for so long, as in a pause, that deletions could have come and gone.
        """
        if self._tried:
            self._settle()
        self._catch_up()
        changed: dict[int, Event | Skipped] = {}
        for index, event in enumerate(events):
            if self.newest.offset(event.key) != self._offset(event):
                newer = self._newer.pop(hash_of(event.key or b""), None)
                # A still newer one stands behind all that was given up, and comes out on top by itself.
                last = newer is not None and self.newest.offset(event.key) == newer.offset()
                changed[index] = self._again(newer) if newer is not None and last else Skipped(SUPERSEDED)
        if not changed:
            self._since, self._tried = self.newest.at, True
        return changed

    def holds(self, events: Sequence[Event], upto: int) -> bool:
        """Say whether no event of their keys stands between what was read and what is about to be committed."""
        origins = {event.key: event.origin.encode() for event in events}
        others: set[bytes | None] = set()
        for part in self._log.read(self.newest.at, upto, committed=False):
            for message in part.messages:
                key = message.key()
                if key not in origins:
                    continue
                if origin_of(message) != origins[key]:
                    others.add(key)
                elif key in others:
                    return False
        return True

    def committed(self) -> None:
        """Hear that the last transaction was committed."""
        self._tried = False
        self._unmigrated = {}

    def unmigrated(self, event: Event) -> Event | None:
        """Give a newer event as it is, whose migrated form is refused; None: it is none, or is refused as well."""
        return self._unmigrated.pop(event.origin, None)

    def _catch_up(self) -> None:
        now = time.monotonic()
        for part in self._log.read(self.newest.at):
            self.newest.hear(part.messages, part.next)
        in_time(self._log, self.newest.heard, self._within)
        self.newest.heard = now

    def _settle(self) -> None:
        """Find events that were given up behind newer ones; waits until it is clear what has become of all of them."""
        given_up: dict[bytes, int] = {}
        end = self._since
        for part in self._log.read(self._since, committed=False):
            end = part.next
            for message in part.messages:
                if origin_offset(message, self.ours) is not None and message.key() is not None:
                    given_up[hash_of(message.key() or b"")] = cast(int, message.offset())
        newer: dict[bytes, Message] = {}
        for part in self._log.read(self._since, end):
            self.newest.hear([each for each in part.messages if cast(int, each.offset()) >= self.newest.at], part.next)
            newer |= {key: each for each in part.messages if (key := hash_of(each.key() or b"")) in given_up}
        self._newer |= newer
        # An event of ours that was committed is the newest itself.
        for key, offset in given_up.items():
            if key in self._newer and cast(int, self._newer[key].offset()) >= offset:
                del self._newer[key]
        self._tried = False

    def _again(self, newer: Message) -> Event:
        """Make of an event what is published behind itself: migrated if that can be, else as it is."""
        event = event_of(newer, self._unit)
        self.newest.set(event.key or b"", cast(int, newer.offset()))
        ((_, (became,)),) = self._transform(iter([Chunk([event], b"")]))
        if not isinstance(became, Event):
            return event
        if became.value != event.value:
            self._unmigrated[event.origin] = event
        return became

    def _offset(self, event: Event) -> int | None:
        unit = self._unit
        return source_offset(event.origin.encode(), unit.name)
