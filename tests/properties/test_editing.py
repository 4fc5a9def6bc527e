"""Any Avro value survives being written for a person, and read again."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from redrive.avro.codec import Decoder, Encoder
from redrive.avro.schema import AvroSchema
from redrive.cli.editing import from_text, to_text
from tests.properties.test_avro import schemas_and_values


@settings(max_examples=300, deadline=None)
@given(schemas_and_values())
def test_a_value_that_nobody_has_changed_is_encoded_to_the_same_bytes(drawn: tuple[AvroSchema, Any]) -> None:
    schema, value = drawn
    encode = Encoder(schema).encode
    decoded = Decoder(schema).decode(encode(value))
    text = to_text(decoded)
    assert all(one.isprintable() or one == "\n" for one in text)
    assert encode(from_text(text)) == encode(decoded)
    assert to_text(from_text(text)) == text
