"""A backfill's transform: what goes by columns is done at once, the rest in other processes, and order stays.

And its comparison of values: what the migration makes of each, and what fastavro does by itself.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest

from redrive.events import Event, with_value
from redrive.migrations import batches
from redrive.migrations.batches import compare, transform
from redrive.migrations.migrator import Migrator, Recipe
from redrive.migrations.verifying import Compare
from redrive.pump.model import Chunk, Rejected
from redrive.pump.workers import Workers
from redrive.schemas import SchemaRegistry
from tests.unit.test_columns import NEW, NEXT, OLD, ORDERS, framed, migrator, orders

SPEC = pickle.dumps((Recipe(NEW, {NEW: NEXT, OLD: ORDERS}), {"url": "http://registry"}))
POISON = framed(b"\x01\x02")


def test_what_columns_take_needs_no_process_nor_does_a_little_else():
    good = orders(300)
    chunk = Chunk([*good[:200], POISON, *good[200:]], b"cursor")
    with Workers(1) as workers:
        [(came, became)] = transform(workers, SPEC)(iter([chunk]))
        assert workers._executor is None
    assert came is chunk
    assert list(became) == [migrator(NEXT, ORDERS).migrate(event) for event in chunk.events]
    assert [place for place, each in enumerate(became) if isinstance(each, Rejected)] == [200]


def test_much_that_columns_do_not_take_goes_to_processes_and_comes_back_in_its_place():
    good = orders(600)
    mixed = [event for pair in zip(good, [POISON] * 150, strict=False) for event in pair] + good[150:]
    chunks = [Chunk(mixed, b"1"), Chunk([], b"2"), Chunk(good[:300], b"3")]
    with Workers(1) as workers:
        came = list(transform(workers, SPEC)(iter(chunks)))
        assert workers._executor is not None
    assert [chunk.cursor for chunk, _ in came] == [b"1", b"2", b"3"]
    one_by_one = migrator(NEXT, ORDERS).migrate
    assert [list(became) for _, became in came] == [[one_by_one(event) for event in chunk.events] for chunk in chunks]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Compares values, with a registry that knows these schemas."""
    monkeypatch.setattr(SchemaRegistry, "schema", lambda _, schema_id: {NEW: NEXT, OLD: ORDERS}[schema_id])
    return compare(SPEC)


def migrated(events: Sequence[Event]) -> list[Event]:
    one_by_one = migrator(NEXT, ORDERS).migrate
    return [became for event in events if isinstance(became := one_by_one(event), Event)]


def test_values_that_are_encoded_to_the_same_bytes_need_not_be_read(
    compared: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = orders(300)
    monkeypatch.setattr(batches, "same", None)
    assert compared([(event, copy.value) for event, copy in zip(events, migrated(events), strict=True)]) == [""] * 300


def test_a_value_that_the_migration_does_not_make_is_found(compared: Compare) -> None:
    first, second = orders(2)
    other = migrated(orders(1, total=251))[0].value
    assert compared([(first, other), (second, migrated([second])[0].value)]) == [
        "its value is not what the migration makes of it",
        "",
    ]


def test_a_value_that_the_migration_makes_and_avro_does_not_is_found(
    compared: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, wrong = *orders(1), migrated(orders(1, total=251))[0]
    monkeypatch.setattr(Migrator, "migrate_batch", lambda *_: [wrong])
    assert compared([(event, wrong.value)]) == ["its value is not what Avro resolves the old one to"]


def test_a_number_that_was_rounded_is_found_though_avro_rounds_as_well(compared: Compare) -> None:
    (event,) = orders(1, total=2**53 + 1)
    rounded = migrated(orders(1, total=2**53))[0].value
    [complaint] = compared([(event, rounded)])
    assert complaint.startswith("it is in the target, though it can't be migrated")


def test_a_value_that_passes_as_it_is_may_be_encoded_otherwise_than_we_do(compared: Compare) -> None:
    (copy,) = migrated(orders(1))
    assert copy.value is not None
    longer = copy.value[:5] + bytes([copy.value[5] | 0x80, 0]) + copy.value[6:]  # its first number, in more bytes
    event = with_value(copy, longer)
    assert compared([(event, longer), (event, copy.value)]) == ["", "its value is not what the migration makes of it"]
