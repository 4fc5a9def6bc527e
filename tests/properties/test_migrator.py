"""Migrating any value of any schema to a schema that has evolved from it gives what fastavro's resolution gives."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError
from hypothesis import given, settings
from hypothesis import strategies as st

from redrive.avro.codec import Encoder
from redrive.avro.schema import WRAPPED, AvroSchema, parse, record_of
from redrive.errors import SchemaError
from redrive.events import Event
from redrive.migrations.migrator import Migrator, Recipe
from redrive.migrations.unions import tells_branches
from redrive.pump.model import Rejected
from redrive.wire import prefix
from tests.properties.avro_evolution import evolved, parsed
from tests.properties.avro_values import same, schemas, value_of

# A rule that is for no event: what it leaves is resolved by ours, not by fastavro.
IDLE = "topic: t\nup: {match: all, rules: [{name: idle, match: {when: event.topic == 'other'}, skip: never}]}"


@st.composite
def migrations(draw: st.DrawFn) -> tuple[AvroSchema, AvroSchema, Any]:
    written = draw(schemas())
    wanted = draw(evolved(written))
    old, new = parse(json.dumps(written), name="old"), parsed(wanted, written)
    return old, new, draw(value_of(old.inner, old.named))


def read(body: bytes, old: AvroSchema, new: AvroSchema | None) -> Any:
    """Read by fastavro alone, with the names of branches that have one."""
    source = record_of(old.inner, old.named)
    target = None if new is None else record_of(new.inner, new.named)
    stream = BytesIO(body)
    value: Any = fastavro.schemaless_reader(stream, source, target, return_named_type=True)
    assert not stream.read()
    return value[WRAPPED]


def alike(found: Any, expected: Any) -> bool:
    """Compare what was read.

    fastavro names no branch of what the old schema has no union for. And of bytes and string, it takes the branch that
    comes first in the new union, where ours stays with the value's own type.
    """
    if isinstance(found, tuple) and not isinstance(expected, tuple):
        found = found[1]
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(alike(found[key], expected[key]) for key in found)
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(found, str) and isinstance(expected, bytes):
        return found.encode() == expected
    if isinstance(found, bytes) and isinstance(expected, str):
        return found == expected.encode()
    return same(found, expected)


@settings(max_examples=300, deadline=None)
@given(migrations(), st.sampled_from(["", IDLE]))
def test_what_comes_out_is_what_fastavro_resolves(migration: tuple[AvroSchema, AvroSchema, Any], rules: str) -> None:
    old, new, value = migration
    try:
        event = Event("e", "t", b"k", Encoder(old).encode(value, prefix(1)), [("h", b"v")], 5, 3, "o")
        migrator = Migrator(Recipe(2, {1: old, 2: new}, rules), ask=dict[int, AvroSchema]().__getitem__)
        migrated = migrator.migrate(event)
    except SchemaError:
        return
    assert event.value is not None
    try:
        expected = read(event.value[5:], old, new)
    except (SchemaResolutionError, UnicodeDecodeError, TypeError, ValueError, AttributeError):
        if not rules:  # values may fit where types don't: an integer of a long fits an int
            assert isinstance(migrated, Rejected)
        return
    if isinstance(migrated, Rejected):
        lossy = "more digits" in migrated.reason or "outside the range of float" in migrated.reason
        unclear = "alike" in migrated.reason and not tells_branches(new) and rules
        endless = "array whose items take no bytes" in migrated.reason
        assert lossy or unclear or endless, migrated
        return
    assert isinstance(migrated, Event)
    assert migrated.value is not None
    assert migrated.value[:5] == prefix(2)
    assert alike(read(migrated.value[5:], new, None), expected)
    assert (migrated.id, migrated.key, migrated.headers, migrated.timestamp) == ("e", b"k", [("h", b"v")], 5)
    assert (migrated.topic, migrated.partition, migrated.origin) == ("t", 3, "o")


@settings(max_examples=200, deadline=None)
@given(migrations(), st.binary(max_size=20), st.sampled_from(["", IDLE]))
def test_bytes_of_any_kind_are_migrated_or_rejected_and_never_raise(
    migration: tuple[AvroSchema, AvroSchema, Any], body: bytes, rules: str
) -> None:
    old, new, _ = migration
    try:
        migrator = Migrator(Recipe(2, {1: old, 2: new}, rules), ask=dict[int, AvroSchema]().__getitem__)
    except SchemaError:
        return
    assert isinstance(migrator.migrate(Event("e", "t", None, prefix(1) + body, [], 0)), Event | Rejected)
    if not body.startswith(b"\0"):
        assert isinstance(migrator.migrate(Event("e", "t", None, body, [], 0)), Rejected)
