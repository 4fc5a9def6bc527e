"""Which pairs of schemas columns can migrate, and how each part of a value comes about. Knows no Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro

from redrive.avro.schema import WRAPPED, AvroSchema, record_of
from redrive.avro.validation import Compiler, Schema, definition, fits
from redrive.migrations.columns.plain import (
    LOGICAL,
    PRIMITIVES,
    Plain,
    Range,
    UncoveredError,
    logical,
    only,
)
from redrive.migrations.compatibility import compare
from redrive.migrations.unions import base

FEWEST = 64
"""With fewer values of one schema, the per-event way is as quick."""

_PROMOTIONS: dict[tuple[str, str], Range | None] = {
    ("int", "long"): None,
    ("int", "float"): (-(2**24), 2**24),
    ("int", "double"): None,
    ("long", "float"): (-(2**24), 2**24),
    ("long", "double"): (-(2**53), 2**53),
    ("float", "double"): None,
}
"""From what to what, and up to where every integer keeps its digits."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that stays, or a number that is promoted.

    Attributes:
        good: from where to where; what is beyond it is for the per-event way to judge.
    """

    good: Range | None


@dataclass(frozen=True, slots=True)
class Items:
    """An array."""

    of: Part


@dataclass(frozen=True, slots=True)
class Entries:
    """A map."""

    of: Part


@dataclass(frozen=True, slots=True)
class Field:
    """A field that comes from one of the old record.

    Attributes:
        number: of the old field, from 0.
        part: what becomes of it.
    """

    number: int
    part: Part


@dataclass(frozen=True, slots=True)
class Default:
    """A field that only the new record has.

    Attributes:
        schema: a record with this field alone, in JSON, plain (see `Cover`).
        encoded: that record, with the default.
    """

    schema: str
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A record.

    Attributes:
        fields: the new one's, in order.
        dropped: fields of the old one that no new one comes from, if not each of their values is good: an event is
            rejected for a bad one all the same.
    """

    fields: tuple[Field | Default, ...]
    dropped: tuple[Field, ...]


Part = Scalar | Items | Entries | Record


@dataclass(frozen=True, slots=True)
class Cover:
    """How values of one schema become another's.

    Both schemas are *plain*: coded as the originals are, without names, logical types and defaults. Fields and types
    are numbered, types are written out wherever they are used.

    Attributes:
        old: the schema that values are written with, in JSON.
        new: the schema that they are to fit.
        root: what becomes of a value.
    """

    old: str
    new: str
    root: Record


def cover(old: AvroSchema, new: AvroSchema) -> Cover | None:
    """Say how columns bring values of ``old`` to ``new`` by Avro's rules; None: they are not for this pair.

    Covered are records of booleans, numbers, strings, enums, dates, times and timestamps; such records, arrays and maps
    inside of them; all of these or null. Fields may be added with a default, dropped, moved and renamed by an alias,
    numbers promoted, symbols added to enums, types made nullable. Left to the per-event way are:

    - what Avro does not resolve, and what it resolves by a symbol's default or between bytes and string;
    - null by itself, bytes, fixed, decimals, UUIDs: pyruhvro 0.4.0 panics at some, and takes a slow way for the others;
    - records or null inside of arrays and maps: each null, one byte, takes the place of a record in columns;
    - other unions, whose branches Arrow does not keep apart as Avro does; types that contain themselves.
    """
    if old.wrapped or new.wrapped or old.recursive or new.recursive:
        return None
    if any(finding.breaks for finding in compare(old, new)):
        return None
    try:
        root = _Pair(old, new).record(old.inner, new.inner)
        return Cover(Plain(old.named).schema(old.inner), Plain(new.named).schema(new.inner), root)
    except UncoveredError:
        return None


class _Pair:
    def __init__(self, old: AvroSchema, new: AvroSchema) -> None:
        self._written = old
        self._old, self._new = old.named, new.named
        self._checks = Compiler(new.named)
        self._inside = 0  # of so many arrays and maps

    def part(self, old: Schema, new: Schema) -> Part:
        old, new = definition(old, self._old), definition(new, self._new)
        nullable = isinstance(new, list)
        if isinstance(new, list):  # where the old one may be null, so may the new one: else Avro would not resolve it
            new = definition(only(new), self._new)
        if isinstance(old, list):
            old = definition(only(old), self._old)
        if isinstance(old, list) or isinstance(new, list):
            raise UncoveredError
        match base(old), base(new):
            case "record", "record":
                if self._inside and nullable:
                    raise UncoveredError
                return self.record(old, new)
            case "array", "array":
                return Items(self._many(old["items"], new["items"]))
            case "map", "map":
                return Entries(self._many(old["values"], new["values"]))
            case "enum", "enum" if set(old["symbols"]) <= set(new["symbols"]):
                return Scalar(None)
            case before, after:
                return _scalar(before, after, logical(old), logical(new))

    def _many(self, old: Schema, new: Schema) -> Part:
        self._inside += 1
        part = self.part(old, new)
        self._inside -= 1
        return part

    def record(self, old: dict[str, Any], new: dict[str, Any]) -> Record:
        before = {field["name"]: number for number, field in enumerate(old["fields"])}
        fields: list[Field | Default] = []
        for field in new["fields"]:
            names = (field["name"], *field.get("aliases", ()))
            number = next((before[name] for name in names if name in before), None)
            if number is None:
                fields.append(self._default(field))
            else:
                fields.append(Field(number, self.part(old["fields"][number]["type"], field["type"])))
        taken = {field.number for field in fields if isinstance(field, Field)}
        dropped = [
            Field(number, self._itself(field["type"]))
            for number, field in enumerate(old["fields"])
            if number not in taken
        ]
        return Record(tuple(fields), tuple(field for field in dropped if _may_be_bad(field.part)))

    def _itself(self, old: Schema) -> Part:
        return _Pair(self._written, self._written).part(old, old)

    def _default(self, field: dict[str, Any]) -> Default:
        type_ = field["type"]
        if not fits(self._checks.check(type_), field["default"]):  # the per-event way asks for the field, then
            raise UncoveredError
        record, stream = record_of(type_, self._new), BytesIO()
        fastavro.schemaless_writer(stream, record, {WRAPPED: field["default"]})
        return Default(Plain(self._new).schema(record), stream.getvalue())


def _may_be_bad(part: Part) -> bool:
    match part:
        case Scalar():
            return part.good is not None
        case Items() | Entries():
            return _may_be_bad(part.of)
        case Record():
            return any(isinstance(field, Field) and _may_be_bad(field.part) for field in part.fields)


def _scalar(before: str, after: str, logical_before: object, logical_after: object) -> Scalar:
    if logical_before != logical_after:
        raise UncoveredError
    if isinstance(logical_after, str):
        if before != after or (after, logical_after) not in LOGICAL:
            raise UncoveredError
        return Scalar(LOGICAL[after, logical_after])
    if before == after and before in PRIMITIVES:
        return Scalar(None)
    if logical_after is None and (before, after) in _PROMOTIONS:
        return Scalar(_PROMOTIONS[before, after])
    raise UncoveredError
