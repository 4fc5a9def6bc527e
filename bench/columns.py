"""The migration alone, without Kafka: CPU for a batch of flights, beside fastavro's reader and writer, and beside ours.

Processor time, not the clock's: what else the machine does counts for nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from time import process_time

import fastavro

from bench.backfill import next_version
from bench.measure import Row, compare
from bench.platform import SCHEMA
from deployments.demo.flights import flights
from redrive.avro.codec import Encoder
from redrive.avro.schema import AvroSchema, parse
from redrive.events import Event
from redrive.migrations.migrator import Migrator, Recipe
from redrive.wire import HEADER_SIZE, prefix

BATCHES = (500, 2_000, 8_000)
SECONDS = 1.0
OLD, NEW = 1, 2


def rows(_folder: Path) -> list[Row]:
    """Return the rows about the migration of batches."""
    found = []
    for size in BATCHES:
        flown = Flights(size)
        what = f"migrating batches of {size:,}, columns beside"
        found += [
            compare(f"{what} fastavro's reader and writer (events/CPU s)", flown.columns, flown.fastavro, at_least=6),
            compare(f"{what} one by one (events/CPU s)", flown.columns, flown.one_by_one, at_least=4),
        ]
    return found


class Flights:
    """A batch of flights, and three ways to migrate it."""

    def __init__(self, size: int) -> None:
        before = json.loads(SCHEMA.read_text())
        after = next_version(before)
        self._old, self._new = fastavro.parse_schema(before), fastavro.parse_schema(after)
        old, new = parse(json.dumps(before)), parse(json.dumps(after))
        encode = Encoder(old).encode
        values = (value for _, _, value in flights() if value["dep_time"] is not None)
        self._events = [
            Event(str(number), "flights", b"k", encode(value, prefix(OLD)), [], 0)
            for number, value in enumerate(islice(values, size))
        ]
        self._migrator = Migrator(Recipe(NEW, {OLD: old, NEW: new}), _unasked)
        by_columns, by_fastavro = self._migrator.migrate_batch(self._events), self._by_fastavro()
        assert [event.value for event in by_columns if isinstance(event, Event)] == by_fastavro

    def columns(self) -> float:
        """Return events a second of CPU of ours, as the job migrates a batch."""
        return self._rate(lambda: self._migrator.migrate_batch(self._events))

    def one_by_one(self) -> float:
        """Return events a second of CPU of ours, event by event."""
        return self._rate(lambda: [self._migrator.migrate(event) for event in self._events])

    def fastavro(self) -> float:
        """Return events a second of CPU of fastavro alone, without the checks."""
        return self._rate(self._by_fastavro)

    def _by_fastavro(self) -> list[bytes]:
        framed, values = prefix(NEW), []
        for event in self._events:
            assert event.value is not None
            value = fastavro.schemaless_reader(io.BytesIO(event.value[HEADER_SIZE:]), self._old, self._new)
            body = io.BytesIO()
            body.write(framed)
            fastavro.schemaless_writer(body, self._new, value)
            values.append(body.getvalue())
        return values

    def _rate(self, work: Callable[[], object]) -> float:
        done, started = 0, process_time()
        while (taken := process_time() - started) < SECONDS:
            work()
            done += len(self._events)
        return done / taken


def _unasked(schema_id: int) -> AvroSchema:
    raise AssertionError(schema_id)
