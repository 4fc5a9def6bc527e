"""How far a lane is published, and from where its replay goes on with the standby table that there is now.

A cursor is kept in Kafka, and the epochs that it speaks of in the table. That can be another table by now: a new one,
which counts epochs from 1 again, or one that was restored to an earlier moment, which gives the same numbers a second
time. So a cursor tells epochs apart by a mark that no other epoch has, of this table or of any other one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from redrive.errors import RedriveError
from redrive.standby.lanes import DIVERT, OPEN, Lane, LaneLog
from redrive.standby.store import Slot, Store
from redrive.standby.streams import Position

MARKS = 50
"""Epochs whose marks a cursor keeps: all that a lane has within the month that a table can be restored from. More only
if more are not left behind yet."""


class TableBehindError(RedriveError):
    """The standby table was restored to an earlier moment, and holds what was published already beside what was not.

    Attributes:
        lane: the lane.
        epoch: its epoch.
        behind: what shows it.
    """

    def __init__(self, lane: Lane, epoch: int, behind: str) -> None:
        self.lane, self.epoch, self.behind = lane, epoch, behind
        super().__init__(
            f"{lane.cluster}/{lane}, epoch {epoch}: {behind}: the standby table was restored to an earlier moment, "
            "and what of this epoch is in Kafka can't be told from what is not. Nothing of it is published or deleted "
            "now. Set standby.table to a table that is restored to a later moment, or to a new one, restart the "
            "producers, and keep this table until its events are compared with the topic "
            "(docs/runbooks/standby-store.md)"
        )


class NotOpenError(RedriveError):
    """A lane's log has no epoch left to replay, and does not say that producers use Kafka.

    Attributes:
        lane: the lane.
        kind: its log's last entry.
    """

    def __init__(self, lane: Lane, kind: str) -> None:
        self.lane, self.kind = lane, kind
        super().__init__(
            f"{lane.cluster}/{lane} is not open: its log in the standby table ends with {kind!r}, of no epoch that "
            f"could be replayed. Entries of it are missing: compare {lane.log} in the table with a restored one"
        )


class Cursor(msgspec.Struct, array_like=True):
    """How far a lane is published; it travels inside the pump's transactions.

    Attributes:
        epoch: the epoch that is being replayed.
        streams: producer → position in its stream of this epoch.
        marks: of this epoch, and before it of those that were replayed before, in the order in which they were: the
            token of the first ``divert`` of each. None in cursors of Redrive before 2026-11-28.
    """

    epoch: int = 0
    streams: dict[str, Position] = {}
    marks: list[str] = []


def decode(cursor: bytes | None) -> Cursor:
    """Read a cursor; None is the beginning."""
    return msgspec.msgpack.decode(cursor, type=Cursor) if cursor else Cursor()


def go_on(
    lane: Lane, entries: Iterable[tuple[int, Slot]], cursor: Cursor, is_published: Callable[[Cursor], bool]
) -> Cursor | None:
    """Return where the oldest epoch that is not both published and left behind is to go on; None if the lane is open.

    An epoch that the cursor does not know is replayed from its beginning, whatever its number is.

    Args:
        lane: which lane.
        entries: its log.
        cursor: the last committed one.
        is_published: tells whether a cursor stands at the seal of every stream of its epoch.

    Raises:
        TableBehindError: an epoch was left behind by the cursor, and the one it is at now is not in the log.
        NotOpenError: nothing is left to replay, and the lane is not open.
    """
    unfinished: dict[int, list[Slot]] = {}
    last = OPEN
    for _, slot in entries:
        last = slot.kind
        if slot.kind == OPEN:
            unfinished = {epoch: diverts for epoch, diverts in unfinished.items() if epoch > slot.epoch}
        elif slot.kind == DIVERT:
            unfinished.setdefault(slot.epoch, []).append(slot)
    cursor = _with_marks(cursor, unfinished)
    marks = {epoch: _mark(diverts) for epoch, diverts in unfinished.items()}
    for epoch, mark in marks.items():
        if mark not in cursor.marks:
            return Cursor(epoch, {}, [*_kept(cursor.marks, set(marks.values())), mark])
        if mark == cursor.marks[-1]:
            if epoch == max(marks) or not is_published(cursor):
                return cursor
        elif cursor.marks[-1] not in marks.values():
            raise TableBehindError(lane, epoch, "it was replayed before, a later one too, and that is not in the table")
    if last != OPEN:
        raise NotOpenError(lane, last)
    return None


def see_that_table_is_not_behind(store: Store, log: LaneLog, cursor: Cursor) -> None:
    """Refuse to go on in the midst of an epoch of which the table holds less than was published.

    Args:
        store: the standby table.
        log: the lane's.
        cursor: where the epoch is to go on.

    Raises:
        TableBehindError: so it is.
        UnavailableError: the store does not answer.
    """
    if not cursor.streams:
        return
    there = log.producers(cursor.epoch)
    for producer, position in cursor.streams.items():
        last = store.last(log.lane.stream(cursor.epoch, producer)) if producer in there else None
        end = last[0] if last else 0
        if position.slot + bool(position.taken) > end:
            behind = f"the stream of {producer} was published up to slot {position.slot}, and ends at {end}"
            raise TableBehindError(log.lane, cursor.epoch, behind)


def _kept(marks: list[str], unfinished: set[str]) -> list[str]:
    """Leave out the oldest marks, but none of an epoch that is not left behind: it would be replayed once more."""
    spare = max(0, MARKS - 1 - sum(mark in unfinished for mark in marks))
    others = [mark for mark in marks if mark not in unfinished]
    dropped = set(others[: max(0, len(others) - spare)])
    return [mark for mark in marks if mark not in dropped]


def _mark(diverts: list[Slot]) -> str:
    return diverts[0].token.rpartition("/")[2]


def _with_marks(cursor: Cursor, unfinished: dict[int, list[Slot]]) -> Cursor:
    """Add marks to a cursor of an older Redrive, by numbers and names: it is another table's if those are not there."""
    if cursor.marks or not cursor.epoch:
        return cursor
    diverts = unfinished.get(cursor.epoch)
    if diverts and cursor.streams.keys() <= {divert.producer for divert in diverts}:
        known = [_mark(of) for epoch, of in unfinished.items() if epoch <= cursor.epoch]
        return Cursor(cursor.epoch, cursor.streams, known)
    return Cursor()
