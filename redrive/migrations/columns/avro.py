"""Avro to Arrow and back, by pyruhvro. What it gives is proved elsewhere; see `redrive.migrations.columns`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
import pyruhvro

_Result = TypeVar("_Result")


class ColumnsError(Exception):
    """Columns can't be used for these values; each of them is for the per-event way."""


def arrow_schema(schema: str) -> pa.Schema:
    """Return the columns of an Avro schema, in JSON."""
    return _rust(pyruhvro.avro_to_arrow_schema, schema)


def decoded(values: list[bytes], schema: str) -> pa.RecordBatch:
    """Decode values of one schema; what comes after a value is ignored.

    Raises:
        ColumnsError: a value is none, or its strings are not UTF-8.
    """
    batch: pa.RecordBatch = _rust(pyruhvro.deserialize_array, values, schema)
    try:
        batch.validate(full=True)  # pyruhvro takes it for granted that strings are UTF-8
    except pa.ArrowInvalid as error:
        raise ColumnsError from error
    return batch


def encoded(batch: pa.RecordBatch, schema: str) -> pa.Array:
    """Encode all rows of a batch whose columns are those of `arrow_schema`.

    Raises:
        ColumnsError: a row can't be encoded.
    """
    (values,) = _rust(pyruhvro.serialize_record_batch, batch, schema, 1)
    return values


def _rust(function: Callable[..., _Result], *arguments: Any) -> _Result:
    try:
        return function(*arguments)
    except Exception as error:
        raise ColumnsError from error
    except BaseException as error:
        # A panic of Rust comes as a BaseException, whose class can't be imported: each extension has one of its own.
        if (type(error).__module__, type(error).__name__) != ("pyo3_runtime", "PanicException"):
            raise
        raise ColumnsError from error
