"""Framing: a magic byte, a schema id, a body."""

import pytest

from redrive.errors import WireFormatError
from redrive.wire import HEADER_SIZE, frame, prefix, schema_id_of


@pytest.mark.parametrize("schema_id", [0, 1, 256, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("body", [b"", b"\x00", b"body"])
def test_what_is_framed_comes_out_again(schema_id: int, body: bytes) -> None:
    framed = frame(schema_id, body)
    assert (schema_id_of(framed), framed[HEADER_SIZE:]) == (schema_id, body)


def test_the_layout_is_confluents() -> None:
    """Zero, then the id with its highest byte first, then the body."""
    assert frame(258, b"xy") == b"\x00\x00\x00\x01\x02xy"


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00\x00\x01"])
def test_bytes_too_short_for_a_frame_are_refused(data: bytes) -> None:
    with pytest.raises(WireFormatError, match=f"{len(data)} bytes are too few"):
        schema_id_of(data)


@pytest.mark.parametrize("first", [1, 2, 0x7B, 0xFF])
def test_a_wrong_magic_byte_is_named(first: int) -> None:
    with pytest.raises(WireFormatError, match=f"first byte is {first}"):
        schema_id_of(bytes([first]) + b"\x00\x00\x00\x01body")


@pytest.mark.parametrize("schema_id", [-1, 2**32])
def test_an_id_that_does_not_fit_is_refused(schema_id: int) -> None:
    with pytest.raises(ValueError, match="four bytes"):
        prefix(schema_id)
