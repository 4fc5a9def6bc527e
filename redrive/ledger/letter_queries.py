"""Questions about dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session

from redrive.deadletters.dialects import Sighting
from redrive.deadletters.fate import Fate, FateOrNone
from redrive.deadletters.letter_id import LetterId, Place
from redrive.deadletters.selection import Selection
from redrive.ledger import chain, letter_audit, letter_writes
from redrive.ledger.letter_conditions import EPOCH, condition
from redrive.ledger.letter_fates import own_fates
from redrive.ledger.letter_tables import dead_letters, fates
from redrive.ledger.models import EntryRow, OperationRow

_LAST = 253_402_300_799_999  # the end of the year 9999; Kafka takes any time, such as microseconds by mistake
_MILLISECONDS = {"hour": 3_600_000, "day": 86_400_000}
_SIGHTING = [dead_letters.c[name] for name in Sighting.__struct_fields__]


class Subject(NamedTuple):
    """A letter, as a correction has to know it.

    Attributes:
        main_topic: empty if it is not known.
        written: the letter's own timestamp, in milliseconds since 1970.
        timestamp: its event's, or its own if that is not known.
        key: its event's.
    """

    cluster: str
    main_topic: str
    topic: str
    partition: int
    offset: int
    written: int
    timestamp: int
    key: bytes | None


_ORDER = [dead_letters.c[name] for name in Place._fields[:-1]]


class KnownLetter(msgspec.Struct, frozen=True):
    """A letter as the ledger has it.

    Attributes:
        fate: the last one's name, or ``none``.
    """

    sighting: Sighting
    fate: FateOrNone

    @property
    def id(self) -> LetterId:
        """The letter's id, with its cluster."""
        return self.place.id

    @property
    def place(self) -> Place:
        """Where it stands in the order of lists."""
        return Place(*(getattr(self.sighting, name) for name in Place._fields))


class Decision(msgspec.Struct, frozen=True):
    """A fate, and which operation has given it to the letter, and when."""

    fate: Fate
    operation_id: str
    at: datetime


class Story(msgspec.Struct, frozen=True):
    """A letter and all of its fates, oldest first."""

    letter: KnownLetter
    decisions: tuple[Decision, ...]


class Group(msgspec.Struct, frozen=True):
    """Letters of one reason, producer and main topic.

    Attributes:
        letters: how many.
        correctable: how many of them have all of their value.
        oldest: the earliest of their timestamps; likewise ``newest``.
        attempts: the most that one of them has.
    """

    reason: str
    producer: str
    topic: str
    letters: int
    correctable: int
    oldest: datetime
    newest: datetime
    attempts: int


def count(session: Session, selection: Selection) -> int:
    """See `redrive.ledger.letters.Letters.count`."""
    return session.scalar(select(func.count()).select_from(dead_letters).where(condition(selection))) or 0


def by_fate(session: Session, selection: Selection) -> dict[str, int]:
    """Give how many letters are selected of each fate; in the order of its name."""
    fate = dead_letters.c.fate
    query = select(fate, func.count()).where(condition(selection)).group_by(fate).order_by(fate)
    return dict(session.execute(query).tuples().all())


def groups(session: Session, selection: Selection) -> list[Group]:
    """See `redrive.ledger.letters.Letters.groups`."""
    column = dead_letters.c
    by = (column.reason, column.producer, column.main_topic)
    number = func.count()
    correctable = number.filter(column.correctable)
    oldest, newest = func.min(column.timestamp), func.max(column.timestamp)
    query = select(*by, number, correctable, oldest, newest, func.max(column.attempts))
    rows = session.execute(query.where(condition(selection)).group_by(*by).order_by(number.desc(), *by))
    return [
        Group(reason, producer, topic, letters, whole, time_of(first), time_of(last), attempts)
        for reason, producer, topic, letters, whole, first, last, attempts in rows
    ]


def numbers(session: Session) -> list[tuple[str, str, str, int]]:
    """See `redrive.ledger.letters.Letters.numbers`."""
    by = (dead_letters.c.cluster, dead_letters.c.reason, dead_letters.c.fate)
    return list(session.execute(select(*by, func.count()).group_by(*by).order_by(*by)).tuples())


def places(session: Session, selection: Selection, after: Place | None, limit: int) -> list[Place]:
    """Give one page of `redrive.ledger.letters.Letters.places`."""
    query = select(*_ORDER, dead_letters.c.timestamp)
    return [Place(*row) for row in session.execute(_page(query, selection, after, limit))]


def letters(session: Session, selection: Selection, after: Place | None, limit: int) -> list[KnownLetter]:
    """See `redrive.ledger.letters.Letters.find`."""
    query = select(*_SIGHTING, dead_letters.c.fate)
    return [_letter(row) for row in session.execute(_page(query, selection, after, limit))]


def entered(session: Session, operations: Sequence[str]) -> dict[str, int]:
    """See `redrive.ledger.letters.Letters.entered`."""
    column = dead_letters.c
    by = select(column.cluster, func.count()).join(EntryRow, EntryRow.id == column.entry)
    by = by.where(EntryRow.operation_id.in_(operations)).group_by(column.cluster).order_by(column.cluster)
    return dict(session.execute(by).tuples().all())


def newest(session: Session, cluster: str, topic: str) -> dict[int, Sighting]:
    """See `redrive.ledger.letters.Letters.newest`."""
    column = dead_letters.c
    here = (column.cluster == cluster, column.topic == topic)
    last = select(column.partition, func.max(column.offset).label("last")).where(*here).group_by(column.partition)
    ends = last.subquery()
    query = select(*_SIGHTING, column.fate).where(*here)
    query = query.join(ends, and_(column.partition == ends.c.partition, column.offset == ends.c.last))
    return {letter.sighting.partition: letter.sighting for letter in map(_letter, session.execute(query))}


