"""Encoding and decoding one value at a time: fastavro between our strict checks, or generated code that does both."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO
from typing import Any

import fastavro
from fastavro import _read_py as slow_and_safe
from fastavro.read import SchemaResolutionError

from redrive.avro.branches import compile_branches
from redrive.avro.misfit import Misfit
from redrive.avro.quick import compile_quick
from redrive.avro.schema import WRAPPED, AvroSchema, record_of
from redrive.avro.validation import Compiler
from redrive.errors import IncompatibleSchemaError, SchemaError, WireFormatError

_SAFE_DEPTH = 500
_MESSAGE = 300


class Encoder:
    """Encodes values of one schema, each after a strict check. Safe for threads.

    Raises:
        SchemaError: on creation, the schema uses something that is not Avro.
    """

    def __init__(self, schema: AvroSchema) -> None:
        try:
            self._check = Compiler(schema.named).check(schema.inner)
            self._shape = compile_branches(schema.inner, schema.named)
            # How deeply a value of a recursive type may be nested is for the check to say.
            self._quick = self._encode if schema.recursive else compile_quick(schema)
        except (ValueError, KeyError) as error:
            raise SchemaError(schema.name, f"can't be used: {error}") from error
        self._record, self._wrapped = schema.record, schema.wrapped

    def encode(self, value: Any, prefix: bytes = b"") -> bytes:
        """Return ``prefix`` and the Avro bytes of ``value``.

        Raises:
            Misfit: the value does not fit the schema.
        """
        try:
            return prefix + self._quick(value)
        except Exception:  # a value that is unusual; the check says whether it is good
            return prefix + self._encode(value)

    def _encode(self, value: Any) -> bytes:
        stream = BytesIO()
        try:
            self._check(value)
            if self._shape is not None:
                value = self._shape(value)
            fastavro.schemaless_writer(stream, self._record, {WRAPPED: value} if self._wrapped else value)
        except Misfit:
            raise
        except RecursionError:
            raise Misfit("is nested too deeply") from None
        except Exception as error:  # no valid value should come here; if one does, the others must still go on
            raise Misfit(f"passed the check but can't be encoded ({type(error).__name__})") from error
        return stream.getvalue()


class Decoder:
    """Decodes what was written with one schema, optionally resolved to another. Safe for threads.

    Args:
        writer: the schema that the bytes were written with.
        reader: the schema whose fields are wanted; None: those of the writer.

    Raises:
        SchemaError: on creation, a body of this schema could keep the decoder busy for ever.
    """

    def __init__(self, writer: AvroSchema, reader: AvroSchema | None = None) -> None:
        if writer.endless:
            raise SchemaError(writer.name, "has an array whose items take no bytes; a body could claim 2**63 of them")
        if reader is not None and reader.inner == writer.inner:
            reader = None
        wrap = writer.wrapped or (reader is not None and reader.wrapped)
        self._writer = record_of(writer.inner, writer.named) if wrap else writer.record
        self._reader: dict[str, Any] | None = None
        if reader is not None:
            self._reader = record_of(reader.inner, reader.named) if wrap else reader.record
        self._wrapped = wrap
        self._recursive = writer.recursive
        # fastavro hands out the default itself: whoever changed it would change it for every event to come.
        self._copy = reader is not None and reader.container_defaults
        self._names = f"written with {writer.name}, wanted as {reader.name if reader else writer.name}"

    def decode(self, data: bytes, start: int = 0) -> Any:
        """Decode the one value that ``data[start:]`` is.

        Raises:
            IncompatibleSchemaError: the reader's schema can't take the writer's.
            WireFormatError: truncated, corrupt, or bytes are left.
        """
        # One byte more than there is: who reads it has run over the end, which fastavro does not notice in the
        # fields that it skips.
        stream = BytesIO(data + b"\x00")
        stream.seek(start)
        read = fastavro.schemaless_reader
        if self._recursive and len(data) - start > _SAFE_DEPTH:
            # fastavro's C code recurses without a limit: 20,000 bytes of nesting end the process.
            read = slow_and_safe.schemaless_reader
        try:
            value: Any = read(stream, self._writer, self._reader)
        except SchemaResolutionError as error:
            raise IncompatibleSchemaError(f"{self._names}: {str(error)[:_MESSAGE]}") from error
        except RecursionError:
            raise WireFormatError("the body is nested too deeply") from None
        except (EOFError, IndexError) as error:
            raise WireFormatError("the body ends within the value, or an enum or union has no such branch") from error
        except Exception as error:
            raise WireFormatError(f"the body is corrupt ({type(error).__name__}); {self._names}") from error
        left = len(data) - stream.tell()
        if left:
            raise WireFormatError(
                f"{left} bytes are left after the value" if left > 0 else "the body ends within the value"
            )
        if self._copy:
            value = deepcopy(value)
        return value[WRAPPED] if self._wrapped else value
