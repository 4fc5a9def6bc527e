"""Redrive's own letters: ``redrive-*``, see `redrive.deadletters.letter`.

Read leniently, unlike `redrive.deadletters.letter.read_letter`: a damaged letter is still one to be counted.
"""

from __future__ import annotations

from redrive.deadletters.dialects import reading
from redrive.deadletters.dialects.sighting import UNKNOWN, Account, Record
from redrive.deadletters.letter import JSON, RAW

PREFIX = "redrive-"
_MAX_ID = 2**32 - 1


def read(record: Record, headers: dict[str, bytes | None]) -> Account | None:
    """Tell what the headers (name → the last of the name) say; None if they are not a letter's."""
    if not {"redrive-reason", "redrive-topic", "redrive-encoding"} <= headers.keys():
        return None
    schema_id = reading.long_text(headers.get("redrive-schema-id"))
    known_encoding = headers["redrive-encoding"] in (RAW.encode(), JSON.encode())
    return Account(
        reason=reading.code(headers["redrive-reason"]) or UNKNOWN,
        field=reading.path(headers.get("redrive-field")),
        producer=reading.text(headers.get("redrive-producer")),
        main_topic=reading.topic(headers["redrive-topic"]),
        main_partition=reading.int_text(headers.get("redrive-partition")),
        main_offset=reading.long_text(headers.get("redrive-offset")),
        main_timestamp=reading.long_text(headers.get("redrive-timestamp")),
        schema_id=schema_id if schema_id is not None and schema_id <= _MAX_ID else None,
        attempts=reading.int_text(headers.get("redrive-attempt")) or 1,
        correctable="redrive-lossy" not in headers and known_encoding,
    )
