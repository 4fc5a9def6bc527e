"""From the old schema's columns to the new one's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redrive.migrations.columns.avro import ColumnsError, arrow_schema, decoded
from redrive.migrations.columns.coverage import Cover, Default, Entries, Field, Items, Part, Record, Scalar

Change = Callable[[pa.Array], pa.Array]
"""Makes a new column of an old one; raises `ColumnsError` for one that has anything doubtful inside."""


class Changing:
    """Changes batches of one schema to batches of another.

    Args:
        cover: what becomes of what.

    Raises:
        ColumnsError: on creation, pyruhvro takes a schema for something else than `coverage` does.
    """

    def __init__(self, cover: Cover) -> None:
        self._schema, old = arrow_schema(cover.new), arrow_schema(cover.old)
        fields, dropped = cover.root.fields, cover.root.dropped
        self._makes = [_make(field, old, to.type, _change) for field, to in zip(fields, self._schema, strict=True)]
        self._checks = [_make(field, old, old.field(field.number).type, _change) for field in dropped]
        self._doubts = [
            (field.number, doubt)
            for field in (*fields, *dropped)
            if isinstance(field, Field) and (doubt := _doubt(field.part, old.field(field.number).type)) is not None
        ]

    def doubtful(self, batch: pa.RecordBatch) -> pa.Array | None:
        """Say of each row whether it has a number by itself that the per-event way must judge; None: no row has."""
        found = None
        for number, doubt in self._doubts:
            doubtful = doubt(batch.column(number))
            if doubtful is not None:
                found = doubtful if found is None else pc.or_(found, doubtful)
        return found

    def changed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the new batch of one without doubtful rows.

        Raises:
            ColumnsError: something inside of an array, a map or another record is doubtful.
        """
        columns, rows = batch.columns, batch.num_rows
        for check in self._checks:
            check(columns, rows)
        return pa.RecordBatch.from_arrays([make(columns, rows) for make in self._makes], schema=self._schema)


def _make(
    field: Field | Default,
    old: pa.Schema | pa.StructType,
    to: pa.DataType,
    compiled: Callable[[Part, pa.DataType, pa.DataType], Change],
) -> Callable[[list[pa.Array], int], pa.Array]:
    """Return what makes a field's column of all columns of its old record and their length."""
    if isinstance(field, Default):
        (default,) = decoded([field.encoded], field.schema).columns
        default = _as(default, to)
        return lambda columns, rows: default.take(pa.array(np.zeros(rows, np.int8)))
    number, change = field.number, compiled(field.part, old.field(field.number).type, to)
    return lambda columns, rows: change(columns[number])


def _change(part: Part, old: pa.DataType, to: pa.DataType) -> Change:
    match part:
        case Scalar():
            return lambda column: _as(column, to)
        case Items():
            return _items(_certain(part.of, old.value_type, to.value_type), to)
        case Entries():
            return _entries(_certain(part.of, old.item_type, to.item_type), to)
        case Record():
            return _record(part, old, to)


def _certain(part: Part, old: pa.DataType, to: pa.DataType) -> Change:
    """Change a column whose values are not rows, so that a doubtful one can't be left out."""
    change, doubt = _change(part, old, to), _doubt(part, old)

    def certain(column: pa.Array) -> pa.Array:
        if doubt is not None and doubt(column) is not None:
            raise ColumnsError
        return change(column)

    return change if doubt is None else certain


def _record(record: Record, old: pa.StructType, to: pa.StructType) -> Change:
    fields = [to.field(number) for number in range(to.num_fields)]
    makes = [_make(field, old, wanted.type, _certain) for field, wanted in zip(record.fields, fields, strict=True)]
    checks = [_make(field, old, old.field(field.number).type, _certain) for field in record.dropped]

    def change(column: pa.Array) -> pa.Array:
        columns, rows = [column.field(number) for number in range(old.num_fields)], len(column)
        for check in checks:
            check(columns, rows)
        made = [make(columns, rows) for make in makes]
        return pa.StructArray.from_arrays(made, fields=fields, mask=_nulls(column))

    return change


def _items(change: Change, to: pa.DataType) -> Change:
    def changed(column: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(column.offsets, change(column.values), type=to, mask=_nulls(column))

    return changed


def _entries(change: Change, to: pa.DataType) -> Change:
    def changed(column: pa.Array) -> pa.Array:
        if _repeats(column):  # decoded event by event, the last one counts
            raise ColumnsError
        items = change(column.items)
        return pa.MapArray.from_arrays(column.offsets, column.keys, items, type=to, mask=_nulls(column))

    return changed


def _repeats(column: pa.MapArray) -> bool:
    """Say whether any map has a key twice."""
    keys = column.keys.dictionary_encode()
    rows = np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
    pairs = rows * len(keys.dictionary) + keys.indices.to_numpy()
    return len(np.unique(pairs)) < len(pairs)


def _nulls(column: pa.Array) -> pa.Array | None:
    return column.is_null() if column.null_count else None


def _as(column: pa.Array, to: pa.DataType) -> pa.Array:
    return column if column.type == to else column.cast(to)  # it raises for what would be cut off


def _doubt(part: Part, old: pa.DataType) -> Callable[[pa.Array], pa.Array | None] | None:
    """Return what says which values are doubtful, if any is."""
    if not isinstance(part, Scalar):
        return None
    if pa.types.is_floating(old):
        # The per-event way reads a NaN of 32 bits by way of 64, which may change it; and no NaN is equal to itself, so
        # that one would keep the whole batch from being proved.
        return lambda column: _some(pc.is_nan(column))
    if part.good is None:
        return None
    low, high = part.good

    def beyond(column: pa.Array) -> pa.Array | None:
        least: Any = pc.min_max(column)
        if least["min"].as_py() is None or (low <= least["min"].as_py() and least["max"].as_py() <= high):
            return None
        return pc.fill_null(pc.or_(pc.less(column, low), pc.greater(column, high)), False)

    return beyond


def _some(doubtful: pa.Array) -> pa.Array | None:
    return pc.fill_null(doubtful, False) if pc.any(doubtful).as_py() else None
