"""Migrating batches by columns: what they are for, what is left to the per-event way, and that none can tell which."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from typing import Any

import pyruhvro
import pytest

from deployments.demo.flights import flights
from redrive.avro.codec import Encoder
from redrive.avro.schema import AvroSchema, parse
from redrive.errors import UnavailableError, UnknownSchemaError
from redrive.events import Event
from redrive.migrations.columns.avro import ColumnsError, decoded
from redrive.migrations.columns.columns import Columns
from redrive.migrations.columns.coverage import FEWEST, cover
from redrive.migrations.migrator import Migrator, Recipe
from redrive.pump.model import Rejected
from redrive.wire import prefix
from tests.unit.test_migrator import FLIGHT_V1, IDLE, RECORDS, field, schema

OLDER, OLD, NEW = 1, 2, 3
PART = {"type": "record", "name": "Part", "fields": [field("name", "string"), field("weight", ["null", "int"])]}
HEAVY = PART | {"fields": [field("weight", ["null", "double"]), field("title", "string", aliases=["name"])]}
INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
STATES = {"type": "enum", "name": "State", "symbols": ["new", "paid"]}
FIELDS = [
    field("id", "int"),
    field("note", ["null", "string"]),
    field("total", "long"),
    field("state", STATES),
    field("at", INSTANT),
    field("gone", INSTANT),
    field("parts", {"type": "array", "items": PART}),
    field("labels", {"type": "map", "values": "string"}),
]
ORDERS = schema(*FIELDS)
NEXT = schema(
    field("state", STATES | {"symbols": ["paid", "sent", "new"]}),
    field("text", ["string", "null"], aliases=["note"]),
    field("total", "double"),
    field("id", ["null", "long"]),
    field("parts", {"type": "array", "items": HEAVY}),
    field("labels", {"type": "map", "values": "string"}),
    field("at", INSTANT),
    field("shops", {"type": "array", "items": "string"}, default=["main"]),
    field("first", HEAVY | {"name": "First"}, default={"weight": None, "title": "none"}),
    field("seen", ["null", "State"], default=None),
    field("was", "State", default="sent"),
    field("since", INSTANT, default=1_600_000_000_000),
    field("day", ["null", {"type": "int", "logicalType": "date"}], default=None),
    field("rate", "double", default=0.1),
    field("where", ["string", "null"], default="Zürich"),
    field("counts", {"type": "map", "values": ["null", "long"]}, default={"a": None}),
)  # fmt: skip
ORDER = {
    "id": 7, "note": "secret", "total": 250, "state": "paid", "at": 1_700_000_000_000, "gone": 0,
    "parts": [{"name": "wheel", "weight": 3}, {"name": "bell", "weight": None}], "labels": {"colour": "red"},
}  # fmt: skip


def framed(body: bytes, schema_id: int = OLD) -> Event:
    return Event("e", "orders", b"k", prefix(schema_id) + body, [("h", b"v")], 5, 3, "o")


def orders(count: int, **changes: Any) -> list[Event]:
    encode = Encoder(ORDERS).encode
    return [framed(encode({**ORDER, "id": number, **changes})) for number in range(count)]


def migrator(*schemas: AvroSchema, rules: str = "") -> Migrator:
    def unknown(schema_id: int) -> AvroSchema:
        raise UnknownSchemaError(schema_id, "http://registry")

    return Migrator(Recipe(NEW, dict(zip((NEW, OLD, OLDER), schemas, strict=False)), rules), unknown)


def both_ways(events: Sequence[Event], *schemas: AvroSchema) -> list[Any]:
    """Migrate a batch; it must be what comes out of its events one by one."""
    schemas = schemas or (NEXT, ORDERS)
    migrated = migrator(*schemas).migrate_batch(events)
    one_by_one = migrator(*schemas)
    assert migrated == [one_by_one.migrate(event) for event in events]
    return migrated


def by_columns(events: Sequence[Event], old: AvroSchema = ORDERS, new: AvroSchema = NEXT) -> list[bool]:
    """Say of each event whether columns migrate it."""
    covered = cover(old, new)
    assert covered is not None
    return [body is not None for body in Columns(covered).migrate([(event.value or b"")[5:] for event in events])]


def test_what_avro_resolves_goes_by_columns_to_the_same_bytes() -> None:
    events = orders(FEWEST) + orders(FEWEST, note=None, parts=[], labels={})
    assert all(isinstance(event, Event) for event in both_ways(events))
    assert all(by_columns(events))


def test_flights_go_by_columns() -> None:
    new = parse(
        json.dumps({**FLIGHT_V1.inner, "fields": [*FLIGHT_V1.inner["fields"][::-1], field("n", "int", default=1)]})
    )
    encode = Encoder(FLIGHT_V1).encode
    events = [framed(encode(value)) for _, _, value in islice(flights(), 0, None, 100) if value["dep_time"] is not None]
    assert all(by_columns(events, FLIGHT_V1, new))
    both_ways(events, new, FLIGHT_V1)


GOOD = Encoder(ORDERS).encode(ORDER)
LABELS = b"\x02\x0ccolour\x06red\x00"
assert GOOD.endswith(LABELS)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (GOOD[:-3], "bad-frame: the body ends within the value"),
        (b"", "bad-frame: the body ends within the value"),
        (GOOD + b"\0", "bad-frame: 1 bytes are left after the value"),
        (GOOD.replace(b"secret", b"s\xffcret"), "bad-frame: the body is corrupt"),
        (GOOD.replace(b"red", b"r\xffd"), "bad-frame: the body is corrupt"),
        (GOOD.replace(b"\x02\x0csecret", b"\x04\x0csecret"), "bad-frame: the body ends within the value, or an enum"),
        (Encoder(ORDERS).encode({**ORDER, "total": 2**53 + 1}), "invalid-value: total has more digits than double"),
        # Bad also if the new schema has no such field.
        (GOOD.replace(b"\0\x04\x0awheel", b"\xff" * 8 + b"\x7f\x04\x0awheel"), "bad-frame: the body is corrupt"),
        # These are good, and other bytes than ours.
        (b"\x8e\0" + GOOD[1:], ""),
        (GOOD.removesuffix(LABELS) + b"\x01\x16\x0ccolour\x06red\x00", ""),
        (GOOD.removesuffix(LABELS) + b"\x04\x0ccolour\x06red\x0ccolour\x06tan\x00", ""),
    ],
)  # fmt: skip
def test_one_event_that_is_not_usual_takes_few_with_it_and_is_told_as_ever(body: bytes, reason: str) -> None:
    events = [*orders(5 * FEWEST), framed(body), *orders(3 * FEWEST)]
    migrated = both_ways(events)
    odd = migrated[5 * FEWEST]
    assert odd.reason.startswith(reason) if reason else isinstance(odd, Event)
    done = by_columns(events)
    assert not done[5 * FEWEST]
    assert done.count(False) < 2 * FEWEST


def test_nan_keeps_the_bits_that_it_would_have_event_by_event_and_takes_nobody_with_it() -> None:
    """A NaN of 32 bits may come out as another one, where it has gone by way of 64."""
    old, new = schema(field("x", "float")), schema(field("x", "float"), field("y", "double", aliases=["x"]))
    for bits in (b"\0\0\xc0\x7f", b"\x01\0\x80\x7f", b"\x07\0\xc0\xff"):
        events = [framed(b"\0\0\x80\x3f")] * FEWEST + [framed(bits)] + [framed(b"\0\0\x80\x7f")] * FEWEST
        assert all(isinstance(event, Event) for event in both_ways(events, new, old))
        assert by_columns(events, old, new) == [True] * FEWEST + [False] + [True] * FEWEST


def test_a_length_or_count_beyond_all_memory_is_an_error_like_others() -> None:
    covered = cover(ORDERS, NEXT)
    assert covered is not None
    counts = GOOD.index(b"\x04\x0awheel"), GOOD.index(LABELS), GOOD.index(b"\x0csecret")
    for place in counts:
        for claim in (b"\xfe" + b"\xff" * 8 + b"\x01", b"\xff" * 9 + b"\x01", b"\xfe\xff\xff\xff\x0f"):
            with pytest.raises(ColumnsError):
                decoded([GOOD[:place] + claim + GOOD[place + 1 :]], covered.old)


def test_a_batch_may_have_all_kinds_of_events() -> None:
    older = schema(*FIELDS[::-1])
    encode = Encoder(older).encode
    events = [
        event
        for number, order in enumerate(orders(3 * FEWEST))
        for event in (
            order,
            framed(encode({**ORDER, "id": number}), OLDER),
            framed(b"whatever", NEW),
            framed(b"", 9),
            Event("e", "orders", b"k", None, [], 0),
            Event("e", "orders", b"k", b"{}", [], 0),
        )
    ]
    migrated = both_ways(events, NEXT, ORDERS, older)
    kinds = {Event: 4, Rejected: 2}
    for kind, count in kinds.items():
        assert sum(isinstance(became, kind) for became in migrated) == count * 3 * FEWEST
    assert both_ways([]) == []


def test_a_registry_that_is_down_is_no_reason_to_park_events() -> None:
    def down(schema_id: int) -> AvroSchema:
        raise UnavailableError("registry", "it does not answer")

    with pytest.raises(UnavailableError):
        Migrator(Recipe(NEW, {NEW: NEXT}), down).migrate_batch(orders(FEWEST))


def test_with_rules_each_event_goes_by_itself() -> None:
    events = orders(2 * FEWEST)
    migrated = migrator(NEXT, ORDERS, rules=IDLE).migrate_batch(events)
    assert migrated == [migrator(NEXT, ORDERS, rules=IDLE).migrate(event) for event in events]


def test_columns_that_gave_anything_else_are_told_and_not_used_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events, asked = orders(2 * FEWEST), []

    def wrong(self: Columns, bodies: list[bytes]) -> list[bytes | None]:
        asked.append(len(bodies))
        return [None, *bodies[1:]]

    monkeypatch.setattr(Columns, "migrate", wrong)
    migrating, one_by_one = migrator(NEXT, ORDERS), migrator(NEXT, ORDERS)
    for _ in range(2):
        assert migrating.migrate_batch(events) == [one_by_one.migrate(event) for event in events]
    assert asked == [len(events)]
    assert [record.message for record in caplog.records] == [
        f"schema id {OLD}: columns gave other bytes than the per-event way, and are not used for it any more"
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bytes", "bytes"),
        ("bytes", "string"),
        ("string", "bytes"),
        ("null", "null"),
        ("int", "string"),
        (RECORDS, RECORDS),
        (["int"], ["int"]),
        ("int", ["int", "string"]),
        (["null", "int"], "int"),
        (STATES, STATES | {"symbols": ["new"], "default": "new"}),
        ({"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 2}),
        ({"type": "string", "logicalType": "uuid"}, {"type": "string", "logicalType": "uuid"}),
        ({"type": "long", "logicalType": "other"}, {"type": "long", "logicalType": "other"}),
        ({"type": "array", "items": "null"}, {"type": "array", "items": "null"}),
        (["null", "Order"], ["null", "Order"]),
    ],
)
def test_columns_are_not_for(old: Any, new: Any) -> None:
    assert cover(schema(field("f", old)), schema(field("f", new))) is None


def test_columns_are_not_for_what_they_would_only_drop_either() -> None:
    assert cover(schema(field("f", "bytes"), field("g", "int")), schema(field("g", "int"))) is None


def test_columns_are_for_records_only() -> None:
    assert cover(parse('"int"'), parse('"long"')) is None


def test_a_default_that_does_not_fit_is_none() -> None:
    assert cover(schema(field("f", "int")), schema(field("f", "int"), field("g", "int", default=2**40))) is None


def test_a_panic_of_rust_is_an_error_like_others_and_an_interruption_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    record = json.dumps({"type": "record", "name": "R", "fields": [field("f", "bytes")]})
    with pytest.raises(ColumnsError) as error:
        decoded([b"\x02x"], record)
    assert type(error.value.__cause__).__name__ == "PanicException"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pyruhvro, "deserialize_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decoded([b"\x02x"], record)


def test_what_columns_take_is_imported_only_by_what_uses_them() -> None:
    code = "import sys, redrive.migrations.batches; sys.exit('pyarrow' in sys.modules or 'pyruhvro' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
