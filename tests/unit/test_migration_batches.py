"""A backfill's transform: what goes by columns is done at once, the rest in other processes, and order stays."""

from __future__ import annotations

import pickle

from redrive.migrations.batches import transform
from redrive.migrations.migrator import Recipe
from redrive.pump.model import Chunk, Rejected
from redrive.pump.workers import Workers
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
