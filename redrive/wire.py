"""Confluent's wire format: a magic byte 0, the schema's id in four bytes (big-endian), then the Avro body.

Confluent's newer way, a schema GUID in a header and a bare body, is not read here: such an event is refused as
a wrong magic byte (or, if its body happens to begin with 0, as an unknown id or an unreadable body).
"""

from __future__ import annotations

from redrive.errors import WireFormatError

MAGIC = 0
HEADER_SIZE = 5
"""Bytes before the Avro body."""

MAX_SCHEMA_ID = 0xFFFFFFFF


def prefix(schema_id: int) -> bytes:
    """Return the five bytes before every body written with ``schema_id``.

    Raises:
        ValueError: the id does not fit in four bytes.
    """
    if not 0 <= schema_id <= MAX_SCHEMA_ID:
        raise ValueError(f"schema id {schema_id} does not fit in four bytes")
    return b"\x00" + schema_id.to_bytes(4, "big")


def frame(schema_id: int, body: bytes) -> bytes:
    """Put the frame of ``schema_id`` around an Avro body."""
    return prefix(schema_id) + body


def schema_id_of(data: bytes) -> int:
    """Return the schema id of framed bytes; the body begins at ``data[HEADER_SIZE]`` and may be empty.

    Raises:
        WireFormatError: shorter than a frame, or the wrong magic byte.
    """
    if len(data) < HEADER_SIZE:
        raise WireFormatError(f"{len(data)} bytes are too few; a magic byte and a schema id take {HEADER_SIZE}")
    if data[0] != MAGIC:
        raise WireFormatError(f"the first byte is {data[0]}, not the magic byte {MAGIC}; was it written unframed?")
    return int.from_bytes(data[1:HEADER_SIZE], "big")
