"""Which dead letters are meant, as a condition on their table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, tuple_

from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection, key_bytes
from redrive.ledger import letter_audit
from redrive.ledger.letter_tables import dead_letters

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def condition(selection: Selection) -> ColumnElement[bool]:
    """Give a selection as a condition on the table of dead letters."""
    column = dead_letters.c
    lists: list[tuple[ColumnElement[Any], Sequence[Any]]] = [
        (column.reason, selection.reasons),
        (column.producer, selection.producers),
        (column.main_topic, selection.topics),
        (column.cluster, selection.clusters),
        (column.key, [key_bytes(key) for key in selection.event_keys]),
        (column.schema_id, selection.schema_ids),
        (column.dialect, selection.dialects),
        (column.fate, selection.fates),
    ]
    all_of: list[ColumnElement[bool]] = [element.in_(entries) for element, entries in lists if entries]
    if selection.dead_letter_topics:
        all_of.append(_of_topics(selection.dead_letter_topics))
    if selection.since is not None:
        all_of.append(column.timestamp >= _milliseconds(selection.since))
    if selection.until is not None:
        all_of.append(column.timestamp < _milliseconds(selection.until))
    if selection.ids:
        all_of.append(_among([LetterId.parse(text) for text in selection.ids]))
    return and_(True, *all_of)


def by_event(event_id: str) -> ColumnElement[bool]:
    """Give the condition for the letters of one event."""
    return dead_letters.c.event_id == event_id


def by_id(letter: LetterId) -> ColumnElement[bool]:
    """Give the condition for the letter of one id, or those, if it leaves the cluster open."""
    return _among([letter])


def _of_topics(names: Sequence[str]) -> ColumnElement[bool]:
    """Give the condition for letters of dead-letter topics, also of those that were made anew under these names."""
    topic = dead_letters.c.topic
    anew = or_(*(topic.startswith(f"{name}@", autoescape=True) for name in names))
    return or_(topic.in_(names), and_(topic.contains("@"), anew))


def _among(ids: list[LetterId]) -> ColumnElement[bool]:
    place = [dead_letters.c[name] for name in letter_audit.PLACE]
    full = [tuple(letter) for letter in ids if letter.cluster is not None]
    short = [tuple(letter[1:]) for letter in ids if letter.cluster is None]
    return or_(
        *([tuple_(*place).in_(full)] if full else []),
        *([tuple_(*place[1:]).in_(short)] if short else []),
    )


def _milliseconds(moment: datetime) -> int:
    """Give the first millisecond since 1970 that is not before the moment."""
    return -((EPOCH - moment) // timedelta(milliseconds=1))
