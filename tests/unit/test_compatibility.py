"""What stands between two schemas is found: the rule of Avro that is broken, where, and what a rule must supply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from redrive.avro.codec import Encoder
from redrive.avro.schema import AvroSchema, parse
from redrive.errors import SchemaError
from redrive.events import Event
from redrive.migrations.compatibility import KINDS, Finding, compare
from redrive.migrations.migrator import Migrator, Recipe
from redrive.pump.model import Rejected
from redrive.wire import prefix
from tests.properties.test_migrator import migrations

SCHEMAS = Path(__file__).parents[2] / "schemas"


def record(*fields: Any, name: str = "shop.Order") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def found(old: Any, new: Any) -> list[tuple[str, str, str]]:
    findings = compare(parse(json.dumps(old), name="old"), parse(json.dumps(new), name="new"))
    assert all(finding.reason and bool(finding.supply) == finding.breaks for finding in findings)
    return [(finding.kind, finding.path, finding.supply) for finding in findings]


A = field("a", "int")
STAMP = {"type": "long", "logicalType": "timestamp-millis"}


@pytest.mark.parametrize(
    ("old", "new", "findings"),
    [
        (record(A), record(A), []),
        (record(A), record(field("a", "long"), field("b", "string", default="")), []),
        (record(A), record(field("c", "int", aliases=["a"])), []),
        (record(A), record(field("a", ["null", "int"])), []),
        (record(A), record(A, name="other.Order"), []),
        (
            record(A),
            record(A, field("b", "string")),
            [("missing-default", "b", "add /b with its value, or a default in the schema")],
        ),
        (
            record(A),
            record(field("a", "string")),
            [("type-mismatch", "a", "convert /a to string, or replace /a by an expression that gives string")],
        ),
        (
            record(A),
            record(field("a", STAMP)),
            [
                (
                    "type-mismatch",
                    "a",
                    "convert /a to timestamp, or replace /a by an expression that gives long (timestamp-millis)",
                )
            ],
        ),
        (
            record(A, field("b", "string")),
            record(field("a", "float")),
            [("rounded", "a", ""), ("dropped", "b", "")],
        ),
        (
            record(field("a", ["null", "int"])),
            record(A),
            [("missing-branch", "a", "default /a with what stands for null")],
        ),
        (
            record(field("a", ["int", "string"])),
            record(field("a", ["int", "bytes"])),
            [],
        ),
        (
            record(field("a", ["int", "boolean"])),
            record(field("a", ["int", "string"])),
            [("missing-branch", "a", "replace /a by an expression that gives a union of int, string")],
        ),
        (
            record(field("a", {"type": "enum", "name": "E", "symbols": ["X", "Y", "Z"]})),
            record(field("a", {"type": "enum", "name": "E", "symbols": ["Y", "W"]})),
            [("missing-symbol", "a", "map /a with a table that has X, Z, and others: keep")],
        ),
        (
            record(field("a", {"type": "enum", "name": "E", "symbols": ["X", "Y"]})),
            record(field("a", {"type": "enum", "name": "E", "symbols": ["Y"], "default": "Y"})),
            [("dropped", "a", "")],
        ),
        (
            record(field("a", {"type": "fixed", "name": "F", "size": 2})),
            record(field("a", {"type": "fixed", "name": "F", "size": 3})),
            [("size-mismatch", "a", "replace /a by an expression that gives fixed shop.F")],
        ),
        (
            record(A),
            record(A, name="Bill"),
            [("name-mismatch", "", "an alias in the schema (Bill: aliases: [shop.Order]), or any rule for it")],
        ),
        (record(A), {**record(A, name="Bill"), "aliases": ["shop.Order"]}, []),
        (
            record(field("l", {"type": "array", "items": record(A, name="Line")})),
            record(field("l", {"type": "array", "items": record(A, field("p", "int"), name="Line")})),
            [
                (
                    "missing-default",
                    "l[*].p",
                    "in each item of /l, by an expression or a function: add with its value, "
                    "or a default in the schema",
                )
            ],
        ),
        (
            record(A, field("next", ["null", "shop.Order"])),
            record(A, field("b", "int"), field("next", ["null", "shop.Order"])),
            [("missing-default", "b", "add /b with its value, or a default in the schema")],
        ),
    ],
)  # fmt: skip
def test_a_finding_names_rule_place_and_way_out(old: Any, new: Any, findings: list[tuple[str, str, str]]) -> None:
    assert found(old, new) == findings


def test_the_demo_s_two_versions_need_rules_for_what_is_new_and_lose_what_is_old() -> None:
    old, new = (parse((SCHEMAS / name).read_text()) for name in ("flight_departed.avsc", "flight_departed_v2.avsc"))
    breaking = {finding.path for finding in compare(old, new) if finding.breaks}
    assert breaking == {"scheduled_departure", "departed_at", "cancelled", "scheduled_arrival", "arrival"}
    assert {finding.kind for finding in compare(old, new)} == {"missing-default", "dropped"}


def test_every_kind_is_explained() -> None:
    assert all(KINDS.values())
    assert not Finding("dropped", "", "", "").breaks


@settings(max_examples=300, deadline=None)
@given(migrations())
def test_what_avro_can_t_resolve_has_been_found_before(migration: tuple[AvroSchema, AvroSchema, Any]) -> None:
    old, new, value = migration
    try:
        event = Event("e", "t", None, Encoder(old).encode(value, prefix(1)), [], 0)
        migrated = Migrator(Recipe(2, {1: old, 2: new}), ask=dict[int, AvroSchema]().__getitem__).migrate(event)
    except SchemaError:
        return
    if isinstance(migrated, Rejected) and migrated.reason.startswith("incompatible-schema"):
        assert any(finding.breaks for finding in compare(old, new))
