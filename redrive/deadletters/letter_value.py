"""The value of a dead letter, whoever wrote it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from redrive.coding import Reader
from redrive.deadletters.dialects import Record
from redrive.deadletters.letter import JSON, Letter
from redrive.deadletters.opening import open_letter


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
    """Decode the value of a record of a dead-letter topic; see `value_of`.

    Raises:
        LetterFormatError: an own letter that is damaged.
    """
    return value_of(open_letter(record), reader)


def value_of(letter: Letter, reader: Reader) -> LetterValue:
    """Decode the value of a letter.

    Args:
        letter: the letter.
        reader: decodes Avro. Asked only if the value may be that.

    Raises:
        WireFormatError: the value is neither of these forms, or can't be decoded.
        UnavailableError: its schema is not known yet, and the registry does not answer.
    """
    if letter.encoding == JSON:
        return LetterValue("json", letter.value)
    if letter.value is None:
        return LetterValue("none", None)
    return LetterValue("avro", reader.decode(letter.value))
