"""Tidying up after a lane has opened: deleting is work for the table, and no producer should have to wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from redrive.standby.lanes import DIVERT, OPEN, TOMBSTONE_SECONDS, Lane, LaneLog
from redrive.standby.store import Slot, Store

DELETE_SLOTS = 25
"""Slots that are deleted with one request: DynamoDB's limit."""


def untidied(entries: Iterable[tuple[int, Slot]]) -> list[tuple[int, Slot]]:
    """Return, of a lane log's entries, those before the last ``open`` that have no TTL yet."""
    known = list(entries)
    opened = max((number for number, entry in known if entry.kind == OPEN), default=0)
    return [(number, entry) for number, entry in known if number < opened and not entry.expires]


def tidy(store: Store, lane: Lane, check: Callable[[], None] = lambda: None) -> None:
    """Delete the events of all epochs that led up to a lane's last ``open``, and let tombstones go, long after.

    All of them are published, since ``open`` says so. The last slot of each stream stays, as do the log's entries: a
    producer that wakes with an old view must find its slot taken. May be stopped anywhere, and done again by anyone:
    what is not done yet can be told by the lane's log.

    Args:
        store: the standby table.
        lane: which lane.
        check: called before each request; what it raises ends the tidying.

    Raises:
        UnavailableError: the store does not answer.
    """
    done = untidied(LaneLog(store, lane).entries())
    at = int(time.time()) + TOMBSTONE_SECONDS
    for _, entry in done:
        stream = lane.stream(entry.epoch, entry.producer)
        end = store.last(stream) if entry.kind == DIVERT else None
        if end is None:
            continue
        last, _ = end
        first, _ = next(store.read(stream, 0), end)
        for number in range(first, last, DELETE_SLOTS):
            check()
            store.delete(stream, range(number, min(number + DELETE_SLOTS, last)))
        store.expire(stream, [last], at)
    store.expire(lane.log, [number for number, _ in done], at)
