"""The strict validator against fastavro, over generated schemas and values."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from redrive.avro.branches import compile_branches
from redrive.avro.codec import Decoder, Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.quick import compile_quick
from redrive.avro.schema import AvroSchema, parse
from redrive.avro.validation import Compiler, fits
from redrive.errors import WireFormatError
from tests.properties.avro_values import ANYTHING, expected, same, schemas, spoiled, value_of

given_time = settings(max_examples=300, deadline=None)


@st.composite
def schemas_and_values(draw: st.DrawFn, spoil: bool = False, choices: bool = True) -> tuple[AvroSchema, Any]:
    schema = parse(json.dumps(draw(schemas(choices))))
    assume(not schema.endless)
    value = draw(value_of(schema.inner, schema.named))
    if spoil:
        value = draw(st.one_of(spoiled(value), ANYTHING))
    return schema, value


def accepts(schema: AvroSchema, value: Any) -> bool:
    return fits(Compiler(schema.named).check(schema.inner), value)


@given_time
@given(schemas_and_values())
def test_a_valid_value_is_accepted_and_comes_back_equal(drawn: tuple[AvroSchema, Any]) -> None:
    schema, value = drawn
    back = Decoder(schema).decode(Encoder(schema).encode(value))
    assert same(back, expected(value, schema.inner, schema))


@given_time
@given(schemas_and_values(spoil=True))
def test_whatever_is_accepted_comes_back_equal(drawn: tuple[AvroSchema, Any]) -> None:
    """No value passes the check that fastavro can't write, or that it would write as something else."""
    schema, value = drawn
    if not accepts(schema, value):
        return
    back = Decoder(schema).decode(Encoder(schema).encode(value))
    assert same(back, expected(value, schema.inner, schema))


@given_time
@given(schemas_and_values(spoil=True, choices=False))
def test_whatever_fastavro_refuses_is_refused(drawn: tuple[AvroSchema, Any]) -> None:
    """Neither its validation nor its strict encoder knows better than the check."""
    schema, value = drawn
    if not accepts(schema, value):
        return
    assert compile_branches(schema.inner, schema.named) is None
    record = {"value": value} if schema.wrapped else value
    fastavro.validation.validate(record, schema.record, disable_tuple_notation=True)
    fastavro.schemaless_writer(BytesIO(), schema.record, record, strict_allow_default=True)


def way(encode: Callable[[Any], bytes], value: Any) -> bytes | None:
    """Return what a way of encoding makes of a value; None if it leaves it alone."""
    try:
        return encode(value)
    except Exception:
        return None


@given_time
@given(schemas_and_values(spoil=True))
def test_the_quick_way_writes_what_the_slow_way_writes_or_nothing(drawn: tuple[AvroSchema, Any]) -> None:
    schema, value = drawn
    quickly = way(compile_quick(schema), value)
    assert quickly is None or quickly == way(Encoder(schema)._encode, value)


@given_time
@given(schemas_and_values(spoil=True))
def test_a_refusal_comes_from_the_check_and_not_from_the_encoder(drawn: tuple[AvroSchema, Any]) -> None:
    schema, value = drawn
    if accepts(schema, value):
        return
    with pytest.raises(Misfit) as caught:
        Encoder(schema).encode(value)
    assert "can't be encoded" not in caught.value.reason


@given_time
@given(schemas_and_values(), st.data())
def test_cut_or_lengthened_bytes_are_refused(drawn: tuple[AvroSchema, Any], data: st.DataObject) -> None:
    schema, value = drawn
    good = Encoder(schema).encode(value)
    longer = good + data.draw(st.binary(min_size=1, max_size=4))
    shorter = good[: data.draw(st.integers(0, max(0, len(good) - 1)))]
    for bad in [longer] + [shorter] * (len(shorter) < len(good)):
        with pytest.raises(WireFormatError):
            Decoder(schema).decode(bad)


@given_time
@given(schemas_and_values(), st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_typed_error(drawn: tuple[AvroSchema, Any], junk: bytes) -> None:
    with suppress(WireFormatError):
        Decoder(drawn[0]).decode(junk)


@given_time
@given(schemas(), st.data())
def test_a_cut_in_a_field_that_the_reader_skips_is_noticed(skipped: Any, data: st.DataObject) -> None:
    fields = [{"name": "kept", "type": "int"}, {"name": "skipped", "type": skipped}]
    writer = parse(json.dumps({"type": "record", "name": "Outer", "fields": fields}))
    reader = parse(json.dumps({"type": "record", "name": "Outer", "fields": fields[:1]}))
    assume(not writer.endless)
    good = Encoder(writer).encode(data.draw(value_of(writer.inner, writer.named)) | {"kept": 5})
    assert Decoder(writer, reader).decode(good) == {"kept": 5}
    with pytest.raises(WireFormatError):
        Decoder(writer, reader).decode(good[: -data.draw(st.integers(1, len(good)))])
