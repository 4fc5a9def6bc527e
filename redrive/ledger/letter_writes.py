"""Recording letters and fates, in bulk. Each function runs in a transaction that no other writer runs beside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import and_, exists, insert, select, tuple_, update
from sqlalchemy.orm import Session

from redrive.deadletters.dialects import Sighting
from redrive.deadletters.fate import NONE, Fate
from redrive.deadletters.letter_id import LetterId
from redrive.errors import StaleTriageError, UnknownLetterError
from redrive.ledger import chain, letter_audit
from redrive.ledger.letter_tables import dead_letters, fates, triage_positions
from redrive.ledger.models import EntryRow

T = TypeVar("T")

Partition = tuple[str, str, int]
"""Cluster, dead-letter topic, partition."""

_AT_ONCE = 1_000  # rows a statement, where each takes parameters: SQLite takes 32,766 of those


class Reach(NamedTuple):
    """How far a batch of letters reaches in one partition.

    Attributes:
        begin: the position that the ledger had when the batch was begun; None: it had none.
        next: the first offset after the batch.
    """

    begin: int | None
    next: int


def record(session: Session, operation_id: str, letters: Iterable[Sighting], reached: Mapping[Partition, Reach]) -> int:
    """See `redrive.ledger.letters.Letters.record`."""
    by_place = {(letter.cluster, letter.topic, letter.partition, letter.offset): letter for letter in letters}
    for cluster, topic, partition, offset in by_place:
        reach = reached.get((cluster, topic, partition))
        if reach is None or offset >= reach.next:
            raise ValueError(f"letter {cluster}:{topic}/{partition}/{offset} is beyond where the batch says it reaches")
    moved = {partition: reach for partition, reach in reached.items() if reach.begin != reach.next}
    _compare_positions(session, reached)
    new = sorted(by_place.keys() - known(session, by_place))
    if not moved and not new:
        return 0
    columns = [column.name for column in letter_audit.digested(dead_letters)]
    take = attrgetter(*columns)
    rows = [take(by_place[place]) for place in new]
    body = {
        "letters": len(rows),
        "digest": letter_audit.digest(rows),
        "partitions": {_name(partition): list(reach) for partition, reach in moved.items()},
    }
    entry = chain.append(session, operation_id, chain.LETTERS, body, datetime.now(UTC))
    if rows:
        more = {"entry": entry, "fate": NONE}
        session.execute(insert(dead_letters), [dict(zip(columns, row, strict=True)) | more for row in rows])
    for (cluster, topic, partition), reach in moved.items():
        place = {"cluster": cluster, "topic": topic, "partition": partition}
        if reach.begin is None:
            session.execute(insert(triage_positions).values(**place, next_offset=reach.next))
        else:
            same = and_(*(triage_positions.c[name] == value for name, value in place.items()))
            session.execute(update(triage_positions).where(same).values(next_offset=reach.next))
    return len(rows)


def record_fates(session: Session, operation_id: str, given: Sequence[Fate], *, of: str | None = None) -> int:
    """See `redrive.ledger.letters.Letters.record_fates`."""
    by_letter = {fate.letter: fate for fate in given}
    if len(by_letter) < len(given):
        raise ValueError("a letter has two fates in one batch; give them in two, so that one is the last")
    columns = [column.name for column in letter_audit.digested(fates)]
    rows = {tuple(letter): _row(fate) for letter, fate in by_letter.items()}
    for letter, known in _known_fates(session, of or operation_id, rows):
        if rows.get(letter) == known:
            del rows[letter]
    if not rows:
        return 0
    ordered = [row for _, row in sorted(rows.items())]
    body = {"fates": len(ordered), "digest": letter_audit.digest(ordered), "by_fate": _counts(ordered)}
    if of is not None:
        body["of"] = of
    entry = chain.append(session, operation_id, chain.FATES, body, datetime.now(UTC))
    session.execute(insert(fates), [dict(zip(columns, row, strict=True)) | {"entry": entry} for row in ordered])
    same_letter = [dead_letters.c[name] == fates.c[name] for name in letter_audit.PLACE]
    session.execute(update(dead_letters).where(fates.c.entry == entry, *same_letter).values(fate=fates.c.fate))
    places = [fates.c[name] for name in letter_audit.PLACE]
    unknown = select(*places).where(fates.c.entry == entry, ~exists().where(*same_letter)).order_by(*places).limit(1)
    if row := session.execute(unknown).first():
        raise UnknownLetterError(str(LetterId(*row)))
    return len(ordered)


def _compare_positions(session: Session, reached: Mapping[Partition, Reach]) -> None:
    place = tuple_(triage_positions.c.cluster, triage_positions.c.topic, triage_positions.c.partition)
    known: dict[Partition, int] = {}
    for some in _pieces(sorted(reached)):
        for cluster, topic, partition, position in session.execute(select(triage_positions).where(place.in_(some))):
            known[cluster, topic, partition] = position
    for at, reach in reached.items():
        if reach.next < (reach.begin or 0):
            raise ValueError(f"{_name(at)}: a position does not move back, from {reach.begin} to {reach.next}")
        if known.get(at) != reach.begin:
            raise StaleTriageError(_name(at), reach.begin, known.get(at))


def known(session: Session, places: Iterable[tuple[str, str, int, int]]) -> set[tuple[str, str, int, int]]:
    """Give the places in which the ledger has a letter: of these, all; and others that are between them."""
    found: set[tuple[str, str, int, int]] = set()
    for (cluster, topic, partition), first, last in _ranges(places):
        column = dead_letters.c
        within = and_(column.cluster == cluster, column.topic == topic, column.partition == partition)
        offsets = session.scalars(select(column.offset).where(within, column.offset.between(first, last)))
        found.update((cluster, topic, partition, offset) for offset in offsets)
    return found


def _known_fates(
    session: Session, author: str, places: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Give the last fate that an operation has given to each letter, whoever has entered it."""
    known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    column = fates.c
    given = select(*letter_audit.digested(fates), EntryRow.operation_id, EntryRow.body)
    given = given.join(EntryRow, EntryRow.id == column.entry).order_by(column.entry)
    for (cluster, topic, partition), offsets in _by_partition(places).items():
        here = given.where(column.cluster == cluster, column.topic == topic, column.partition == partition)
        # One by one, not from the first to the last: letters come in the order of the topics that they went to.
        for some in _pieces(offsets):
            for *row, by, body in session.execute(here.where(column.offset.in_(some))):
                if body.get("of", by) == author:
                    known[tuple(row[:4])] = tuple(row)
    yield from known.items()


def _ranges(places: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Partition, int, int]]:
    for at, offsets in _by_partition(places).items():
        yield at, min(offsets), max(offsets)


def _by_partition(places: Iterable[tuple[Any, ...]]) -> dict[Partition, list[int]]:
    offsets: defaultdict[Partition, list[int]] = defaultdict(list)
    for cluster, topic, partition, offset in places:
        offsets[cluster, topic, partition].append(offset)
    return offsets


def _row(fate: Fate) -> tuple[Any, ...]:
    return (*fate.letter, fate.name, fate.reason, list(fate.rules), fate.topic, fate.partition, fate.offset)


def _counts(rows: Iterable[tuple[Any, ...]]) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        counts[row[len(letter_audit.PLACE)]] += 1
    return dict(counts)


def _pieces(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(whole), _AT_ONCE):
        yield whole[at : at + _AT_ONCE]


def _name(partition: Partition) -> str:
    return f"{partition[0]}:{partition[1]}/{partition[2]}"


def partition_of(name: str) -> Partition:
    """Read the name of a partition, as entries of the journal have it."""
    cluster, _, place = name.partition(":")
    topic, _, number = place.rpartition("/")
    return cluster, topic, int(number)
