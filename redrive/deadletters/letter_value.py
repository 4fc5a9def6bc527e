"""The value of a dead letter, whoever wrote it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from redrive.deadletters.dialects import Record, sight
from redrive.deadletters.letter import JSON, read_letter
from redrive.schemas import Reader


class LetterValue(msgspec.Struct, frozen=True):
    """A value that was decoded.

    Attributes:
        form: what it was: ``json``, a value that fits no schema, as Redrive's own letters keep it; ``avro``, framed; or
            ``none``, a tombstone, or a value that was left out.
        value: the value.
    """

    form: Literal["json", "avro", "none"]
    value: Any


def read_value(record: Record, reader: Reader) -> LetterValue:
    """Decode the value of a letter.

    Args:
        record: the letter as it was read from its topic.
        reader: decodes Avro. Asked only if the value may be that.

    Raises:
        LetterFormatError: an own letter that is damaged.
        WireFormatError: the value is neither of these forms, or can't be decoded.
        UnavailableError: its schema is not known yet, and the registry does not answer.
    """
    if sight(record).dialect == "own":
        letter = read_letter(record.headers, record.key, record.value)
        if letter.encoding == JSON:
            return LetterValue("json", letter.value)
    if record.value is None:
        return LetterValue("none", None)
    return LetterValue("avro", reader.decode(record.value))
