"""Columns are migrated whole to what their events are migrated to one by one, also with an odd one among them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from redrive.avro.schema import AvroSchema
from redrive.columnar.events import EventColumns
from redrive.errors import UnknownSchemaError
from redrive.events import Event, with_value
from redrive.migrations import batches
from redrive.migrations.batches import compare, transform
from redrive.migrations.columns.batch import _GIVE_UP_AFTER
from redrive.migrations.columns.coverage import FEWEST
from redrive.migrations.migrator import Recipe
from redrive.migrations.pairing import ColumnPairs
from redrive.migrations.source import events_of
from redrive.migrations.unit import Unit
from redrive.pump.model import Chunk, Rejected, Transformed
from redrive.pump.workers import Workers
from redrive.schemas import SchemaRegistry
from redrive.wire import prefix
from tests.columnar import Plain, column, records
from tests.unit.test_columns import NEW, NEXT, OLD, OLDER, ORDERS, migrator, orders

UNIT = Unit("one", "orders", "orders.v2", 3)
SPEC = pickle.dumps((Recipe(NEW, {NEW: NEXT, OLD: ORDERS, OLDER: ORDERS}), {"url": "http://registry"}))
COUNT = 3 * FEWEST
VALUES = [event.value or b"" for event in orders(COUNT)]


def messages(values: Sequence[bytes | None]) -> list[Plain]:
    return [
        Plain(2 * number, b"k%d" % number, value, [("h", b"%d" % number), ("none", None)], number)
        for number, value in enumerate(values)
    ]


def columns(values: Sequence[bytes | None]) -> EventColumns:
    events = events_of(records(messages(values)), UNIT)
    assert isinstance(events, EventColumns)
    return events


def transformed(events: Sequence[Event]) -> Sequence[Transformed]:
    """Transform a chunk; what comes must be what comes of its events one by one."""
    with Workers(0) as workers:
        [(chunk, became)] = transform(workers, SPEC)(iter([Chunk(events, b"cursor", {"gone": 1})]))
    assert (chunk.cursor, chunk.skipped) == (b"cursor", {"gone": 1})
    assert [*chunk.events] == [*events]
    one_by_one = migrator(NEXT, ORDERS, ORDERS).migrate
    assert [*became] == [one_by_one(event) for event in events]
    return became


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def schema(_: SchemaRegistry, schema_id: int) -> AvroSchema:
        if schema_id not in {NEW, OLD, OLDER}:
            raise UnknownSchemaError(schema_id, "http://registry")
        return NEXT if schema_id == NEW else ORDERS

    monkeypatch.setattr(SchemaRegistry, "schema", schema)
    batches._tools.cache_clear()  # what was in vain is remembered


def test_what_is_usual_stays_columns() -> None:
    became = transformed(columns(VALUES))
    assert isinstance(became, EventColumns)
    assert isinstance(transformed(columns(VALUES)[7:150]), EventColumns)


def migrated(value: bytes) -> bytes | None:
    became = migrator(NEXT, ORDERS).migrate(with_value(orders(1)[0], value))
    assert isinstance(became, Event)
    return became.value


ODD: dict[str, Callable[[bytes], bytes | None]] = {
    "a tombstone": lambda _: None,
    "nothing": lambda _: b"",
    "less than a frame": lambda value: value[:3],
    "a frame alone": lambda value: value[:5],
    "another schema": lambda value: prefix(OLDER) + value[5:],
    "the target's schema": migrated,
    "a schema that nobody knows": lambda value: b"\0\0\0\0\x09" + value[5:],
    "no frame": lambda value: b"\x01" + value[1:],
    "a trailing byte": lambda value: value + b"\0",
    "a byte too few": lambda value: value[:-1],
    "a number in more bytes than it needs": lambda value: value[:5] + bytes([value[5] | 0x80, 0]) + value[6:],
    "poison": lambda value: value[:5] + b"\x01\x02",
    "a number that would be rounded": lambda _: orders(1, total=2**53 + 1)[0].value,
}


@pytest.mark.parametrize("place", [0, FEWEST, COUNT - 1])
@pytest.mark.parametrize("odd", ODD)
def test_one_odd_event_is_migrated_as_alone_and_so_are_those_around_it(odd: str, place: int) -> None:
    values: list[bytes | None] = [*VALUES]
    values[place] = ODD[odd](VALUES[place])
    became = transformed(columns(values))
    assert isinstance(became, list)
    assert sum(isinstance(each, Event) for each in became) >= COUNT - 1


def test_an_event_with_headers_that_can_t_be_read_is_rejected_among_others_that_are_migrated() -> None:
    given = messages(VALUES)
    given[7] = replace(given[7], has_headers=[("h", b"v"), (b"bad\xff", b"v")])
    became = transformed(events_of(records(given), UNIT))
    assert [number for number, each in enumerate(became) if isinstance(each, Rejected)] == [7]


def test_a_few_events_are_migrated_as_alone() -> None:
    for count in (0, 1, FEWEST - 1):
        transformed(columns(VALUES[:count]))


def test_columns_of_other_bytes_than_the_per_event_way_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = migrator(NEXT, ORDERS)
    wrong = column(VALUES)
    monkeypatch.setattr("redrive.migrations.columns.columns.Columns.whole", lambda *_: wrong)
    with caplog.at_level(logging.ERROR):
        assert tried.whole(columns(VALUES)) is None
    assert "columns gave other bytes than the per-event way" in caplog.text


def test_where_it_was_in_vain_often_it_is_not_tried_for_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, calls = migrator(NEXT, ORDERS), []
    monkeypatch.setattr("redrive.migrations.columns.columns.Columns.whole", lambda *given: calls.append(given))
    for _ in range(2 * _GIVE_UP_AFTER):
        assert tried.whole(columns(VALUES)) is None
    assert len(calls) == _GIVE_UP_AFTER


def test_after_that_time_batches_that_are_usual_again_are_taken_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redrive.migrations.columns.batch._IN_PARTS", 3)
    tried = migrator(NEXT, ORDERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("redrive.migrations.columns.columns.Columns.whole", lambda *_: None)
        for _ in range(_GIVE_UP_AFTER):
            assert tried.whole(columns(VALUES)) is None
    became = [tried.whole(columns(VALUES)) for _ in range(6)]
    assert [each is not None for each in became] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(("place", "other"), [(None, True), (0, True), (50, True), (50, None)])
def test_values_are_compared_as_columns_to_what_they_are_one_by_one(place: int | None, other: bool | None) -> None:
    events = columns(VALUES)
    after = [migrated(value) for value in VALUES]
    if place is not None:
        after[place] = after[place - 1] if other else None
    pairs = ColumnPairs(events, column(after))
    complaints = compare(SPEC)(pairs)
    assert complaints == compare(SPEC)([*pairs])
    assert [number for number, each in enumerate(complaints) if each] == ([] if place is None else [place])
