"""A batch is migrated to exactly what its events are migrated to one by one: values, reasons, bytes."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from redrive.avro.codec import Encoder
from redrive.avro.schema import AvroSchema, parse
from redrive.errors import SchemaError
from redrive.events import Event
from redrive.migrations.columns.columns import Columns
from redrive.migrations.columns.coverage import FEWEST, cover
from redrive.migrations.migrator import Migrator, Recipe
from redrive.wire import prefix
from tests.properties.avro_evolution import evolved, parsed
from tests.properties.avro_values import LOGICAL, schemas, value_of

SCALARS = ["boolean", "int", "long", "float", "double", "string"]
TIMES = [{"type": base, "logicalType": name} for base, name in LOGICAL if base != "string" and name != "no-such-type"]
SYMBOLS = ["A", "B", "C"]


@st.composite
def records(draw: st.DrawFn) -> Any:
    """Draw a schema, in JSON form, of what columns are for."""
    number = itertools.count()

    def record(depth: int) -> Any:
        fields = [{"name": f"f{at}", "type": part(depth)} for at in range(draw(st.integers(1, 4)))]
        return {"type": "record", "name": f"R{next(number)}", "fields": fields}

    def part(depth: int) -> Any:
        kind = draw(st.sampled_from(["scalar"] * 4 + ["time", "enum", "null", "record", "array", "map"]))
        if kind == "time":
            return draw(st.sampled_from(TIMES))
        if kind == "enum":
            return {"type": "enum", "name": f"E{next(number)}", "symbols": SYMBOLS}
        if kind == "scalar" or depth == 0:
            return draw(st.sampled_from(SCALARS))
        if kind == "record":
            return record(depth - 1)
        inner = part(depth - 1)
        if kind == "null":
            return inner if isinstance(inner, list) else draw(st.permutations(["null", inner]))
        return {"type": "array", "items": inner} if kind == "array" else {"type": "map", "values": inner}

    return record(2)


@st.composite
def pairs(draw: st.DrawFn, written: st.SearchStrategy[Any]) -> tuple[AvroSchema, AvroSchema]:
    old = draw(written)
    return parse(json.dumps(old), name="old"), parsed(draw(evolved(old)), old)


def spoiled(body: bytes) -> st.SearchStrategy[bytes]:
    """Draw bytes that are a value no more, or another one, or the same one otherwise."""
    places = st.integers(0, max(len(body) - 1, 0))
    return st.one_of(
        st.binary(max_size=12),
        st.binary(min_size=1, max_size=3).map(lambda more: body + more),
        places.map(lambda place: body[:place]),
        st.tuples(places, st.integers(0, 255) | st.integers(128, 255)).map(
            lambda at: body[: at[0]] + bytes([at[1]]) + body[at[0] + 1 :]
        ),
        places.map(lambda place: body[:place] + bytes([body[place] | 0x80, 0]) + body[place + 1 :] if body else b""),
        st.tuples(places, st.sampled_from([b"\xff" * 9 + b"\x01", b"\xfe" + b"\xff" * 8 + b"\x01", b"\xff\xff"])).map(
            lambda at: body[: at[0]] + at[1] + body[at[0] :]
        ),
    )


def event(body: bytes, number: int) -> Event:
    return Event(f"e-{number}", "t", b"k", prefix(1) + body, [("h", b"v")], number, 3, "o")


@settings(max_examples=300, deadline=None)
@given(st.one_of(pairs(records()), pairs(records()), pairs(schemas())), st.data())
def test_a_batch_is_migrated_to_what_its_events_are_migrated_to(
    pair: tuple[AvroSchema, AvroSchema], data: st.DataObject
) -> None:
    """Three quarters of the batch are good, in which few values recur; what is spoiled stands in the last quarter."""
    old, new = pair
    recipe = Recipe(2, {1: old, 2: new})
    try:
        encode, batches, one_by_one = Encoder(old).encode, Migrator(recipe, asked), Migrator(recipe, asked)
    except SchemaError:
        return
    bodies = [encode(value) for value in data.draw(st.lists(value_of(old.inner, old.named), min_size=1, max_size=4))]
    many = [*itertools.islice(itertools.cycle(bodies), 4 * FEWEST)]
    for _ in range(data.draw(st.integers(0, 4))):
        many.insert(data.draw(st.integers(3 * FEWEST, len(many))), data.draw(st.sampled_from(bodies).flatmap(spoiled)))
    events = [event(body, number) for number, body in enumerate(many)]
    assert batches.migrate_batch(events) == [one_by_one.migrate(event) for event in events]


@settings(max_examples=150, deadline=None)
@given(pairs(records()), st.data())
def test_what_is_usual_goes_by_columns(pair: tuple[AvroSchema, AvroSchema], data: st.DataObject) -> None:
    old, new = pair
    covered = cover(old, new)
    values = data.draw(st.lists(value_of(old.inner, old.named).filter(usual), min_size=1, max_size=3))
    if covered is None:
        return
    bodies = [Encoder(old).encode(value) for value in values] * FEWEST
    migrated = Columns(covered).migrate(bodies)
    migrator = Migrator(Recipe(2, {1: old, 2: new}), asked)
    for body, became in zip(bodies[: len(values)], migrated, strict=False):
        assert became is not None
        one = migrator.migrate(event(body, 0))
        assert isinstance(one, Event)
        assert one.value == prefix(2) + became


def usual(value: Any) -> bool:
    """Say whether a value has neither NaN nor integers that a float does not keep."""
    if isinstance(value, dict):
        return all(map(usual, value.values()))
    if isinstance(value, list):
        return all(map(usual, value))
    if isinstance(value, int):
        return abs(value) <= 2**24
    return bool(value == value)  # noqa: PLR0124 - NaN is not


def asked(schema_id: int) -> AvroSchema:
    raise AssertionError(schema_id)
