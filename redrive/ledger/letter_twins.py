"""Which dead letters are of the same event, by what the ledger has of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, LargeBinary, Row, and_, case, func, literal, or_, select
from sqlalchemy.orm import Session

from redrive.deadletters.fate import FateOrNone
from redrive.deadletters.letter_id import LetterId
from redrive.ledger import letter_audit
from redrive.ledger.letter_tables import dead_letters, fates
from redrive.ledger.letter_writes import Partition


class Twin(NamedTuple):
    """One of several letters of the same event.

    Attributes:
        main_topic: its own.
        written: the letter's own timestamp, in milliseconds since 1970.
        correctable: whether all of its value is there.
        fate: the last one's name, or ``none``.
        published: topic, partition and offset at which it was; None: it was not.
        moves: whether its event goes to another topic than its main topic; this and what follows is not the ledger's.
        waits: why nothing can be published of it; empty: something can, or nobody has looked.
        reached: other names of its main topic whose readers have got what was published of it.
    """

    letter: LetterId
    main_topic: str
    written: int
    correctable: bool
    fate: FateOrNone
    published: tuple[str, int, int] | None = None
    moves: bool = False
    waits: str = ""
    reached: Set[str] = frozenset()


class Events(NamedTuple):
    """What some letters say of their events: whatever letter is of one of these events says the same.

    Attributes:
        ids: event ids.
        offsets: on main topics, of those letters that have no event id. At most some ten thousand.
    """

    ids: set[str]
    offsets: set[int]

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Give conditions that such letters meet; letters of one event meet the same one."""
        ids = sorted(self.ids)
        for at in range(0, len(ids), _AT_ONCE):
            yield _COLUMN.event_id.in_(ids[at : at + _AT_ONCE])
        if self.offsets:  # no index is by these: all letters without an id are looked at, so once and not in pieces
            yield and_(_COLUMN.event_id.is_(None), _COLUMN.main_offset.in_(sorted(self.offsets)))


_COLUMN = dead_letters.c
_TWIN = [_COLUMN[name] for name in (*letter_audit.PLACE, "main_topic", "timestamp", "correctable", "fate")]
_PUBLISHED = [fates.c[name] for name in ("to_topic", "to_partition", "to_offset")]
_PLACE = [_COLUMN[name] for name in ("main_partition", "main_offset", "producer", "attempts")]
_SEEN = [_COLUMN[name] for name in ("main_timestamp", "key", "dialect")]
_WHERE = slice(len(_TWIN), len(_TWIN) + len(_PLACE))
_WHAT = slice(_WHERE.stop, _WHERE.stop + len(_SEEN))
_MAIN_TOPIC = len(letter_audit.PLACE)
_AT_ONCE = 1_000
_IS_PLACED = and_(_COLUMN.main_partition.is_not(None), _COLUMN.main_offset.is_not(None))
_IS_PRODUCERS = and_(_COLUMN.main_partition.is_(None), _COLUMN.main_offset.is_(None), _COLUMN.dialect == "own")
_NO_KEY = literal(b"", LargeBinary)
_KEY = func.coalesce(_COLUMN.key, _NO_KEY)
_IS_NAMED, _IS_DATED = _COLUMN.event_id.is_not(None), _COLUMN.main_timestamp.is_not(None)


def events_of(session: Session, letters: Iterable[tuple[Partition, Sequence[int]]]) -> Events:
    """See `redrive.ledger.letters.Letters.events_of`."""
    events = Events(set[str](), set[int]())
    for partition, offsets in letters:
        here = [_COLUMN[name] == value for name, value in zip(letter_audit.PLACE, partition, strict=False)]
        query = select(_COLUMN.event_id, _COLUMN.main_offset).where(*here)
        for at in range(0, len(offsets), _AT_ONCE):
            some = _COLUMN.offset.in_(list(offsets[at : at + _AT_ONCE]))
            for event_id, main_offset in session.execute(query.where(some)):
                if event_id is not None:
                    events.ids.add(event_id)
                elif main_offset is not None:
                    events.offsets.add(main_offset)
    return events


def twins(session: Session, cluster: str, main_topic: str) -> Iterator[list[Twin]]:
    """See `redrive.ledger.letters.Letters.twins`."""
    here = and_(_COLUMN.cluster == cluster, _COLUMN.main_topic == main_topic)
    yield from _twins_where(session, here, func.count() > 1)


def twins_among(session: Session, events: Events) -> Iterator[list[Twin]]:
    """Do as `twins`, for letters that say what is said of some events, whatever their cluster and main topic."""
    for its in events.conditions():
        yield from _twins_where(session, its)


def _twins_where(
    session: Session, which: ColumnElement[bool], several: ColumnElement[bool] | None = None
) -> Iterator[list[Twin]]:
    # Nowhere null, so that a database can join by it; what is not compared is the same for all. An id alone does not
    # do: whoever counts from 1, or for each key, uses it again.
    event = [
        _COLUMN.cluster.label("event_cluster"),
        _COLUMN.main_topic.label("event_topic"),
        func.coalesce(_COLUMN.main_partition, -1).label("event_partition"),
        func.coalesce(_COLUMN.main_offset, -1).label("event_offset"),
        func.coalesce(_COLUMN.event_id, "").label("event_name"),
        case((and_(_IS_PLACED, _IS_NAMED), 0), else_=_COLUMN.main_timestamp).label("event_time"),
        case((_IS_PLACED, ""), else_=_COLUMN.producer).label("event_producer"),
        case((_IS_PLACED, _NO_KEY), else_=_KEY).label("event_key"),
    ]
    known = (
        which,
        or_(and_(_IS_PLACED, _IS_NAMED), _IS_DATED),
        or_(_IS_PLACED, and_(_IS_PRODUCERS, _IS_NAMED)),
    )
    for group in _of_events(session, event, known, several):
        for letters in _events(group):
            if len(found := _twins(letters)) > 1:
                yield found


