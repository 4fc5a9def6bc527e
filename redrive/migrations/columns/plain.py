"""Schemas in their plain form: coded as the originals are, without names, logical types and defaults."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from redrive.avro.logical_types import DATE_RANGE, instant_range, time_range
from redrive.avro.validation import Schema, definition
from redrive.migrations.unions import base

Range = tuple[int, int]

PRIMITIVES = frozenset({"boolean", "int", "long", "float", "double", "string"})
LOGICAL: dict[tuple[str, str], Range] = {
    ("int", "date"): DATE_RANGE,
    ("int", "time-millis"): time_range(1_000),
    ("long", "time-micros"): time_range(1_000_000),
    ("long", "timestamp-millis"): instant_range(1_000),
    ("long", "timestamp-micros"): instant_range(1_000_000),
    ("long", "local-timestamp-millis"): instant_range(1_000),
    ("long", "local-timestamp-micros"): instant_range(1_000_000),
}
"""What is coded as the number that it is, and which numbers are good."""

_MOST_PARTS = 2_000


class UncoveredError(Exception):
    """Columns are not for this."""


class Plain:
    """Writes schemas in the plain form.

    Args:
        named: name → definition of the types that may be referred to.
    """

    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named
        self._numbers = itertools.count()

    def schema(self, record: dict[str, Any]) -> str:
        """Return a record's plain form, in JSON; raises `UncoveredError`."""
        return json.dumps(self._of(record))

    def _of(self, schema: Schema) -> Any:
        if next(self._numbers) > _MOST_PARTS:  # types are written out wherever they are used
            raise UncoveredError
        schema = definition(schema, self._named)
        if isinstance(schema, list):
            only(schema)
            return [branch if branch == "null" else self._of(branch) for branch in schema]
        kind = base(schema)
        match kind:
            case "record" if schema["fields"]:
                name = f"t{next(self._numbers)}"
                return {"type": "record", "name": name, "fields": list(self._fields(schema))}
            case "array":
                return {"type": "array", "items": self._of(schema["items"])}
            case "map":
                return {"type": "map", "values": self._of(schema["values"])}
            case "enum" if len(set(schema["symbols"])) == len(schema["symbols"]):
                return {"type": "enum", "name": f"t{next(self._numbers)}", "symbols": schema["symbols"]}
        if kind in PRIMITIVES and (logical(schema) is None or (kind, logical(schema)) in LOGICAL):
            return kind
        raise UncoveredError

    def _fields(self, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for number, field in enumerate(schema["fields"]):
            yield {"name": f"f{number}", "type": self._of(field["type"])}


def only(branches: list[Schema]) -> Schema:
    """Return the type of what is null or of one type.

    Raises:
        UncoveredError: it may be of several types.
    """
    if len(branches) != 2 or "null" not in branches:
        raise UncoveredError
    return branches[1 - branches.index("null")]


def logical(schema: Schema) -> Any:
    """Return a type's logical type, as the schema has it, or None."""
    return schema.get("logicalType") if isinstance(schema, dict) else None