def last_before(session: Session, letter: LetterId) -> Sighting | None:
    """See `redrive.ledger.letters.Letters.last_before`."""
    column = dead_letters.c
    here = (column.cluster == letter.cluster, column.topic == letter.topic, column.partition == letter.partition)
    query = select(*_SIGHTING, column.fate).where(*here, column.offset < letter.offset)
    row = session.execute(query.order_by(column.offset.desc()).limit(1)).first()
    return None if row is None else _letter(row).sighting


def begun_by(session: Session, job: str) -> dict[tuple[str, str, int], int]:
    """See `redrive.ledger.letters.Letters.begun_by`."""
    of_job = select(EntryRow.body).join(OperationRow, OperationRow.id == EntryRow.operation_id)
    begun: dict[tuple[str, str, int], int] = {}
    for body in session.scalars(of_job.where(OperationRow.job == job, EntryRow.kind == chain.LETTERS)):
        for name, (before, offset) in body["partitions"].items():
            if before is None:
                begun[letter_writes.partition_of(name)] = offset
    return begun


def last_entry(session: Session) -> int:
    """See `redrive.ledger.letters.Letters.last_entry`."""
    return session.scalar(select(func.max(dead_letters.c.entry))) or 0


def subjects(
    session: Session, selection: Selection, after: Place | None, limit: int, *, upto: int, also_of: str
) -> list[tuple[Subject, Place]]:
    """Give one page of `redrive.ledger.letters.Letters.subjects`, each with its place."""
    of_any_fate = selection.model_copy(update={"fates": []})
    letter = [dead_letters.c[name] == fates.c[name] for name in letter_audit.PLACE]
    # Added to nothing, so that a database looks for the letter's few fates, not for each of the entries.
    is_its = (fates.c.entry + 0).in_(own_fates(session, also_of))
    by_operation = select(fates.c.entry).where(*letter, is_its).exists()
    column = dead_letters.c
    query = select(*_ORDER, column.timestamp, column.main_timestamp, column.key)
    query = query.where(column.entry <= upto, or_(condition(selection), by_operation))
    found = []
    for row in session.execute(_page(query, of_any_fate, after, limit)):
        cluster, main_topic, topic, partition, offset, at, of_event, key = row
        place = Place(cluster, main_topic, topic, partition, offset, at)
        found.append((Subject(*place, timestamp=at if of_event is None else of_event, key=key), place))
    return found


def on_two_clusters(session: Session, selection: Selection, upto: int) -> int:
    """See `redrive.ledger.letters.Letters.on_two_clusters`."""
    column, other = dead_letters.c, dead_letters.alias().c
    same = (
        other.event_id == column.event_id,
        other.main_topic == column.main_topic,
        # An id alone does not do: whoever counts from 1 uses it again.
        other.main_timestamp == column.main_timestamp,
        other.cluster != column.cluster,
        other.fate.not_in(["skipped", "discarded"]),
    )
    query = select(func.count()).select_from(dead_letters).where(condition(selection), column.entry <= upto)
    return session.scalar(query.where(exists().where(*same))) or 0


def stories(session: Session, which: ColumnElement[bool]) -> list[Story]:
    """Give the letters that meet a condition, each with its fates; by main topic and attempt."""
    column = dead_letters.c
    order = (column.main_topic, column.attempts, column.timestamp, *_ORDER)
    query = select(*_SIGHTING, column.fate).where(which).order_by(*order)
    found = [_letter(row) for row in session.execute(query)]
    return [Story(letter, tuple(_decisions(session, letter.id))) for letter in found]


def trend(session: Session, selection: Selection, unit: Literal["hour", "day"]) -> list[tuple[datetime, int]]:
    """See `redrive.ledger.letters.Letters.trend`."""
    size = _MILLISECONDS[unit]
    bucket = (dead_letters.c.timestamp // size).label("bucket")
    rows = session.execute(select(bucket, func.count()).where(condition(selection)).group_by(bucket).order_by(bucket))
    return [(time_of(number * size), letters) for number, letters in rows]


def _page(query: Select[Any], selection: Selection, after: Place | None, limit: int) -> Select[Any]:
    query = query.where(condition(selection)).order_by(*_ORDER).limit(limit)
    if after is None:
        return query
    last = (literal(value, column.type) for column, value in zip(_ORDER, after[:-1], strict=True))
    return query.where(tuple_(*_ORDER) > tuple_(*last))


def _letter(row: Row[Any]) -> KnownLetter:
    *seen, fate = row
    return KnownLetter(Sighting(**dict(zip(Sighting.__struct_fields__, seen, strict=True))), fate)


def _decisions(session: Session, letter: LetterId) -> list[Decision]:
    columns = letter_audit.digested(fates)
    here = [fates.c[name] == value for name, value in zip(letter_audit.PLACE, letter, strict=True)]
    query = select(*columns, EntryRow.operation_id, EntryRow.at).join(EntryRow, EntryRow.id == fates.c.entry)
    return [
        Decision(Fate(LetterId(*place), name, reason, tuple(rules), topic, partition, offset), operation_id, at)
        for *place, name, reason, rules, topic, partition, offset, operation_id, at in session.execute(
            query.where(*here).order_by(fates.c.entry)
        )
    ]


def time_of(milliseconds: int) -> datetime:
    """Give milliseconds since 1970 as a time; what lies beyond Python's last year is its last millisecond."""
    return EPOCH + timedelta(milliseconds=min(milliseconds, _LAST))