def twins_by_other_names(
    session: Session, cluster: str, names: Collection[str], events: Events | None = None
) -> Iterator[list[Twin]]:
    """See `redrive.ledger.letters.Letters.twins_by_other_names`."""
    event = [
        _COLUMN.event_id.label("event_name"),
        _COLUMN.main_timestamp.label("event_time"),
        _KEY.label("event_key"),
    ]
    several = func.min(_COLUMN.main_topic) != func.max(_COLUMN.main_topic) if events is None else None
    for which in _of_names(cluster, sorted(names), events):
        known = (which, _IS_NAMED, _IS_DATED, or_(_IS_PLACED, _IS_PRODUCERS))
        for rows in _of_events(session, event, known, several):
            for letters in _copies(rows):
                yield _twins(letters)


def _of_names(cluster: str, names: Sequence[str], events: Events | None) -> Iterator[ColumnElement[bool]]:
    if events is None:
        yield and_(_COLUMN.cluster == cluster, _COLUMN.main_topic.in_(names))
        return
    # With nothing behind them, so that a database looks for letters of the events, not at all that these topics have.
    here = and_(_COLUMN.cluster.concat("") == cluster, _COLUMN.main_topic.concat("").in_(names))
    for its in events.conditions():
        yield and_(here, its)


def _of_events(
    session: Session,
    event: Sequence[ColumnElement[Any]],
    known: Iterable[ColumnElement[bool]],
    several: ColumnElement[bool] | None,
) -> Iterator[Iterable[Row[Any]]]:
    """Give the letters of each event: columns of a twin, place, what it is, fate, event.

    Args:
        session: the database.
        event: what is the same of letters of one event.
        known: which letters.
        several: give only events of which this is so, which a database finds out by looking at all of them; None: give
            all, also those that have one letter.
    """
    known, wanted = list(known), [*_TWIN, *_PLACE, *_SEEN]
    letter = select(*wanted, *event).where(*known).subquery()
    of_event = [letter.c[each.name] for each in event]
    query = select(*(letter.c[each.name] for each in wanted), *_PUBLISHED, *of_event)
    if several is not None:
        those = select(*event).where(*known).group_by(*event).having(several).subquery()
        query = query.join(those, and_(*(those.c[each.name] == each for each in of_event)))
    its = (fates.c[name] == letter.c[name] for name in letter_audit.PLACE)
    query = query.outerjoin(fates, and_(letter.c.fate == "published", fates.c.fate == "published", *its))
    rows = session.execute(query.order_by(*of_event).execution_options(yield_per=_AT_ONCE))
    for _, group in groupby(rows, key=lambda row: row[len(wanted) + len(_PUBLISHED) :]):
        yield group


def _events(rows: Iterable[Row[Any]]) -> list[list[Row[Any]]]:
    """Divide letters that name the same place and id by what else is known of their events.

    A topic that was made anew has its places again, and a producer that counts from 1 its ids. What a letter does not
    say is alike, and so is the time in one of Kafka Connect: it is the letter's own where brokers set that.
    """
    rows = list(rows)
    if len({row[_WHAT] for row in rows}) == 1:
        return [rows]
    events: list[tuple[dict[str, Any], list[Row[Any]]]] = []

    def says(row: Row[Any]) -> dict[str, Any]:
        time, key, dialect = row[_WHAT]
        said = {"time": None if dialect == "connect" else time, "key": key}
        return {name: value for name, value in said.items() if value}

    # Who says most comes first, so that it does not hang on the order which of them are one.
    for said, row in sorted(
        ((says(row), row) for row in rows), key=lambda each: (-len(each[0]), each[1][: len(_TWIN)])
    ):
        for known, letters in events:
            if all(known.get(name, value) == value for name, value in said.items()):
                known.update(said)
                letters.append(row)
                break
        else:
            events.append((said, [row]))
    return [letters for _, letters in events]


def _copies(rows: Iterable[Row[Any]]) -> Iterator[list[Row[Any]]]:
    """Group letters of one event, in topics that are copies of each other, by when in its life they were written.

    An event that was published again is in another place of the topic, and so is its copy in the other one. It says how
    often it had become a letter by then; of the letters that were written of it in one place, the first one says it.
    """
    places: defaultdict[tuple[Any, ...], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        partition, offset, producer, _ = row[_WHERE]
        places[(producer,) if partition is None else (row[_MAIN_TOPIC], partition, offset)].append(row)
    copies: defaultdict[Any, list[Row[Any]]] = defaultdict(list)
    for place, letters in places.items():
        copies[place if len(place) == 1 else min(row[_WHERE][-1] for row in letters)] += letters
    for letters in copies.values():
        if len({row[_MAIN_TOPIC] for row in letters}) > 1:
            yield letters


def _twins(rows: Iterable[Row[Any]]) -> list[Twin]:
    # By letter: one whose fate was entered again, as another operation's, has several.
    found: dict[LetterId, Twin] = {}
    for row in rows:
        letter, place = LetterId(*row[:_MAIN_TOPIC]), tuple(row[_WHAT.stop : _WHAT.stop + len(_PUBLISHED)])
        main_topic, written, correctable, fate = row[_MAIN_TOPIC : len(_TWIN)]
        found[letter] = Twin(letter, main_topic, written, correctable, fate, None if None in place else place)
    return list(found.values())
